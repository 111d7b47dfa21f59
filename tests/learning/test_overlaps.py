"""Overlaps of adapters: their extremes, and what they do not depend on."""

import pytest
import torch
from torch import Tensor

from secure_fair.learning.overlaps import OVERLAPS, Pair

RANK, INPUTS, OUTPUTS = 3, 12, 10


def drawn(seed: int, *shape: int) -> Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def pair(seed: int, rank: int = RANK) -> Pair:
    return drawn(seed, rank, INPUTS), drawn(seed + 1, OUTPUTS, rank)


def within(sensitive: Pair) -> Pair:
    """A task adapter that reads what the sensitive one reads and writes where it writes."""
    return drawn(11, RANK, RANK) @ sensitive[0], sensitive[1] @ drawn(12, RANK, RANK)


def apart(sensitive: Pair) -> Pair:
    """One that reads and writes nothing of it."""
    reads = torch.linalg.svd(sensitive[0])[2][RANK : 2 * RANK]
    writes = torch.linalg.svd(sensitive[1].T)[2][RANK : 2 * RANK].T
    return reads, writes


@pytest.mark.parametrize("form", OVERLAPS)
def test_an_overlap_is_least_where_nothing_is_shared_and_falls_along_its_gradient(form: str) -> None:
    sensitive, overlap = pair(1), OVERLAPS[form]
    assert float(overlap(apart(sensitive), sensitive)) < 1e-12
    assert float(overlap(within(sensitive), sensitive)) > float(overlap(pair(5), sensitive)) > 1e-3
    rows, columns = (matrix.clone().requires_grad_() for matrix in pair(5))
    before = overlap((rows, columns), sensitive)
    before.backward()  # type: ignore[no-untyped-call]
    for matrix in (rows, columns):
        if matrix.grad is not None:
            matrix.data -= 1e-3 * matrix.grad
    assert overlap((rows, columns), sensitive) < before


@pytest.mark.parametrize("form", OVERLAPS)
def test_only_the_first_form_is_lessened_by_short_rows(form: str) -> None:
    """B can make up for a short A, so that nothing is gained."""
    sensitive, changes = pair(1), form == "weights"
    rows, columns = pair(5)
    before = OVERLAPS[form]((rows, columns), sensitive)
    after = OVERLAPS[form]((rows / 10, 10 * columns), sensitive)
    assert (float(after) < 0.02 * float(before)) == changes
    assert changes or abs(float(after / before) - 1) < 0.1


@pytest.mark.parametrize("form", ["columns", "subspace"])
def test_a_task_that_has_not_begun_has_no_overlap_and_a_finite_gradient(form: str) -> None:
    rows, columns = drawn(5, RANK, INPUTS).requires_grad_(), (0 * drawn(6, OUTPUTS, RANK)).requires_grad_()
    found = OVERLAPS[form]((rows, columns), pair(1))
    assert float(found.detach()) == 0.0
    slopes: tuple[Tensor, ...] = torch.autograd.grad(found, (rows, columns), allow_unused=True)
    assert all(slope is None or bool(slope.isfinite().all()) for slope in slopes)


def test_the_directions_that_count_are_those_that_are_read_most() -> None:
    rows, columns = torch.eye(RANK, INPUTS, dtype=torch.float64), torch.eye(OUTPUTS, RANK, dtype=torch.float64)
    sensitive = (torch.tensor([[10.0], [1.0], [0.1]], dtype=torch.float64) * rows, columns)
    for read, expected in ((0, 1.0), (1, 0.0), (2, 0.0)):
        task = torch.zeros(1, INPUTS, dtype=torch.float64)
        task[0, read] = 100.0
        found = OVERLAPS["subspace"]((task, columns[:, :1]), sensitive)
        assert float(found) == pytest.approx(expected, abs=1e-3)
