"""Differencing two evaluations: the same test records counted twice, with one prediction changed in between."""

from __future__ import annotations

import numpy as np
import torch

from secure_fair.attacks.common.attack import AttackTerms, Ceiling, Context, ScoredAttack, balanced, blocks
from secure_fair.attacks.common.auditor import EVALUATION, EXACT, auditor, evaluation_plan
from secure_fair.attacks.common.statistics import Scores
from secure_fair.operations.group_counts import indicators
from secure_fair.privacy.policy import Policy

BATCH = 32  # persons: what a policy wants at least, unless it says otherwise
TRIALS = 120


class Differencing(ScoredAttack):
    """Whoever changed stratum is the difference; both strata tell it, and their mean is the best statistic."""

    claim = "two evaluations that differ in one prediction tell no more than evaluation_epsilon allows"
    view = "developer"
    needs = "two evaluations of the same test records"
    twin = "the same two evaluations without noise"

    def ceiling(self, terms: AttackTerms) -> Ceiling:
        """That of all counts of test records."""
        return terms.evaluation_ceiling

    def scores(self, context: Context, *, protected: bool) -> Scores:
        """A batch of test records, and one person in it, for each trial."""
        exact = not protected
        attributes = balanced(TRIALS)
        everybody = context.generator("others").integers(0, 2, TRIALS * BATCH)
        everybody[::BATCH] = attributes
        strata = torch.arange(BATCH) // (BATCH // 2)
        moved = torch.where(torch.arange(BATCH) == 0, 1, strata)
        plan, differences = evaluation_plan(context.terms, participations=2, exact=exact), []
        with auditor(everybody, plan, EXACT if exact else Policy()) as asked:
            for batch in blocks(TRIALS * BATCH, BATCH):
                first, second = (
                    asked.ask(EVALUATION, batch, indicators(either, 2), context.terms.precision_bits)[:, 0]
                    for either in (strata, moved)
                )
                differences.append(((first - second)[0] - (first - second)[1]) / 2)
        return Scores.of(np.array(differences), attributes, context.generator("differencing"))


ATTACK = Differencing()
