"""An observational audit of counts: the true attribute against one from a proxy, by the count of a small stratum."""

from __future__ import annotations

import numpy as np
import torch

from secure_fair.attacks.common.attack import AttackTerms, Ceiling, Context, ScoredAttack
from secure_fair.attacks.common.auditor import EVALUATION, EXACT, auditor, deviation, evaluation_plan
from secure_fair.attacks.common.observational import Observed
from secure_fair.attacks.common.statistics import Scores
from secure_fair.operations.group_counts import indicators
from secure_fair.privacy.policy import Policy

STRATA, EACH = 1500, 2  # people of a stratum


class ObservedCounts(ScoredAttack):
    """The likelihood of a stratum's count under either value; the other person in it is as the proxy has it.

    The two trials of a stratum share its noise, so that their bounds are not formal.
    """

    claim = "counts tell a true attribute from one drawn from a proxy no better than evaluation_epsilon allows"
    view = "developer"
    needs = "a proxy of the attribute, and an evaluation by strata"
    twin = "the same counts without noise"
    formal = False

    def ceiling(self, terms: AttackTerms) -> Ceiling:
        """That of all counts of test records."""
        return terms.evaluation_ceiling

    def scores(self, context: Context, *, protected: bool) -> Scores:
        """One evaluation."""
        exact = not protected
        generator, plan = context.generator("observed_counts"), evaluation_plan(context.terms, exact=exact)
        people = Observed.drawn(STRATA * EACH, generator)
        strata = indicators(torch.arange(STRATA).repeat_interleave(EACH), STRATA)
        with auditor(people.attributes, plan, EXACT if exact else Policy()) as asked:
            everybody = np.arange(STRATA * EACH, dtype=np.int64)
            counts = asked.ask(EVALUATION, everybody, strata, context.terms.precision_bits)[:, 0]
        proxy = people.proxy.reshape(STRATA, EACH)
        others, spread = proxy[:, ::-1], (proxy * (1 - proxy))[:, ::-1] + deviation(plan, EVALUATION) ** 2
        return people.scores(((counts[:, None] - others - 0.5) / spread).reshape(-1), generator)


ATTACK = ObservedCounts()
