"""Demographic parity and equalised odds as penalties that are linear in the attribute.

The penalty is 2 sum_g (d_g - mean d)^2 with d_g the distances of ``secure_fair.learning.gaps``: the squared gap for two
groups, and for several the sum over pairs of groups of their squared gaps, 2/G times.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor

from secure_fair.learning.gaps import distances, outputs, running
from secure_fair.learning.memberships import SOURCES
from secure_fair.learning.method import Batch, Extent, Method, Training
from secure_fair.learning.settings import MethodSettings
from secure_fair.privacy.plan import PlannedRelease

STEERING = 1.0  # log-strength per epoch and relative excess of the gap over its target
STRENGTHS = (0.05, 20.0)  # bounds of an adjusted strength


class Parity(Method):
    """Penalises gaps of the mean prediction between groups; with ``by_class`` inside each class (equalised odds).

    With a ``target_gap`` the strength, which begins at the scenario's, follows the worst gap of mean predictions as the
    releases tell it: multiplicative updates, batch by batch, towards the target (cf. the method of multipliers).
    """

    releases = tuple(SOURCES)
    keys = (*Method.keys, "components", "target_gap")

    @classmethod
    def planned(cls, settings: MethodSettings, extent: Extent) -> list[PlannedRelease]:
        """The releases of the source of memberships."""
        return SOURCES[str(settings.release)].planned(extent)

    def start(self, training: Training) -> None:
        """Take the groups' shares in each stratum."""
        self.training = training
        self.strata = training.labels if self.by_class else torch.zeros_like(training.labels)
        count = training.classes if self.by_class else 1
        self.source = SOURCES[str(self.settings.release)](training, self.strata, count)
        self.distances: dict[str, Tensor] = {}  # (S, G, C'), the running mean
        self.pull = min(max(self.settings.strength, STRENGTHS[0]), STRENGTHS[1])

    def start_epoch(self, epoch: int) -> None:
        """Let the source ask about features and predictions of all records."""
        self.source.start_epoch(self._query)

    def _query(self) -> Tensor:
        features, probabilities = self.training.evaluate()
        return self.source.query(features, probabilities, self.source.columns(self.settings.components))

    def penalty(self, batch: Batch, progress: float) -> Tensor:
        """2 sum over strata, groups and outputs of (earlier distance) x (distance in this batch), scaled."""
        predicted = outputs(batch.logits.float().softmax(1))
        strata = self.strata[torch.from_numpy(batch.records)]
        total = predicted.new_zeros(())
        for attribute, priors in self.source.priors.items():
            members = self.source.of(attribute, batch)
            distance = distances(predicted, members.to(predicted), strata, priors.to(predicted))
            earlier = self.distances.get(attribute)
            if earlier is not None:
                pull = 4 * (earlier - earlier.mean(1, keepdim=True))
                total = total + (pull * distance).sum() / self.source.count
            self.distances[attribute] = running(earlier, distance)
        strength = self.settings.strength
        if self.settings.target_gap is not None:
            if progress >= self.settings.ramp:  # before, the gap says nothing of the strength
                self._steer(self.settings.target_gap, len(batch.labels) / len(self.training.labels))
            strength = self.pull
        return strength * self.ramped(progress) * total

    def state(self) -> dict[str, Any]:
        """Running means, the strength that was come to, and the source's answers."""
        return {"distances": self.distances, "pull": self.pull, "source": self.source.state()}

    def restore(self, state: Mapping[str, Any]) -> None:
        """Go on from them."""
        self.distances, self.pull = dict(state["distances"]), state["pull"]
        self.source.restore(state["source"])

    def _steer(self, target: float, epochs: float) -> None:
        excess = max(self.gaps().values()) / target - 1
        self.pull *= math.exp(STEERING * epochs * min(max(excess, -1.0), 1.0))
        self.pull = min(max(self.pull, STRENGTHS[0]), STRENGTHS[1])

    def strength(self) -> float | None:
        """The strength that steering by the gap has come to."""
        return None if self.settings.target_gap is None else self.pull

    def gaps(self) -> Mapping[str, float]:
        """Largest difference between two groups' mean predictions, by the running means (post-processing)."""
        return {name: float((distance.amax(1) - distance.amin(1)).max()) for name, distance in self.distances.items()}


METHOD = Parity
