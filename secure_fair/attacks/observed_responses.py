"""An observational audit of randomised responses: the true attribute against one from a proxy, by the answer."""

from __future__ import annotations

import numpy as np

from secure_fair.attacks.common.attack import AttackTerms, Ceiling, Context, ScoredAttack
from secure_fair.attacks.common.auditor import EXACT, auditor, training_plan
from secure_fair.attacks.common.observational import Observed
from secure_fair.attacks.common.statistics import Scores
from secure_fair.privacy import accounting
from secure_fair.privacy.policy import Policy

NAME = "randomised_attributes"
PEOPLE = 8000


class ObservedResponses(ScoredAttack):
    """The answer's likelihood under either value: where the proxy cancels, nothing beats to believe the answer."""

    claim = "an answer at random tells a true attribute from one drawn from a proxy no better than epsilon allows"
    view = "developer"
    needs = "a proxy of the attribute"
    twin = "true answers"

    def ceiling(self, terms: AttackTerms) -> Ceiling:
        """That of the answers themselves."""
        return Ceiling(accounting.truth_probability(terms.epsilon, 2), epsilon=terms.epsilon)

    def scores(self, context: Context, *, protected: bool) -> Scores:
        """One answer of each person."""
        exact = not protected
        generator = context.generator("observed_responses")
        people = Observed.drawn(PEOPLE, generator)
        plan = training_plan(NAME, context.terms, exact=exact)
        with auditor(people.attributes, plan, EXACT if exact else Policy()) as asked:
            answers = asked.ask(NAME, np.arange(PEOPLE, dtype=np.int64), None, context.terms.precision_bits)
        return people.scores(2 * answers - 1, generator)


ATTACK = ObservedResponses()
