"""Averaging over stores that are prepared again: other pictures of the same people are records without a past."""

from __future__ import annotations

from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np

from secure_fair.attacks.common.attack import Context, ScoredAttack, balanced
from secure_fair.attacks.common.auditor import AttackedPeople, isolating, opened, training_plan
from secure_fair.attacks.common.statistics import Scores
from secure_fair.errors import BudgetExceeded
from secure_fair.privacy.policy import Policy

NAME = "moment"
PEOPLE = 600
PREPARATIONS = 20


class PreparedAgain(ScoredAttack):
    """Every preparation has other record ids, and a run of its own; the mean of all answers is the best statistic."""

    claim = "people whose stores are prepared again, from other pictures, have no new budget where persons are known"
    view = "developer"
    needs = f"{PREPARATIONS} stores of other pictures of the same people"
    twin = "stores without a column of persons"

    def scores(self, context: Context, *, protected: bool) -> Scores:
        """The policy's epsilon for life is that of one run."""
        known = protected
        terms, attributes, answers = context.terms, balanced(PEOPLE), []
        plan, policy = training_plan(NAME, terms, exact=False), Policy(epsilon=terms.epsilon, delta=terms.delta)
        everybody, persons = np.arange(PEOPLE, dtype=np.int64), [f"person {number}" for number in range(PEOPLE)]
        with TemporaryDirectory(prefix="secure-fair-review-") as folder:
            for number in range(PREPARATIONS):
                ids = AttackedPeople.numbered(PEOPLE, store=f"{number:x}-").ids
                people = AttackedPeople(ids, persons if known else None)
                with opened(Path(folder), attributes, plan, policy, f"run {number}", people=people) as asked:
                    try:
                        answers.append(asked.ask(NAME, everybody, isolating(PEOPLE), terms.precision_bits)[:, 0])
                    except BudgetExceeded:
                        continue
        return Scores.of(np.mean(answers, axis=0), attributes, context.generator("prepared_again"))


ATTACK = PreparedAgain()
