"""A split is a partition, follows from its seed, and has the asked-for sizes."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from secure_fair.data.split import given_split, part_of, split
from secure_fair.errors import UsageError

FRACTIONS = {"developer": 0.5, "auditor": 0.25, "test": 0.25}


@given(st.integers(4, 500), st.integers(0, 2**32), st.integers(1, 97))
def test_partition_with_sizes_off_by_less_than_one(n: int, seed: int, percent: int) -> None:
    fractions = {"developer": percent / 100, "auditor": 0.0, "test": 1 - percent / 100}
    if min(fractions["developer"], fractions["test"]) * n < 1:
        return
    parts = split(n, fractions, seed)
    assert sorted(np.concatenate(list(parts.values())).tolist()) == list(range(n))
    assert len(parts["auditor"]) == 0
    for name, part in parts.items():
        assert abs(len(part) - fractions[name] * n) < 1
        assert (np.diff(part) > 0).all()


def test_seed_decides() -> None:
    one, same, other = (split(100, FRACTIONS, seed) for seed in (1, 1, 2))
    for name in FRACTIONS:
        np.testing.assert_array_equal(one[name], same[name])
        assert not np.array_equal(one[name], other[name])


@pytest.mark.parametrize("fractions", [{}, {"a": 0.5, "b": 0.6}, {"a": 1.5, "b": -0.5}])
def test_fractions_must_be_a_partition(fractions: dict[str, float]) -> None:
    with pytest.raises(UsageError, match="add up to 1"):
        split(10, fractions, 0)


def test_no_part_may_be_empty_by_rounding() -> None:
    with pytest.raises(UsageError, match="2 records are too few"):
        split(2, FRACTIONS, 0)


def test_given_split() -> None:
    parts = given_split(np.array(["test", "developer", "auditor", "test"]))
    assert {name: part.tolist() for name, part in parts.items()} == {"developer": [1], "auditor": [2], "test": [0, 3]}


@given(st.integers(0, 300), st.integers(0, 2**32 - 1), st.lists(st.integers(1, 20), min_size=1, max_size=5))
def test_parts_that_touch_are_a_partition(n: int, seed: int, weights: list[int]) -> None:
    rows = 3 * np.arange(n)
    ends = [sum(weights[:i]) / sum(weights) for i in range(len(weights) + 1)]
    parts = [part_of(rows, part, seed) for part in itertools.pairwise(ends)]
    assert sorted(np.concatenate(parts).tolist()) == rows.tolist()
    for part, weight in zip(parts, weights, strict=True):
        assert abs(len(part) - n * weight / sum(weights)) <= 1
    assert part_of(rows, (0.0, 1.0), seed).tolist() == rows.tolist()


def test_parts_are_drawn_at_random() -> None:
    one, other = (part_of(np.arange(1000), (0.0, 0.5), seed) for seed in (1, 2))
    assert 200 < len(np.intersect1d(one, other)) < 300
    assert 200 < int((one < 500).sum()) < 300
