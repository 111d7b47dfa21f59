"""The training loop: an adapter and a head on cached tokens, one fairness method, one epoch line after another."""

from __future__ import annotations

import contextlib
import math
import time
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

import secure_fair.compat  # noqa: F401
from secure_fair.errors import Diverged
from secure_fair.learning.carried import Carried
from secure_fair.learning.kept import KeptFeatures, KeptTraining
from secure_fair.learning.lora import features as adapted_features
from secure_fair.learning.lora import merged
from secure_fair.learning.method import Batch, Method, Training
from secure_fair.learning.settings import batches_per_epoch
from secure_fair.operations.common.ask import Auditors

from peft import PeftModel  # isort: skip


@dataclass(frozen=True)
class TrainSettings:
    """Optimisation; ``dtype`` is the autocast type (float32: none)."""

    epochs: int
    batch_size: int
    learning_rate: float
    weight_decay: float
    warmup: float  # part of all steps
    seed: int
    dtype: torch.dtype
    device: torch.device
    validation: float = 0.0  # part of the records that is not trained on


@dataclass(frozen=True)
class EpochRecord:
    """The result of one epoch: mean loss, training accuracy, released gaps, seconds.

    ``balanced_accuracy``: mean over the classes that there are; ``largest_share``: of the class predicted most often.
    All of it is over the epoch's batches as they were trained on.
    """

    epoch: int
    loss: float
    accuracy: float
    gaps: Mapping[str, float]
    seconds: float
    balanced_accuracy: float
    largest_share: float
    strength: float | None = None  # where the method adjusts it


@dataclass(frozen=True)
class Labelled:
    """Records as the loop takes them: tokens (n, T, d) that enter the first adapted block, labels (n,) int64.

    Without a backbone the tokens are features (n, d).
    """

    tokens: Tensor
    labels: Tensor

    def __len__(self) -> int:
        return len(self.labels)


class Classifier(nn.Module):
    """An adapted backbone with a linear head; the head starts small, so that the first predictions are even.

    Without a backbone the tokens are the features.
    """

    def __init__(self, backbone: PeftModel | None, width: int, classes: int, seed: int) -> None:
        super().__init__()
        self.backbone: PeftModel | None = backbone
        self.head = nn.Linear(width, classes)
        with torch.no_grad():
            self.head.weight.normal_(0, 0.01, generator=torch.Generator().manual_seed(seed))
            self.head.bias.zero_()

    def forward(self, tokens: Tensor) -> tuple[Tensor, Tensor]:
        """Features (B, d) and logits (B, C) in float32."""
        features = tokens if self.backbone is None else adapted_features(self.backbone, tokens)
        features = features.float()
        return features, self.head(features)


def predict(
    model: Classifier, data: Labelled, settings: TrainSettings, kept: Path | None = None
) -> tuple[Tensor, Tensor]:
    """Features (n, d) and probabilities (n, C) of all records, on the CPU, without gradient.

    In the folder ``kept`` features of the same backbone are found again.
    """
    same = None
    model.eval()
    if kept is not None and model.backbone is not None:
        same = KeptFeatures(kept, model.backbone, data.tokens, (settings.dtype, settings.device, settings.batch_size))
        if (features := same.read()) is not None:
            return features, _probabilities(model, features, settings)
    made = []
    folded = contextlib.nullcontext() if model.backbone is None else merged(model.backbone)
    with torch.no_grad(), folded, autocast(settings):
        for tokens in data.tokens.split(4 * settings.batch_size):
            features, logits = model(tokens.to(settings.device))
            made.append((features.float().cpu(), logits.float().softmax(1).cpu()))
    features = torch.cat([f for f, _ in made])
    if same is not None:
        same.keep(features)
    return features, torch.cat([p for _, p in made])


def _probabilities(model: Classifier, features: Tensor, settings: TrainSettings) -> Tensor:
    """The same from features, in the same batches."""
    with torch.no_grad(), autocast(settings):
        batches = features.split(4 * settings.batch_size)
        return torch.cat([model.head(batch.to(settings.device)).float().softmax(1).cpu() for batch in batches])


def train(
    model: Classifier,
    data: Labelled,
    method: Method,
    auditors: Auditors,
    settings: TrainSettings,
    *,
    on_epoch: Callable[[EpochRecord], None] = lambda record: None,
    on_step: Callable[[int, int], None] = lambda done, total: None,
    on_whole: Callable[[int, Callable[[], dict[str, Any]]], None] = lambda epochs, state: None,
    begun: Mapping[str, Any] | None = None,
    kept: Path | None = None,
) -> list[EpochRecord]:
    """Train adapter and head in place with AdamW (linear warm-up, cosine decay). Returns a record per epoch.

    A part of the records, drawn by the seed, is left out where the settings have a validation part. ``on_whole`` is
    given the number of whole epochs after each, and what makes the state by which another call, with fresh arguments
    and this state as ``begun``, goes on from there as if nothing had been between. In the folder ``kept`` trainings
    are found again that a method left to themselves.
    """
    parameters = [p for p in model.parameters() if p.requires_grad]
    optimiser = torch.optim.AdamW(parameters, lr=settings.learning_rate, weight_decay=settings.weight_decay)
    fitted, validation = held_out(len(data), settings)
    steps = settings.epochs * batches_per_epoch(len(fitted), settings.batch_size)
    schedule = torch.optim.lr_scheduler.LambdaLR(optimiser, lambda step: _rate(step, steps, settings.warmup))
    order = torch.Generator().manual_seed(settings.seed)
    evaluate = partial(predict, model, data, settings, kept if method.after_training else None)
    classes = model.head.out_features
    method.start(Training(data.labels, classes, model.backbone, auditors, evaluate, model.head, validation))
    carried = Carried(model, optimiser, schedule, order, method)
    same = kept_training(kept, model, data, method, settings)
    history: list[EpochRecord] = []
    if begun is None and same is not None and (begun := same.state(method.state())) is not None:
        for record in past(begun):
            on_epoch(record)
    if begun is not None:
        carried.restore(begun["carried"])
        history = past(begun)
    for epoch in range(len(history), settings.epochs):
        record = _train_epoch(model, carried, data, fitted, settings, epoch, on_step)
        history.append(record)
        on_epoch(record)
        on_whole(len(history), lambda: {"carried": carried.tree(), "history": [asdict(one) for one in history]})
    if same is not None and begun is None:
        same.keep({"carried": carried.tree(), "history": [asdict(one) for one in history]})
    method.finish()
    return history


def _train_epoch(
    model: Classifier,
    carried: Carried,
    data: Labelled,
    fitted: Tensor,
    settings: TrainSettings,
    epoch: int,
    on_step: Callable[[int, int], None],
) -> EpochRecord:
    """One pass over the ``fitted`` records in shuffled batches; Diverged where the loss is no number."""
    began = time.perf_counter()
    method, classes = carried.method, model.head.out_features
    method.start_epoch(epoch)
    model.train()
    losses, confusion = 0.0, torch.zeros(classes**2, dtype=torch.int64)
    shuffled = fitted[torch.randperm(len(fitted), generator=carried.order)]
    batches = shuffled.tensor_split(batches_per_epoch(len(fitted), settings.batch_size))
    for index, records in enumerate(batches):
        labels = data.labels[records].to(settings.device)
        with autocast(settings):
            features, logits = model(data.tokens[records].to(settings.device))
        loss = nn.functional.cross_entropy(logits.float(), labels)
        batch = Batch(records.numpy().astype(np.int64), labels, features, logits)
        penalty = method.penalty(batch, epoch + index / len(batches))
        total = loss + penalty
        if not bool(torch.isfinite(total)):
            raise Diverged(
                f"training diverged in epoch {epoch + 1}, step {index + 1}: the loss is {total.item()}; "
                "lower method.strength or train.learning_rate"
            )
        carried.optimiser.zero_grad(set_to_none=True)
        total.backward()
        carried.optimiser.step()
        carried.schedule.step()
        losses += loss.item() * len(records)
        confusion += torch.bincount((labels * classes + logits.argmax(1)).cpu(), minlength=classes**2)
        on_step(epoch * len(batches) + index + 1, settings.epochs * len(batches))
    seconds = time.perf_counter() - began
    return _record(epoch + 1, losses / len(fitted), confusion.reshape(classes, classes), method, seconds)


def past(begun: Mapping[str, Any]) -> list[EpochRecord]:
    """The records of the epochs that a state comes after."""
    return [EpochRecord(**record) for record in begun["history"]]


def kept_training(
    folder: Path | None, model: Classifier, data: Labelled, method: Method, settings: TrainSettings
) -> KeptTraining | None:
    """The place of this training in a folder of kept ones; None where there is none, or the method takes part in it."""
    if folder is None or not method.after_training:
        return None
    return KeptTraining(folder, model, {"tokens": data.tokens, "labels": data.labels}, settings)


def held_out(records: int, settings: TrainSettings) -> tuple[Tensor, Tensor]:
    """Indices of the records that are trained on, and of those that are not, int64, ascending."""
    order = torch.randperm(records, generator=torch.Generator().manual_seed(settings.seed + 1))
    aside = round(settings.validation * records)
    return order[aside:].sort().values, order[:aside].sort().values


def _record(epoch: int, loss: float, confusion: Tensor, method: Method, seconds: float) -> EpochRecord:
    """The record of the counts ``confusion`` by label and prediction (C, C)."""
    counts = confusion.double()
    total, there = float(counts.sum()), counts.sum(1) > 0
    return EpochRecord(
        epoch,
        loss,
        accuracy=float(counts.trace()) / total,
        gaps=dict(method.gaps()),
        seconds=seconds,
        balanced_accuracy=float((counts.diagonal()[there] / counts.sum(1)[there]).mean()),
        largest_share=float(counts.sum(0).max()) / total,
        strength=method.strength(),
    )


def autocast(settings: TrainSettings) -> contextlib.AbstractContextManager[object]:
    """Autocast to the settings' type; nothing for float32."""
    if settings.dtype == torch.float32:
        return contextlib.nullcontext()
    return torch.autocast(settings.device.type, dtype=settings.dtype)


def _rate(step: int, steps: int, warmup: float) -> float:
    rising = max(1, round(warmup * steps))
    if step < rising:
        return (step + 1) / rising
    return 0.5 * (1 + math.cos(math.pi * (step - rising) / max(1, steps - rising)))
