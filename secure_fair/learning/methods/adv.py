"""Adversarial de-biasing: the developer ascends the loss of an adversary that predicts the attribute."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from torch import Tensor

from secure_fair.learning.adversaries import Adversary, FittedAdversary, SharedAdversary, unit_rows
from secure_fair.learning.memberships.moments import MomentSource
from secure_fair.learning.method import Batch, Extent, Method, Training
from secure_fair.learning.settings import MethodSettings
from secure_fair.operations import planned
from secure_fair.privacy.plan import PlannedRelease

MOMENTUM = 0.9  # of the running mean by which features are centred


class Adv(Method):
    """Gradient reversal on unit feature rows (arXiv 2503.05684; Ganin & Lempitsky, arXiv 1409.7495).

    The adversary is one linear map per attribute. The developer gets dL/du for its rows u = (z - c) / |z - c|, c the
    running mean of the features, and descends ``-strength * sum(dL/du * u) / B``. ``release="rows"``: the adversary's
    weights stay on shares, and every batch's dL/du is opened. Noise then protects attributes only from a developer that
    follows the protocol. ``release="moments"``: the adversary is the developer's own, and learns from memberships that
    are estimated from one moment an epoch, whatever the developer does with it.
    """

    releases = ("rows", "moments")
    noised_release = "moments"
    moves_features = True
    keys = (*Method.keys, "components")

    @classmethod
    def planned(cls, settings: MethodSettings, extent: Extent) -> list[PlannedRelease]:
        """A moment an epoch; or noised updates that stay on shares, and noised rows, batch by batch."""
        if settings.release == "moments":
            return MomentSource.planned(extent)
        return [planned("adversary_step", extent.groups, extent.steps, extent.epochs), cls.planned_rows(extent)]

    @classmethod
    def planned_rows(cls, extent: Extent) -> PlannedRelease:
        """The rows that an adversary on shares opens."""
        return planned("adversary_rows", extent.groups, extent.steps, extent.epochs)

    def start(self, training: Training) -> None:
        """Take the groups' shares where the adversary is the developer's own."""
        self.training = training
        self.auditors = training.auditors
        self.centre: Tensor | None = None
        self.adversary: Adversary = (
            FittedAdversary(training, self.settings.components)
            if self.settings.release == "moments"
            else SharedAdversary(training.auditors)
        )

    def start_epoch(self, epoch: int) -> None:
        """Let the adversary ask what it needs for the epoch."""
        self.adversary.start_epoch()

    def penalty(self, batch: Batch, progress: float) -> Tensor:
        """The reversed loss, linear in the unit rows, so that its gradient is the adversary's."""
        unit = unit_rows(batch.features.float() - self.centre_of(batch.features.detach().float()))
        total = unit.new_zeros(())
        for attribute in self.auditors.attributes:
            rows = self.rows(attribute, batch.records, unit.detach().cpu())
            total = total + (rows.to(unit) * unit).sum()
        return -self.settings.strength * self.ramped(progress) * total / len(batch.labels)

    def rows(self, attribute: str, records: np.ndarray, unit: Tensor) -> Tensor:
        """The gradient to ascend, of each row."""
        return self.adversary.loss_rows(attribute, records, unit)

    def state(self) -> dict[str, Any]:
        """The running mean of the features, and the adversary where it is the developer's own."""
        return {"centre": self.centre, "adversary": self.adversary.state()}

    def restore(self, state: Mapping[str, Any]) -> None:
        """Go on from them."""
        self.centre = state["centre"]
        self.adversary.restore(state["adversary"])

    def centre_of(self, features: Tensor) -> Tensor:
        """The running mean of the features (d,), of this batch included."""
        mean = features.mean(0)
        self.centre = mean if self.centre is None else MOMENTUM * self.centre + (1 - MOMENTUM) * mean
        return self.centre


METHOD = Adv
