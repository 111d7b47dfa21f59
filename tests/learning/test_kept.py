"""Kept trainings: found again where everything is the same, never where anything differs."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from secure_fair.learning.methods import METHODS, make_method
from secure_fair.learning.settings import MethodSettings
from secure_fair.learning.train import EpochRecord, Labelled, TrainSettings, predict, train
from tests.learning.clear import NOBODY, TOKENS, WIDTH, classifier, people, settings

N = 48


@pytest.fixture(scope="module")
def data() -> Labelled:
    """Records whose label is in their tokens."""
    labels = torch.arange(N) % 2
    tokens = torch.randn(N, TOKENS, WIDTH, generator=torch.Generator().manual_seed(1))
    tokens[:, :, 0] += 2.0 * (2 * labels[:, None] - 1)
    return Labelled(tokens, labels)


class Trainings:
    """Trainings in one folder."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.asked = 0

    def run(
        self, data: Labelled, using: TrainSettings, method: MethodSettings = NOBODY, seed: int = 0, *, keep: bool = True
    ) -> tuple[torch.Tensor, list[EpochRecord], int]:
        """Probabilities, history and the number of steps taken."""
        self.asked += 1
        codes = {"a": np.arange(N) // 2 % 2}
        auditors = people(self.folder / f"auditors {self.asked}", method, codes, {"a": 2}).auditors
        model, steps = classifier(2, seed), []
        history = train(
            model,
            data,
            make_method(METHODS[method.name].resolved(method)),
            auditors,
            using,
            on_step=lambda done, total: steps.append(done),
            kept=self.folder / "trainings" if keep else None,
        )
        return predict(model, data, using)[1], history, len(steps)


@pytest.fixture
def trainings(tmp_path: Path) -> Trainings:
    """In a folder of its own."""
    return Trainings(tmp_path)


def test_a_second_training_is_the_first(trainings: Trainings, data: Labelled) -> None:
    """The same predictions and epochs, without a step."""
    first, epochs, steps = trainings.run(data, settings())
    again, same, none = trainings.run(data, settings())
    assert steps > 0
    assert none == 0
    assert torch.equal(first, again)
    assert same == epochs


def test_anything_else_is_trained_anew(trainings: Trainings, data: Labelled) -> None:
    """Another rate, seed, start, label or pixel has a training of its own."""
    using = settings()
    trainings.run(data, using)
    flipped = data.labels.clone()
    flipped[0] = 1 - flipped[0]
    moved = data.tokens.clone()
    moved[0, 0, 0] += 1e-6
    others = [
        (data, replace(using, learning_rate=2 * using.learning_rate), 0),
        (data, replace(using, seed=using.seed + 1), 0),
        (data, using, 1),
        (Labelled(data.tokens, flipped), using, 0),
        (Labelled(moved, data.labels), using, 0),
    ]
    for records, how, start in others:
        assert trainings.run(records, how, seed=start)[2] > 0


def test_what_comes_after_training_shares_it(trainings: Trainings, data: Labelled) -> None:
    """``posthoc`` takes the training of ``erm``, and corrects it as it would have corrected its own."""
    correction = MethodSettings(name="posthoc", strength=3.0, components=2)
    alone, epochs, _ = trainings.run(data, settings(), correction, keep=False)
    plain, _, _ = trainings.run(data, settings())
    shared, same, none = trainings.run(data, settings(), correction)
    assert none == 0
    assert [epoch.loss for epoch in same] == [epoch.loss for epoch in epochs]
    assert torch.equal(alone, shared)
    assert not torch.allclose(plain, shared)


def test_a_penalty_is_trained_with(trainings: Trainings, data: Labelled) -> None:
    """A method that is in every batch's loss keeps nothing, and takes nothing."""
    penalty = MethodSettings(name="parity", release="moments", strength=1.0, components=2)
    trainings.run(data, settings())
    assert trainings.run(data, settings(), penalty)[2] > 0
    assert len(list((trainings.folder / "trainings").iterdir())) == 1


def test_it_is_private(trainings: Trainings, data: Labelled) -> None:
    """Of the one file, nobody else may read anything."""
    trainings.run(data, settings())
    (file,) = (trainings.folder / "trainings").iterdir()  # nobody asked for features in there
    assert file.stat().st_mode & 0o777 == 0o600
    assert file.parent.stat().st_mode & 0o777 == 0o700


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_features_are_taken_once_whatever_the_head(data: Labelled, tmp_path: Path, dtype: torch.dtype) -> None:
    """Bit by bit those that are made anew, in probabilities too, and without a pass through the backbone."""
    model, using = classifier(2, 0), replace(settings(), dtype=dtype)
    folder = tmp_path / "kept"
    first = predict(model, data, using, folder)
    assert all(map(torch.equal, first, predict(model, data, using)))
    with torch.no_grad():
        model.head.weight += 0.5
    assert model.backbone is not None
    passes: list[int] = []
    model.backbone.base_model.model.blocks[-1].register_forward_hook(lambda *_: passes.append(1))
    found = predict(model, data, using, folder)
    assert passes == []
    assert all(map(torch.equal, found, predict(model, data, using)))
    assert not torch.equal(found[1], first[1])
    (file,) = folder.iterdir()
    assert file.stat().st_mode & 0o777 == 0o600


def test_features_of_another_adapter_picture_or_batch_are_made_anew(data: Labelled, tmp_path: Path) -> None:
    model, using = classifier(2, 0), settings()
    predict(model, data, using, tmp_path / "kept")
    moved = data.tokens.clone()
    moved[0, 0, 0] += 1e-6
    predict(model, Labelled(moved, data.labels), using, tmp_path / "kept")
    predict(model, data, replace(using, batch_size=2 * using.batch_size), tmp_path / "kept")
    with torch.no_grad():
        next(parameter for name, parameter in model.named_parameters() if "lora_B" in name).add_(1e-3)
    predict(model, data, using, tmp_path / "kept")
    assert len(list((tmp_path / "kept").iterdir())) == 4
