"""Worst-case neighbours on a moment: a query with a column for every record, whose row is as long as it may be."""

from __future__ import annotations

import numpy as np

from secure_fair.attacks.common.attack import Context, ScoredAttack, balanced, blocks
from secure_fair.attacks.common.auditor import EXACT, auditor, isolating, training_plan
from secure_fair.attacks.common.statistics import Scores
from secure_fair.privacy.policy import Policy

NAME = "moment"
BLOCK = 400  # columns of a query


class MomentNeighbours(ScoredAttack):
    """The developer knows its query: coordinate i of the answer is attribute i and noise, one trial for each record."""

    claim = "a moment tells of one person's attribute no more than epsilon allows"
    view = "developer"
    needs = "a query of its own"
    twin = "the same moment without noise"

    def scores(self, context: Context, *, protected: bool) -> Scores:
        """One release that has the whole epsilon."""
        exact = not protected
        trials = self.trials(context)
        """The answers; the exact ones are told after a tenth of the trials."""
        records = blocks(max(trials // (10 if exact else 1), 2 * BLOCK), BLOCK)
        attributes = balanced(BLOCK * len(records))
        plan = training_plan(NAME, context.terms, exact=exact)
        with auditor(attributes, plan, EXACT if exact else Policy()) as asked:
            answers = [asked.ask(NAME, part, isolating(BLOCK), context.terms.precision_bits) for part in records]
        return Scores.of(np.concatenate(answers)[:, 0], attributes, context.generator("moment_neighbours"))


ATTACK = MomentNeighbours()
