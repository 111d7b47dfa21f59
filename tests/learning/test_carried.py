"""A training that goes on from what was written down after an epoch ends as one that was never interrupted."""

from __future__ import annotations

import copy
import io
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from secure_fair.learning.carried import Carried
from secure_fair.learning.lora import AdapterState, adapter_state
from secure_fair.learning.methods import METHODS, make_method
from secure_fair.learning.sensitive import Sensitive
from secure_fair.learning.settings import MethodSettings
from secure_fair.learning.train import EpochRecord, Labelled, train
from tests.learning.clear import TOKENS, WIDTH, People, classifier, people, settings

N, EPOCHS = 96, 3
FORMS = [
    (name, release) for name, method in METHODS.items() for release in (method.releases or (None,)) if name != "unl"
]


@pytest.fixture(scope="module")
def data() -> Labelled:
    tokens = torch.randn(N, TOKENS, WIDTH, generator=torch.Generator().manual_seed(1))
    return Labelled(tokens, torch.arange(N) % 2)


def sensitive() -> AdapterState:
    """An adapter whose change is not zero, as one that was trained."""
    state = adapter_state(classifier(seed=9).backbone)
    return {name: (rows, torch.full_like(columns, 0.05)) for name, (rows, columns) in state.items()}


def held(folder: Path, chosen: MethodSettings) -> People:
    adapters = {"a": Sensitive(sensitive(), 1.0)} if chosen.name == "orth" else None
    attribute = {"a": np.arange(N) // 2 % 2}
    return people(folder, chosen, attribute, {"a": 2}, epochs=EPOCHS, sensitive=adapters)


class Written:
    """A state as a file has it, and the adversaries that were on shares then."""

    def __init__(self, at: People, epoch: int) -> None:
        self.at, self.epoch, self.content, self.shared = at, epoch, b"", {}

    def note(self, epochs: int, state: Callable[[], Mapping[str, Any]]) -> None:
        if epochs == self.epoch:
            file = io.BytesIO()
            torch.save(state(), file)
            self.content, self.shared = file.getvalue(), copy.deepcopy(self.at.auditors.state.adversaries)

    def read(self) -> dict[str, Any]:
        return torch.load(io.BytesIO(self.content), weights_only=True)


def ended(
    at: People, chosen: MethodSettings, data: Labelled, **how: Any
) -> tuple[dict[str, Tensor], list[EpochRecord]]:
    """All parameters and records at the end."""
    model = classifier()
    history = train(model, data, make_method(chosen), at.auditors, settings(epochs=EPOCHS), **how)
    return {name: weight.detach().clone() for name, weight in model.named_parameters()}, history


def told(history: list[EpochRecord]) -> list[tuple[float, float, dict[str, float]]]:
    return [(one.loss, one.accuracy, dict(one.gaps)) for one in history]


@pytest.mark.parametrize(("name", "release"), FORMS, ids=[f"{name}-{release}" for name, release in FORMS])
def test_it_ends_with_the_same_bits(tmp_path: Path, data: Labelled, name: str, release: str | None) -> None:
    steered = {"target_gap": 0.01} if name == "parity" else {}
    chosen = METHODS[name].resolved(MethodSettings(name=name, release=release, strength=5.0, **steered))
    first = held(tmp_path / "first", chosen)
    written = Written(first, 2)
    whole, history = ended(first, chosen, data, on_whole=written.note)

    second = held(tmp_path / "second", chosen)
    second.auditors.state.adversaries |= written.shared
    resumed, again = ended(second, chosen, data, begun=written.read())
    assert all(torch.equal(resumed[name], weight) for name, weight in whole.items())
    assert told(again) == told(history)


@pytest.mark.parametrize("missing", ["weights", "optimiser", "schedule", "order", "method"])
def test_every_part_of_the_state_is_needed(
    tmp_path: Path, data: Labelled, missing: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Without it the end is another one."""
    chosen = METHODS["parity"].resolved(MethodSettings(name="parity", strength=5.0))
    first = held(tmp_path / "first", chosen)
    written = Written(first, 2)
    whole, _ = ended(first, chosen, data, on_whole=written.note)

    fresh: dict[str, Any] = {}
    restore = Carried.restore

    def without(self: Carried, tree: Mapping[str, Any]) -> None:
        fresh.update(copy.deepcopy(self.tree()))
        restore(self, {**tree, missing: fresh[missing]})

    if missing == "method":  # as it is before anything was released: it would be refused, and not only be different
        monkeypatch.setattr(type(make_method(chosen)), "restore", lambda self, state: None)
    else:
        monkeypatch.setattr(Carried, "restore", without)
    resumed, _ = ended(held(tmp_path / "second", chosen), chosen, data, begun=written.read())
    assert not all(torch.equal(resumed[name], weight) for name, weight in whole.items())
