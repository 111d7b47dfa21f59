"""Linear erasure as a penalty: no direction of the features may go with the attribute."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor

from secure_fair.learning.gaps import distances, running
from secure_fair.learning.memberships import SOURCES
from secure_fair.learning.memberships.regression import clip_rows
from secure_fair.learning.method import Batch, Extent, Method, Training
from secure_fair.learning.settings import MethodSettings
from secure_fair.privacy.plan import PlannedRelease


class Erase(Method):
    """Penalises Cov(z, a), which is zero exactly where no linear classifier beats a constant one.

    (Belrose et al. 2023, arXiv 2306.03819, theorem 3.1. LEACE itself projects finished features; here they are
    trained.) Once an epoch the first ``components`` principal components of all features, whitened, are the query of
    one moment, whose answer gives soft memberships. The penalty is ``strength`` times the share of the components'
    variance that lies between the groups, sum_g pi_g |d_g|^2 with d_g the distance of a group's mean from the mean of
    all, one factor of the square being a running mean (see ``secure_fair.learning.gaps``).
    """

    releases = ("moments", "rows", "attributes")  # cells have no directions along which to erase
    moves_features = True
    keys = (*Method.keys, "components")

    @classmethod
    def planned(cls, settings: MethodSettings, extent: Extent) -> list[PlannedRelease]:
        """The releases of the source of memberships."""
        return SOURCES[str(settings.release)].planned(extent)

    def start(self, training: Training) -> None:
        """Take the groups' shares."""
        self.training = training
        self.source = SOURCES[str(self.settings.release)](training, torch.zeros_like(training.labels), 1)

    def start_epoch(self, epoch: int) -> None:
        """Find the components of this epoch, and the groups' distances along them where they are known already."""
        features, _ = self.training.evaluate()
        self.centre = features.double().mean(0)
        centred = features.double() - self.centre
        _, variances, axes = torch.linalg.svd(centred.T @ centred / len(centred))
        kept = slice(self.source.columns(self.settings.components))
        self.basis = axes[kept].T
        scores = _scaled(centred @ self.basis)
        self.source.start_epoch(lambda: clip_rows(centred @ self.basis / variances[kept].clamp_min(1e-12).sqrt()))
        self.distances: dict[str, Tensor] = {}
        for attribute, prior in self.source.priors.items():
            members = self.source.of_all(attribute)
            if members is not None:
                self.distances[attribute] = distances(scores, members, torch.zeros(len(scores)), prior)

    def penalty(self, batch: Batch, progress: float) -> Tensor:
        """The groups' earlier distances times those in this batch, over components, groups and attributes."""
        centred = batch.features.float() - self.centre.to(batch.features.device).float()
        scores = _scaled(centred @ self.basis.to(centred))
        everybody = torch.zeros(len(scores), device=scores.device)
        total = scores.new_zeros(())
        for attribute, held in self.source.priors.items():
            members, prior = self.source.of(attribute, batch).to(scores), held.to(scores)
            distance = distances(scores, members, everybody, prior)
            earlier = self.distances.get(attribute)
            if earlier is not None:
                earlier = earlier.to(scores)
                total = total + 2 * (prior[..., None] * earlier * distance).sum()
            self.distances[attribute] = running(earlier, distance)
        return self.settings.strength * self.ramped(progress) * total

    def state(self) -> dict[str, Any]:
        """The source's answers: components and distances are found anew in each epoch."""
        return {"source": self.source.state()}

    def restore(self, state: Mapping[str, Any]) -> None:
        """Go on from them."""
        self.source.restore(state["source"])


def _scaled(scores: Tensor) -> Tensor:
    """Scores (B, k) of total variance 1: shrinking all features alike is no way out."""
    return scores / (scores - scores.mean(0)).square().sum(1).mean().sqrt().clamp_min(1e-6)


METHOD = Erase
