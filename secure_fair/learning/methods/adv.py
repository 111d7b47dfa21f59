"""Adversarial de-biasing: the developer ascends the loss of an adversary that lives on shares."""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor

from secure_fair.learning.methods.base import Batch, Training, ramp
from secure_fair.learning.methods.moments import ENCODING_MARGIN
from secure_fair.learning.settings import MethodSettings


class Adv:
    """Gradient reversal on unit feature rows (arXiv 2503.05684; Ganin & Lempitsky, arXiv 1409.7495).

    The adversary is one linear map per attribute. Its weights stay on shares; the developer gets dL/du for
    its rows u = z / |z| and descends ``-strength * sum(dL/du * u) / B``.
    """

    def __init__(self, settings: MethodSettings) -> None:
        self.settings = settings

    def start(self, training: Training) -> None:
        """Remember whom to ask."""
        self.auditors = training.auditors

    def start_epoch(self, epoch: int) -> None:
        """Nothing to prepare."""

    def penalty(self, batch: Batch, progress: float) -> Tensor:
        """The reversed adversary loss, linear in the unit rows, so that its gradient is the released one."""
        unit = (1 - ENCODING_MARGIN) * torch.nn.functional.normalize(batch.features.float(), dim=1)
        total = unit.new_zeros(())
        for attribute in self.auditors.attributes:
            rows = self.auditors.adversary_rows(attribute, batch.records, unit.detach())
            total = total + (rows.values.to(unit) * unit).sum()
        return -self.settings.strength * ramp(progress, self.settings.ramp_epochs) * total / len(batch.labels)

    def gaps(self) -> Mapping[str, float]:
        """Nothing was released that tells a gap."""
        return {}

    def finish(self) -> None:
        """Nothing to undo."""
