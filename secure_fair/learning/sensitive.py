"""The auditor's sensitive adapter: trained by the auditor on its own pictures to predict the attribute."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

from secure_fair.learning.auditors import Adapter
from secure_fair.learning.lora import adapter_state
from secure_fair.learning.methods.erm import Erm
from secure_fair.learning.model import ModelSettings, make_classifier
from secure_fair.learning.train import EpochRecord, Labelled, TrainSettings, train


@dataclass(frozen=True)
class Sensitive:
    """An adapter that predicts an attribute, and how well it does on the records that it was trained on."""

    adapter: Adapter
    accuracy: float


class _Nobody:
    """The sensitive adapter is trained without anybody's help."""

    attributes: tuple[str, ...] = ()


def train_sensitive(
    model: ModelSettings,
    tokens: Tensor,
    codes: Tensor,
    groups: int,
    settings: TrainSettings,
    on_epoch: Callable[[EpochRecord], None] = lambda record: None,
) -> Sensitive:
    """Train adapter and head on tokens (n, T, d) and group codes (n,); the head is thrown away."""
    classifier = make_classifier(model, groups, settings.seed, settings.device)
    history = train(classifier, Labelled(tokens, codes), Erm(), _Nobody(), settings, on_epoch=on_epoch)  # type: ignore[arg-type]
    state = {
        name: (a.detach().float().cpu().clone(), b.detach().float().cpu().clone())
        for name, (a, b) in adapter_state(classifier.backbone).items()
    }
    return Sensitive(state, history[-1].accuracy)


def as_matrices(adapter: Adapter) -> list[Tensor]:
    """The row matrices A (r, d_m) in the adapter's order, float64."""
    return [a.to(torch.float64) for a, _ in adapter.values()]
