"""The sign of a membership row: penalty_rows of everybody, a number a person, less one half."""

from __future__ import annotations

import numpy as np

from secure_fair.attacks.common.attack import Context, ScoredAttack, balanced
from secure_fair.attacks.common.auditor import EXACT, auditor, training_plan
from secure_fair.attacks.common.statistics import Scores
from secure_fair.privacy.policy import Policy

NAME = "penalty_rows"


class RowSigns(ScoredAttack):
    """The coefficient of a record in a penalty is its attribute less the prior, times what the developer knows."""

    claim = "a penalty's rows tell of one person's attribute no more than epsilon allows"
    view = "developer"
    needs = "one request for rows"
    twin = "the same rows without noise"

    def scores(self, context: Context, *, protected: bool) -> Scores:
        """One release of a row for each person, with the whole epsilon."""
        exact = not protected
        trials = self.trials(context)
        attributes = balanced(trials)
        with auditor(
            attributes, training_plan(NAME, context.terms, exact=exact), EXACT if exact else Policy()
        ) as asked:
            rows = asked.ask(NAME, np.arange(trials, dtype=np.int64), None, context.terms.precision_bits)
        return Scores.of(rows[:, 0] - 0.5, attributes, context.generator("row_signs"))


ATTACK = RowSigns()
