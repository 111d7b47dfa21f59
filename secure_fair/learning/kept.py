"""Trainings that are kept: where a method comes after training alone, the same training serves every setting of it.

A sweep over epsilon, strength or noise of such a method trains once for each data set and seed, and takes features from
pictures once. What is kept was named by all that it follows from, so that any change of records, settings, weights,
torch or this program makes it anew.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from secure_fair.files import atomic_write, private_folder

TRAININGS = "trainings"  # of a party's cache, where a sweep has made it
_PROGRAM = sorted(Path(__file__).parent.glob("*.py"))


def kept_in(cache: Path) -> Path | None:
    """The folder of kept trainings in a party's cache; None where trainings are not kept."""
    folder = cache / TRAININGS
    return folder if folder.is_dir() else None


class KeptTraining:
    """The end of one training in a folder: what it carries from epoch to epoch, and the epochs' records."""

    def __init__(self, folder: Path, model: nn.Module, data: Mapping[str, Tensor], settings: object) -> None:
        """Name it: ``model`` before training, ``data`` that it is trained on, all of its ``settings``."""
        self.file = folder / f"training-{_name(model, data, settings)}.pt"

    def state(self, method: Mapping[str, Any]) -> dict[str, Any] | None:
        """The state from which a training goes on at its end, with this state of its ``method``; None where nothing is
        kept."""
        if not self.file.is_file():
            return None
        state = torch.load(self.file, weights_only=True)
        return {**state, "carried": {**state["carried"], "method": method}}

    def keep(self, state: Mapping[str, Any]) -> None:
        """Write the state at the end of the training."""
        private_folder(self.file.parent)
        with atomic_write(self.file) as partial:
            torch.save(dict(state), partial)


class KeptFeatures:
    """The features (n, d) of records under one backbone in a folder: they outlast any change of the head."""

    def __init__(self, folder: Path, backbone: nn.Module, tokens: Tensor, settings: object) -> None:
        """Name them: ``backbone`` with its adapter, ``tokens`` (n, T, d) that enter it, ``settings`` of the loop."""
        self.file = folder / f"features-{_name(backbone, {'tokens': tokens}, settings)}.pt"

    def read(self) -> Tensor | None:
        """None where nothing is kept."""
        return torch.load(self.file, weights_only=True) if self.file.is_file() else None

    def keep(self, features: Tensor) -> None:
        """Write them, (n, d) float32 on the CPU."""
        private_folder(self.file.parent)
        with atomic_write(self.file) as partial:
            torch.save(features, partial)


def _name(model: nn.Module, data: Mapping[str, Tensor], settings: object) -> str:
    digest = hashlib.sha256()
    for file in _PROGRAM:
        digest.update(file.read_bytes())
    digest.update(repr((torch.__version__, torch.get_num_threads(), settings)).encode())
    trained = {name for name, parameter in model.named_parameters() if parameter.requires_grad}
    for name, tensor in (*model.state_dict().items(), *data.items()):
        digest.update(repr((name, name in trained, tensor.dtype, tuple(tensor.shape))).encode())
        digest.update(tensor.detach().cpu().contiguous().view(-1).view(torch.uint8).numpy().data)
    return digest.hexdigest()[:32]
