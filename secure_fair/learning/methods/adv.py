"""Adversarial de-biasing: the developer ascends the loss of an adversary that lives on shares."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

from secure_fair.learning.memberships.regression import ENCODING_MARGIN
from secure_fair.learning.method import Batch, Extent, Method, Training
from secure_fair.learning.settings import MethodSettings
from secure_fair.operations import planned
from secure_fair.operations.adversary_rows import adversary_rows
from secure_fair.operations.common.ask import Release
from secure_fair.privacy.plan import PlannedRelease

MOMENTUM = 0.9  # of the running mean by which features are centred


class Adv(Method):
    """Gradient reversal on unit feature rows (arXiv 2503.05684; Ganin & Lempitsky, arXiv 1409.7495).

    The adversary is one linear map per attribute. Its weights stay on shares; the developer gets dL/du for its rows
    u = (z - c) / |z - c|, c the running mean of the features, and descends ``-strength * sum(dL/du * u) / B``.
    """

    releases = ("rows",)

    @classmethod
    def planned(cls, settings: MethodSettings, extent: Extent) -> list[PlannedRelease]:
        """Noised updates that stay on shares, and noised rows, batch by batch."""
        return [
            planned("adversary_step", extent.groups, extent.steps, extent.epochs),
            planned("adversary_rows", extent.groups, extent.steps, extent.epochs),
        ]

    def start(self, training: Training) -> None:
        """Remember whom to ask."""
        self.training = training
        self.auditors = training.auditors
        self.centre: Tensor | None = None

    def penalty(self, batch: Batch, progress: float) -> Tensor:
        """The reversed loss, linear in the unit rows, so that its gradient is the released one."""
        unit = unit_rows(batch.features.float() - self.centre_of(batch.features.detach().float()))
        total = unit.new_zeros(())
        for attribute in self.auditors.attributes:
            rows = self.rows(attribute, batch.records, unit.detach())
            total = total + (rows.values.to(unit) * unit).sum()
        return -self.settings.strength * self.ramped(progress) * total / len(batch.labels)

    def rows(self, attribute: str, records: np.ndarray, unit: Tensor) -> Release:
        """The gradient to ascend, of each row."""
        return adversary_rows(self.auditors, attribute, records, unit)

    def centre_of(self, features: Tensor) -> Tensor:
        """The running mean of the features (d,), of this batch included."""
        mean = features.mean(0)
        self.centre = mean if self.centre is None else MOMENTUM * self.centre + (1 - MOMENTUM) * mean
        return self.centre


def unit_rows(features: Tensor) -> Tensor:
    """Rows of norm 1, less what their encoding may add, of the features (B, d)."""
    return (1 - ENCODING_MARGIN) * torch.nn.functional.normalize(features, dim=1)


METHOD = Adv
