"""A predictor of the attribute, made of what training has opened, on people whom nobody asked about.

That is knowledge of how the attribute shows in pictures (P2 in docs/security.md). Noise does not limit it, and nothing
here says so: this attack is there to measure it, between what is known without a release and with the attributes.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import torch

from secure_fair.attacks.common.attack import Attack, Context, Outcome
from secure_fair.attacks.common.auditor import auditor, training_plan
from secure_fair.attacks.common.epochs import unit_rows
from secure_fair.privacy.policy import Policy

NAME = "moment"
PEOPLE, FRESH, WIDTH = 4000, 2000, 16


class Predictor(Attack):
    """The mean of all moments is the direction in which the attribute lies; its sign predicts anybody's."""

    claim = "a developer that is told nothing predicts nobody's attribute (told moments, it does: P2 is not protected)"
    view = "developer"
    needs = "the releases of one training"
    twin = "a developer with the moments of a whole training, noised as they are"

    def run(self, context: Context) -> Outcome:
        """Predict fresh people without a release, with the releases, and with the attributes in the clear."""
        generator = context.generator("predictor")
        features, direction = unit_rows(generator, PEOPLE + FRESH, WIDTH), generator.normal(size=WIDTH)
        chances = 1 / (1 + np.exp(-4 * features @ direction))
        attributes = (generator.random(len(chances)) < chances).astype(np.int64)
        seen, fresh, truth = features[:PEOPLE], features[PEOPLE:], attributes[PEOPLE:]
        told = _told(context, seen, attributes[:PEOPLE])
        clear = seen.T @ (attributes[:PEOPLE] - 0.5)
        without, with_them, best = (
            int((guess == truth).sum())
            for guess in (generator.integers(0, 2, FRESH), fresh @ told > 0, fresh @ clear > 0)
        )
        outcome = Outcome.counted(without, with_them, FRESH, most=0.5)
        return replace(outcome, beside={"attributes in the clear": best / FRESH})


def _told(context: Context, features: np.ndarray, attributes: np.ndarray) -> np.ndarray:
    """The direction of the moments, less the prior's part, (k,)."""
    epochs, everybody = context.terms.participations, np.arange(PEOPLE, dtype=np.int64)
    plan, query = training_plan(NAME, context.terms, participations=epochs, exact=False), torch.from_numpy(features)
    with auditor(attributes, plan, Policy()) as asked:
        told = [asked.ask(NAME, everybody, query, context.terms.precision_bits)[:, 0] for _ in range(epochs)]
    return np.mean(told, axis=0) - features.sum(0) / 2


ATTACK = Predictor()
