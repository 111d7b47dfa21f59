"""A fairness method, to the training loop and to the scenario: what it does, what it needs, what it has released."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np
import torch
from torch import Tensor

from secure_fair.learning.settings import MethodSettings
from secure_fair.operations.common.ask import Auditors
from secure_fair.privacy.plan import PlannedRelease

if TYPE_CHECKING:
    from peft import PeftModel
    from torch import nn


@dataclass(frozen=True)
class Batch:
    """One batch of aligned records on the way to the loss."""

    records: np.ndarray  # (B,) int64, indices into the enrolled table
    labels: Tensor  # (B,) int64
    features: Tensor  # (B, d), with gradient
    logits: Tensor  # (B, C), with gradient


@dataclass(frozen=True)
class Training:
    """The training as a method may see it: nothing of it is an attribute."""

    labels: Tensor  # (n,) int64
    classes: int
    model: PeftModel | None  # None where the inputs are the features, and the head is all that is trained
    auditors: Auditors
    evaluate: Callable[
        [], tuple[Tensor, Tensor]
    ]  # features (n, d) and probabilities (n, C) of all records, no gradient
    head: nn.Linear  # from features to logits
    validation: Tensor = field(default_factory=lambda: torch.empty(0, dtype=torch.int64))  # records not fitted to

    @property
    def records(self) -> np.ndarray:
        """Indices of all training records."""
        return np.arange(len(self.labels), dtype=np.int64)


@dataclass(frozen=True)
class Extent:
    """How much a run asks about one attribute: from it a method says what it will have released.

    ``groups`` of the attribute, ``epochs``, ``steps`` (batches in all epochs together), and whether the auditors have
    pictures of their own alone.
    """

    groups: int
    epochs: int
    steps: int
    own_records: bool


class Method:
    """A method adds a penalty to every batch's loss; what it needs from the attributes it asks the auditors for.

    Every method has a file of its own in ``secure_fair/learning/methods``, named as the method. It declares:
    ``releases``, the forms in which attributes can reach it, the default first; ``noised_release``, the default where
    noise is asked for on aligned records, if it is another; ``adapter_releases``, those of them that are made from an
    adapter which the auditor trains on pictures of its own; ``own_records``, whether it works where the auditors know
    nobody of the developer's; ``moves_features``, whether it works by what it does to the features, and so not where
    they are a table's columns; ``after_training``, whether nothing of it reaches the model before ``finish``;
    ``by_class``, whether it asks of each class of the task apart;
    ``keys``, those of ``MethodSettings`` that it uses besides name and release: whoever gives it another is told so.
    """

    releases: ClassVar[tuple[str, ...]] = ()
    noised_release: ClassVar[str | None] = None
    adapter_releases: ClassVar[tuple[str, ...]] = ()
    own_records: ClassVar[bool] = False
    moves_features: ClassVar[bool] = False
    after_training: ClassVar[bool] = False
    by_class: ClassVar[bool] = False
    keys: ClassVar[tuple[str, ...]] = ("strength", "ramp", "attributes")

    def __init__(self, settings: MethodSettings) -> None:
        self.settings = settings

    # before anything runs

    @classmethod
    def resolved(cls, settings: MethodSettings, *, noised: bool = False, own_records: bool = False) -> MethodSettings:
        """The settings with the defaults that depend on other keys filled in.

        ``noised``: whether training's releases are; ``own_records``: whether auditors have pictures of their own alone.
        """
        first = cls.releases[0] if cls.releases else None
        usual = cls.noised_release if noised and not own_records and cls.noised_release else first
        return settings.model_copy(update={"release": settings.release or usual})

    @classmethod
    def conflicts(cls, settings: MethodSettings, own_records: bool) -> Iterator[str]:
        """Name every key of the resolved settings that does not go with another, beside what all methods check."""
        yield from ()

    @classmethod
    def planned(cls, settings: MethodSettings, extent: Extent) -> list[PlannedRelease]:
        """Every kind of release that the method makes of one attribute."""
        return []

    @classmethod
    def own_trainings(cls, settings: MethodSettings, epochs: int) -> int:
        """How often an auditor with pictures of its own alone trains an adversary on them."""
        return 0

    # during training

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

    def path(self) -> list[dict[str, Any]]:
        """Strengths that were weighed against each other after training, with what was released about them."""
        return []

    def heads(self) -> Mapping[float, Mapping[str, Tensor]]:
        """The state of the head at each strength of the ``path``."""
        return {}

    def finish(self) -> None:
        """Called once, after the last epoch, before the model is evaluated and saved."""

    # across a crash

    def state(self) -> dict[str, Any]:
        """Everything that is carried from one epoch to the next and that ``start`` does not make: in dictionaries,
        lists, tensors and numbers."""
        return {}

    def restore(self, state: Mapping[str, Any]) -> None:
        """Go on from a ``state``, after ``start``."""

    def ramped(self, progress: float) -> float:
        """The part of the strength in force: a penalty at full strength from the start collapses small models."""
        return 1.0 if self.settings.ramp <= 0 else min(1.0, progress / self.settings.ramp)
