"""Moments of the same people over the epochs of a training, and the best linear estimate of who has the attribute."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
import torch

from secure_fair.attacks.common.attack import Context
from secure_fair.attacks.common.auditor import EXACT, auditor, deviation, training_plan
from secure_fair.privacy.policy import Policy

NAME = "moment"


@dataclass(frozen=True)
class OpenedMoments:
    """Everything that was opened about people in training: ``queries`` F (n, k), ``answers`` F^T a + noise (k,).

    ``variance``: of the noise.
    """

    queries: np.ndarray
    answers: np.ndarray
    variance: float

    def ratios(self, prior: np.ndarray) -> np.ndarray:
        """Log-likelihood ratios of each attribute being 1 and not 0, (n,), as if everybody else's were Gaussian.

        ``prior``: the probability of each (n,), with the variance that a coin of this probability has.
        """
        spread = (self.queries * (prior * (1 - prior))[:, None]).T @ self.queries
        spread += max(self.variance, 1e-9) * np.eye(len(spread))
        weighted = np.linalg.solve(spread, self.queries.T).T  # (n, k)
        excess = self.answers - self.queries.T @ prior
        return weighted @ excess + (weighted * self.queries).sum(1) * (prior - 0.5)


def told_over_epochs(
    context: Context, attributes: np.ndarray, generator: np.random.Generator, *, exact: bool
) -> OpenedMoments:
    """Ask for one moment an epoch, of features that move in between, until there are as many numbers as people."""
    people, epochs, bits = len(attributes), context.terms.participations, context.terms.precision_bits
    width, everybody = math.ceil(people / epochs), np.arange(people, dtype=np.int64)
    plan, queries, answers = training_plan(NAME, context.terms, participations=epochs, exact=exact), [], []
    with auditor(attributes, plan, EXACT if exact else Policy()) as asked:
        for _ in range(epochs):
            features = unit_rows(generator, people, width)
            queries.append(features)
            answers.append(asked.ask(NAME, everybody, torch.from_numpy(features), bits)[:, 0])
    return OpenedMoments(np.concatenate(queries, axis=1), np.concatenate(answers), deviation(plan, NAME) ** 2)


def unit_rows(generator: np.random.Generator, count: int, width: int) -> np.ndarray:
    """Features (count, width) of norm 1."""
    features = generator.normal(size=(count, width))
    return features / np.linalg.norm(features, axis=1, keepdims=True)
