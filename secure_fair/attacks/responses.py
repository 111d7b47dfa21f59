"""The likeliest guess from randomised responses, of a developer that asks the same people again and again."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from secure_fair.attacks.common.attack import Attack, Ceiling, Context, Outcome, balanced
from secure_fair.attacks.common.auditor import auditor, training_plan
from secure_fair.attacks.common.statistics import Scores
from secure_fair.privacy import accounting
from secure_fair.privacy.policy import Policy
from secure_fair.privacy.randomised_response import respond
from secure_fair.randomness import PRG, KeySource

NAME = "randomised_attributes"
PEOPLE = 8000
ASKED = 25  # times


class RepeatedResponses(Attack):
    """With independent lies the majority of the answers is the likeliest guess; here all answers are the first one."""

    claim = "a person answers at random once for ever, by no more than epsilon"
    view = "developer"
    needs = f"{ASKED} answers of each person"
    twin = "answers that are drawn anew each time"

    def run(self, context: Context) -> Outcome:
        """The same people, asked so many times."""
        epsilon, attributes = context.terms.epsilon, balanced(PEOPLE)
        ceiling = Ceiling(accounting.truth_probability(epsilon, 2), epsilon=epsilon)
        plan = training_plan(NAME, context.terms, exact=False)
        everybody, fresh = np.arange(PEOPLE, dtype=np.int64), PRG(KeySource.fresh().derive("responses"))
        with auditor(attributes, plan, Policy()) as asked:
            ours = _votes(lambda: asked.ask(NAME, everybody, None, context.terms.precision_bits))
        twin = _votes(lambda: respond(attributes, 2, epsilon, fresh))
        here, there = (Scores.of(votes, attributes, context.generator("responses")) for votes in (ours, twin))
        return Outcome.scored(here, there, ceiling)


def _votes(answer: Callable[[], np.ndarray]) -> np.ndarray:
    """How many of the answers of each person are yes."""
    return np.sum([answer() for _ in range(ASKED)], axis=0).astype(np.float64)


ATTACK = RepeatedResponses()
