"""What every fairness method is to the training loop."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from torch import Tensor

from secure_fair.learning.auditors import Auditors

if TYPE_CHECKING:
    from peft import PeftModel


@dataclass(frozen=True)
class Batch:
    """One batch of aligned records on the way to the loss."""

    records: np.ndarray  # (B,) int64, indices into the enrolled table
    labels: Tensor  # (B,) int64
    features: Tensor  # (B, d), with gradient
    logits: Tensor  # (B, C), with gradient


@dataclass(frozen=True)
class Training:
    """What a method may see of the training: nothing of it is an attribute."""

    labels: Tensor  # (n,) int64
    classes: int
    model: PeftModel
    auditors: Auditors
    evaluate: Callable[
        [], tuple[Tensor, Tensor]
    ]  # features (n, d) and probabilities (n, C) of all records, no gradient

    @property
    def records(self) -> np.ndarray:
        """Indices of all training records."""
        return np.arange(len(self.labels), dtype=np.int64)


class Method:
    """A method adds a penalty to every batch's loss; what it needs from the attributes it asks the auditors for.

    Alone it is empirical risk minimisation, the baseline that asks for nothing.
    """

    def start(self, training: Training) -> None:
        """Called once, before the first epoch."""

    def start_epoch(self, epoch: int) -> None:
        """Called before each epoch, counted from 0."""

    def penalty(self, batch: Batch, progress: float) -> Tensor:
        """A scalar to add to the mean loss of the batch; ``progress`` is the epoch with its fraction."""
        return batch.logits.new_zeros(())

    def gaps(self) -> Mapping[str, float]:
        """Gap of each attribute as estimated from what was released; empty where nothing tells it."""
        return {}

    def strength(self) -> float | None:
        """The strength in force where the method adjusts it itself."""
        return None

    def finish(self) -> None:
        """Called once, after the last epoch, before the model is evaluated and saved."""


def ramp(progress: float, epochs: float) -> float:
    """Rises from 0 to 1 over the first ``epochs``: a penalty at full strength from the start collapses small models."""
    return 1.0 if epochs <= 0 else min(1.0, progress / epochs)
