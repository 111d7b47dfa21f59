"""An observational audit of rows: the true attribute against one from a proxy, by a membership row of every epoch."""

from __future__ import annotations

import numpy as np

from secure_fair.attacks.common.attack import Context, ScoredAttack
from secure_fair.attacks.common.auditor import EXACT, auditor, training_plan
from secure_fair.attacks.common.observational import Observed
from secure_fair.attacks.common.statistics import Scores
from secure_fair.privacy.policy import Policy

NAME, PEOPLE = "penalty_rows", 40_000  # a third of them differ from the proxy: enough to see halved noise at epsilon 1


class ObservedRows(ScoredAttack):
    """The likelihood of a person's rows under either value: everybody's have noise of their own."""

    claim = "rows tell a true attribute from one drawn from a proxy no better than epsilon allows"
    view = "developer"
    needs = "a proxy of the attribute, such as a predictor from pictures"
    twin = "the same rows without noise"

    def scores(self, context: Context, *, protected: bool) -> Scores:
        """One training of people whose attribute is skewed, and partly known from their pictures."""
        exact, epochs, bits = not protected, context.terms.participations, context.terms.precision_bits
        generator = context.generator("observed_rows")
        people = Observed.drawn(PEOPLE, generator)
        plan = training_plan(NAME, context.terms, participations=epochs, exact=exact)
        everybody, told = np.arange(PEOPLE, dtype=np.int64), np.zeros(PEOPLE)
        with auditor(people.attributes, plan, EXACT if exact else Policy()) as asked:
            for _ in range(epochs):
                told += asked.ask(NAME, everybody, None, bits)[:, 0] - 0.5
        return people.scores(told, generator)


ATTACK = ObservedRows()
