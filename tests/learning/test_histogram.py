"""Memberships from counts of groups by cells: what the cells are, what they tell, and what predicted classes do not."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from torch import Tensor

from secure_fair.learning.memberships.histogram import HistogramSource, cells
from secure_fair.learning.method import Training
from secure_fair.learning.settings import MethodSettings
from secure_fair.operations.moment import on_grid
from tests.learning.clear import classifier, people

N, WIDTH = 1200, 8


class Planted:
    """Features of falling variance; the attribute goes with the second, the predictions with the first two."""

    def __init__(self) -> None:
        draw = torch.Generator().manual_seed(0)
        self.codes = (torch.rand(N, generator=draw) < 0.4).long()
        scale = torch.arange(1, WIDTH + 1) ** -0.5
        self.features = torch.randn(N, WIDTH, generator=draw) * scale
        self.features[:, 1] += 1.5 * self.codes
        score = 3 * self.features[:, 0] + self.features[:, 1]
        self.probabilities = torch.stack([-score / 2, score / 2], dim=1).softmax(1)

    def source(self, folder: Path, labels: Tensor, strata: int = 1) -> HistogramSource:
        name = "odds" if strata > 1 else "parity"
        chosen = MethodSettings(name=name, release="histogram")
        held = people(folder, chosen, {"a": self.codes.numpy()}, {"a": 2}, epochs=3)
        model = classifier()
        training = Training(
            labels, 2, model.backbone, held.auditors, lambda: (self.features, self.probabilities), model.head
        )
        return HistogramSource(training, labels if strata > 1 else torch.zeros_like(labels), strata)

    def told(self, folder: Path, columns: int, epochs: int = 1) -> float:
        """The part of the attribute's variance that the memberships explain."""
        source = self.source(folder, torch.zeros(N, dtype=torch.int64))
        for _ in range(epochs):
            source.start_epoch(lambda: source.query(self.features, self.probabilities, columns))
        found = source.of_all("a")[:, 1]
        true = self.codes.double() - self.codes.double().mean()
        return float(1 - (found - true).square().sum() / true.square().sum())


@pytest.fixture(scope="module")
def planted() -> Planted:
    return Planted()


@pytest.mark.parametrize("count", [2, 3, 7, 16])
def test_every_record_is_in_one_cell_of_its_predicted_class(planted: Planted, count: int) -> None:
    predicted = planted.probabilities.argmax(1)
    codes = cells(planted.features.double(), predicted, count)
    assert sorted(codes.unique().tolist()) == list(range(count))
    for cell in range(count):
        assert len(predicted[codes == cell].unique()) == 1
    sizes = torch.bincount(codes)
    assert count == 2 or float(sizes.max()) < 2.2 * float(sizes.min())


def test_with_as_many_cells_as_classes_they_are_the_predicted_classes(planted: Planted) -> None:
    predicted = planted.probabilities.argmax(1)
    codes = cells(planted.features.double(), predicted, 2)
    assert torch.equal(codes, predicted) or torch.equal(codes, 1 - predicted)


def test_of_more_classes_than_cells_the_rarest_share_one() -> None:
    predicted = torch.tensor([0] * 2 + [1] * 3 + [2] * 30 + [3] * 25)
    codes = cells(torch.randn(60, 3, generator=torch.Generator().manual_seed(1)).double(), predicted, 3)
    assert torch.equal(codes, torch.tensor([2] * 5 + [0] * 30 + [1] * 25))


@pytest.mark.parametrize("turn", range(6))
def test_no_cell_is_cut_along_rounding(turn: int) -> None:
    """Features that do not vary in every direction, as columns of a category: a small change moves next to nobody."""
    draw = torch.Generator().manual_seed(2)
    category = torch.nn.functional.one_hot(torch.arange(600) % 3, 3).double()
    features = torch.cat(
        [torch.randn(600, 4, generator=draw).double(), category @ torch.randn(3, 6, generator=draw).double()], 1
    )
    moved = features * (1 + 1e-9 * torch.randn(600, 10, generator=draw).double())
    predicted = (features[:, 0] > 0).long()
    codes, again = (cells(each, predicted, 16, turn) for each in (features, moved))
    assert float((codes != again).double().mean()) < 0.02


@pytest.mark.parametrize("records", [1, 5])
def test_features_that_are_all_alike_and_a_single_record_have_cells(records: int) -> None:
    codes = cells(torch.ones(records, 4).double(), torch.zeros(records, dtype=torch.int64), 4)
    assert len(codes) == records
    assert torch.equal(cells(torch.ones(records, 4).double(), codes.clamp(max=1), 1), torch.zeros(records).long())


def test_few_records_leave_cells_empty_and_a_single_class_is_divided() -> None:
    codes = cells(torch.arange(3).double()[:, None], torch.zeros(3, dtype=torch.int64), 8)
    assert sorted(codes.tolist()) == sorted(set(codes.tolist()))
    even = cells(torch.arange(80).double()[:, None], torch.ones(80, dtype=torch.int64), 4)
    assert torch.bincount(even).tolist() == [20] * 4


def test_every_turn_divides_along_other_components(planted: Planted) -> None:
    predicted = torch.zeros(N, dtype=torch.int64)
    first, second = (cells(planted.features.double(), predicted, 4, turn) for turn in range(2))
    centred = planted.features.double() - planted.features.double().mean(0)
    _, _, directions = torch.linalg.svd(centred.T @ centred)
    scores = centred @ directions.T

    def between(codes: Tensor) -> Tensor:
        means = torch.stack([scores[codes == cell].mean(0) for cell in range(4)])
        return (means.square().mean(0) / scores.square().mean(0)).topk(2).indices.sort().values

    assert between(first).tolist() == [0, 1]
    assert between(second).tolist() == [2, 3]


def test_memberships_are_the_cells_shares(tmp_path: Path, planted: Planted) -> None:
    """Without noise and with one histogram they are the share of each cell less that of all, scaled as one number."""
    source = planted.source(tmp_path, torch.zeros(N, dtype=torch.int64))
    query = source.query(planted.features, planted.probabilities, 8)
    assert torch.equal(query.sum(1), torch.ones(N).double())
    source.start_epoch(lambda: query)
    found, codes = source.of_all("a")[:, 1], query.argmax(1)
    for cell in range(8):
        share = float(planted.codes[codes == cell].double().mean() - planted.codes.double().mean())
        assert float(found[codes == cell].std()) < 1e-9
        assert float(found[codes == cell][0]) == pytest.approx(share, abs=0.03)


def test_a_query_by_class_keeps_classes_apart(tmp_path: Path, planted: Planted) -> None:
    labels = torch.arange(N) % 2
    query = planted.source(tmp_path, labels, 2).query(planted.features, planted.probabilities, 6)
    assert query.shape == (N, 12)
    assert torch.equal(query.argmax(1) // 6, labels)
    assert torch.equal(on_grid(query), query)  # rows of norm 1 as they are committed to
    alone = planted.source(tmp_path / "alone", torch.zeros(N, dtype=torch.int64), 2)
    assert not alone.query(planted.features, planted.probabilities, 6)[:, 6:].any()


def test_cells_of_the_features_tell_what_predicted_classes_do_not(tmp_path: Path, planted: Planted) -> None:
    """The planted attribute: two cells know little of it, sixteen more, successive ones more still."""
    classes, once, thrice = (
        planted.told(tmp_path / name, columns, epochs)
        for name, columns, epochs in (("classes", 2, 1), ("once", 16, 1), ("thrice", 16, 3))
    )
    assert classes < 0.1
    assert once > classes + 0.1
    assert thrice > once
