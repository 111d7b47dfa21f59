"""Linear reconstruction: a batch's attributes from the moment of its features, which the developer knows."""

from __future__ import annotations

import numpy as np
import torch

from secure_fair.attacks.common.attack import Context, ScoredAttack, balanced, blocks
from secure_fair.attacks.common.auditor import EXACT, auditor, deviation, training_plan
from secure_fair.attacks.common.statistics import Scores
from secure_fair.privacy.policy import Policy

NAME = "moment"
BATCH = 64  # records, with as many features: the system has one solution
BATCHES = 40
PRIOR = 0.25  # variance of a fair coin


class Reconstruction(ScoredAttack):
    """The linear estimate with the least error for the noise that is told (ridge regression; exact: the solution).

    The estimates of one batch share its noise, so their bounds are not formal.
    """

    claim = "the attributes of a batch cannot be solved for from the moment of its features"
    view = "developer"
    needs = "features of at least as many dimensions as records"
    twin = "the same moment without noise"
    formal = False

    def scores(self, context: Context, *, protected: bool) -> Scores:
        """One release of each batch."""
        exact = not protected
        generator = context.generator("reconstruction")
        attributes = generator.permutation(balanced(BATCH * BATCHES))
        plan, estimates = training_plan(NAME, context.terms, exact=exact), []
        variance = deviation(plan, NAME) ** 2
        with auditor(attributes, plan, EXACT if exact else Policy()) as asked:
            for batch in blocks(BATCH * BATCHES, BATCH):
                features = generator.normal(size=(BATCH, BATCH))
                features /= np.linalg.norm(features, axis=1, keepdims=True)
                told = asked.ask(NAME, batch, torch.from_numpy(features), context.terms.precision_bits)[:, 0]
                estimates.append(solve(features, told, variance))
        return Scores.of(np.concatenate(estimates), attributes, generator)


def solve(features: np.ndarray, moment: np.ndarray, variance: float) -> np.ndarray:
    """The attributes (n,) by ``features`` F (n, k) and the moment F^T a (k,) with noise of this variance."""
    centred = moment - features.sum(0) / 2
    precision = features @ features.T + (variance / PRIOR) * np.eye(len(features))
    return 0.5 + np.linalg.solve(precision, features @ centred)


ATTACK = Reconstruction()
