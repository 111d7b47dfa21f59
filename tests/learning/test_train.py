"""The training loop: it learns, a seed decides everything, and every record comes once an epoch."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor

from secure_fair.errors import SecureFairError
from secure_fair.learning.method import Batch, Training
from secure_fair.learning.methods import make_method
from secure_fair.learning.methods.erm import Erm
from secure_fair.learning.sensitive import train_sensitive
from secure_fair.learning.settings import Backbone, Lora, MethodSettings, ModelSettings
from secure_fair.learning.train import (
    Classifier,
    EpochRecord,
    Labelled,
    TrainSettings,
    batches_per_epoch,
    predict,
    train,
)
from secure_fair.parties.plain_auditors import PlainAuditors
from tests.learning.clear import NOBODY, TOKENS, WIDTH, classifier, people, settings

N = 96


@pytest.fixture(scope="module")
def data() -> Labelled:
    """Records whose label is in their tokens."""
    generator = torch.Generator().manual_seed(1)
    labels = torch.arange(N) % 2
    tokens = torch.randn(N, TOKENS, WIDTH, generator=generator)
    tokens[:, :, 0] += 2.0 * (2 * labels[:, None] - 1)
    return Labelled(tokens, labels)


@pytest.fixture
def auditors(tmp_path: Path) -> PlainAuditors:
    """For methods that ask for nothing."""
    return people(tmp_path / "auditors", NOBODY, {"a": np.arange(N) % 2}, {"a": 2}).auditors


class Noting(Erm):
    """The baseline; it notes which records each batch has."""

    def __init__(self) -> None:
        super().__init__(NOBODY)
        self.batches: list[np.ndarray] = []
        self.progress: list[float] = []

    def start(self, training: Training) -> None:
        self.training = training

    def penalty(self, batch: Batch, progress: float) -> Tensor:
        self.batches.append(batch.records)
        self.progress.append(progress)
        return super().penalty(batch, progress)


def trained(folder: Path, data: Labelled, chosen: MethodSettings = NOBODY, **changes: object) -> Classifier:
    """A classifier after training; ``changes`` are those of the settings."""
    with_settings = settings(**changes)
    attribute = {"a": np.arange(len(data)) // 2 % 2}
    held = people(folder, chosen, attribute, {"a": 2}, epochs=with_settings.epochs)
    model = classifier(seed=with_settings.seed)
    train(model, data, make_method(chosen), held.auditors, with_settings)
    return model


def parameters(model: Classifier) -> Mapping[str, Tensor]:
    return {name: p.detach() for name, p in model.named_parameters() if p.requires_grad}


def equal(first: Classifier, second: Classifier) -> bool:
    one, other = parameters(first), parameters(second)
    return one.keys() == other.keys() and all(torch.equal(one[name], other[name]) for name in one)


def test_it_learns(tmp_path: Path, data: Labelled) -> None:
    model = trained(tmp_path, data, epochs=8)
    _, probabilities = predict(model, data, settings())
    assert float((probabilities.argmax(1) == data.labels).double().mean()) > 0.95


def test_only_adapter_and_head_move(tmp_path: Path, data: Labelled) -> None:
    begun, ended = classifier(), trained(tmp_path, data)
    for name, parameter in begun.named_parameters():
        moved = not torch.equal(parameter, dict(ended.named_parameters())[name])
        assert moved == (".lora_" in name or name.startswith("head.")), name


@pytest.mark.parametrize(
    "chosen", [NOBODY, MethodSettings(name="parity", release="moments", components=4)], ids=["erm", "parity"]
)
def test_a_seed_decides_everything(tmp_path: Path, data: Labelled, chosen: MethodSettings) -> None:
    torch.manual_seed(11)
    first = trained(tmp_path / "first", data, chosen)
    torch.manual_seed(12)  # the global generator has no say
    torch.randn(5)
    again = trained(tmp_path / "again", data, chosen)
    other = trained(tmp_path / "other", data, chosen, seed=1)
    assert equal(first, again)
    assert not equal(first, other)


@pytest.mark.parametrize(("records", "batch"), [(96, 32), (95, 32), (127, 32), (20, 32), (64, 64)])
def test_every_record_comes_once_an_epoch_in_batches_that_are_not_short(
    data: Labelled, auditors: PlainAuditors, records: int, batch: int
) -> None:
    several = Labelled(data.tokens[:1].expand(records, -1, -1), torch.zeros(records, dtype=torch.int64))
    method, with_settings = Noting(), settings(batch_size=batch, epochs=2)
    train(classifier(), several, method, auditors, with_settings)
    per_epoch = batches_per_epoch(records, batch)
    assert len(method.batches) == 2 * per_epoch
    for epoch in range(2):
        seen = np.concatenate(method.batches[epoch * per_epoch : (epoch + 1) * per_epoch])
        assert sorted(seen) == list(range(records))
    assert all(len(seen) >= min(batch, records) for seen in method.batches)
    assert not np.array_equal(method.batches[0], method.batches[per_epoch])  # a new order each epoch
    assert method.progress == [epoch + index / per_epoch for epoch in range(2) for index in range(per_epoch)]


def test_validation_records_are_not_trained_on(data: Labelled, auditors: PlainAuditors) -> None:
    method, with_settings = Noting(), settings(batch_size=16, epochs=2, validation=0.25)
    train(classifier(), data, method, auditors, with_settings)
    seen = set(np.concatenate(method.batches).tolist())
    assert len(seen) == round(0.75 * len(data))
    assert seen.isdisjoint(method.training.validation.tolist())
    assert len(seen) + len(method.training.validation) == len(data)


def test_epochs_are_reported_as_they_end(data: Labelled, auditors: PlainAuditors) -> None:
    told: list[EpochRecord] = []
    steps: list[tuple[int, int]] = []
    kept = train(
        classifier(),
        data,
        Erm(NOBODY),
        auditors,
        settings(epochs=3),
        on_epoch=told.append,
        on_step=lambda done, total: steps.append((done, total)),
    )
    assert [record.epoch for record in told] == [1, 2, 3]
    assert kept == told
    assert steps == [(step, 9) for step in range(1, 10)]
    assert told[-1].loss < told[0].loss


def test_a_training_that_diverges_is_an_error_with_a_remedy(data: Labelled, auditors: PlainAuditors) -> None:
    class Exploding(Erm):
        def penalty(self, batch: Batch, progress: float) -> Tensor:
            return batch.logits.sum() * float("inf")

    with pytest.raises(
        SecureFairError, match=r"diverged in epoch 1, step 1: .*method\.strength or train\.learning_rate"
    ):
        train(classifier(), data, Exploding(NOBODY), auditors, settings())


def test_methods_see_the_model_as_it_stands(data: Labelled, auditors: PlainAuditors) -> None:
    """What a method evaluates at the start of an epoch is of the current adapter, without gradient, in table order."""

    class Watching(Erm):
        def start(self, training: Training) -> None:
            self.training = training
            self.seen: list[tuple[Tensor, Tensor]] = []

        def start_epoch(self, epoch: int) -> None:
            self.seen.append(self.training.evaluate())

    method, model = Watching(NOBODY), classifier()
    with_settings: TrainSettings = settings(epochs=2)
    fresh = predict(model, data, with_settings)
    train(model, data, method, auditors, with_settings)
    for one, other in zip(method.seen[0], fresh, strict=True):
        assert torch.equal(one, other)
    assert not torch.equal(method.seen[1][1], fresh[1])
    assert not any(value.requires_grad for pair in method.seen for value in pair)


def test_a_sensitive_adapter_predicts_the_attribute(random_weights: Path) -> None:
    # the tokens are those of the small backbone here, at the width that it has
    generator = torch.Generator().manual_seed(2)
    codes = torch.arange(64) % 2
    tokens = torch.randn(64, 4, 128, generator=generator)
    tokens[:, :, 0] += 3.0 * (2 * codes[:, None] - 1)
    model = ModelSettings(
        Backbone(weights=str(random_weights)), Lora(rank=2, alpha=4.0, targets=("attn.qkv",), last_blocks=1), 16
    )
    found = train_sensitive(model, tokens, codes, 2, settings(epochs=8))
    assert found.accuracy > 0.9
    assert list(found.adapter) == ["blocks.5.attn.qkv"]
    again = train_sensitive(model, tokens, codes, 2, settings(epochs=8))
    for name, (a, b) in found.adapter.items():
        assert float(b.norm()) > 0
        assert torch.equal(a, again.adapter[name][0])
        assert torch.equal(b, again.adapter[name][1])
