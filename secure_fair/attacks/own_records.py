"""Membership in an auditor's own training with DP-SGD: canaries, each with a feature to itself, half of them in it."""

from __future__ import annotations

import numpy as np
import torch
from torch import nn

from secure_fair.attacks.common.attack import Attack, Ceiling, Context, Outcome
from secure_fair.attacks.common.statistics import Scores
from secure_fair.privacy import accounting
from secure_fair.privacy.dpsgd import PrivateSettings, Randomness, train_privately

CANARIES = 1000
RATE = 0.05  # of a batch
CLIP = 0.1  # below every gradient's norm, so that each is as long as it may be


class NoNoise:
    """The twin's noise: none."""

    private = False

    def gaussian(self, sigma: int, count: int) -> np.ndarray:
        """Nothing, int64 (count,)."""
        return np.zeros(count, dtype=np.int64)


class OwnRecordsAttack(Attack):
    """A record moves the weights of its own feature alone; whether they have moved is the score.

    All are trained together, each being there with probability one half by a coin of its own.
    """

    claim = "an adapter of an auditor's own records tells whether one was trained on by no more than epsilon"
    view = "developer"
    needs = "the adapter; records of its own choice in the auditor's data"
    twin = "the same training without noise"
    formal = False

    def run(self, context: Context) -> Outcome:
        """One training, with secret Poisson batches."""
        terms = context.terms
        advantage = accounting.response_advantage(terms.epsilon, 2) + terms.delta
        ceiling = Ceiling((1 + advantage) / 2, epsilon=terms.epsilon, delta=terms.delta)
        noised, exact = Randomness.from_system(), Randomness(NoNoise(), Randomness.from_system().batches)
        ours, twin = (self._scores(context, randomness) for randomness in (noised, exact))
        return Outcome.scored(ours, twin, ceiling)

    def _scores(self, context: Context, randomness: Randomness) -> Scores:
        generator, terms = context.generator("own_records"), context.terms
        there = generator.permutation(np.arange(CANARIES) % 2)
        inputs = torch.eye(CANARIES)[torch.from_numpy(np.flatnonzero(there))]
        model = nn.Linear(CANARIES, 2, bias=False)
        nn.init.zeros_(model.weight)
        settings = PrivateSettings(
            epsilon=terms.epsilon, delta=terms.delta, epochs=2, sample_rate=RATE, learning_rate=0.01, clip=CLIP
        )
        train_privately(model, model, inputs, torch.ones(len(inputs), dtype=torch.int64), settings, randomness)
        weights = model.weight.detach().double().numpy()
        return Scores.of(weights[1] - weights[0], there, generator)


ATTACK = OwnRecordsAttack()
