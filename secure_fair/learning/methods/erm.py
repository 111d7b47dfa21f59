"""Empirical risk minimisation: the fairness-unaware baseline. Asks for nothing."""

from __future__ import annotations

from collections.abc import Mapping

from torch import Tensor

from secure_fair.learning.methods.base import Batch, Training


class Erm:
    """No penalty at all (arXiv 2503.05684, baseline)."""

    def start(self, training: Training) -> None:
        """Nothing to prepare."""

    def start_epoch(self, epoch: int) -> None:
        """Nothing to prepare."""

    def penalty(self, batch: Batch, progress: float) -> Tensor:
        """Zero."""
        return batch.logits.new_zeros(())

    def gaps(self) -> Mapping[str, float]:
        """Nothing was released that could tell a gap."""
        return {}

    def finish(self) -> None:
        """Nothing to undo."""
