"""Tallies agree with sorting, for small sets among many and for large ones."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from secure_fair.privacy import tallies

PLACES = st.lists(st.integers(0, 40), max_size=60)


@pytest.mark.parametrize("size", [41, 10_000], ids=["counted", "sorted"])
@given(places=PLACES)
def test_different_places_are_counted(size: int, places: list[int]) -> None:
    held = np.array(places, dtype=np.int64)
    found, counts = tallies.tally(held, size)
    assert dict(zip(found.tolist(), counts.tolist(), strict=True)) == {p: places.count(p) for p in sorted(set(places))}
    assert found.tolist() == sorted(set(places))
    assert tallies.all_different(held, size) == (len(set(places)) == len(places))


@given(PLACES)
def test_the_first_place_is_the_first(rows: list[int]) -> None:
    assert tallies.first_places(np.array(rows, dtype=np.int64)).tolist() == [rows.index(row) for row in rows]


@given(st.lists(st.tuples(st.sampled_from([0.0, 1.5, np.inf]), st.sampled_from([0.0, 1e-5])), max_size=40))
def test_states_are_told_apart(states: list[tuple[float, float]]) -> None:
    table = np.array(states).reshape(-1, 2)
    found, which = tallies.distinct([table[:, 0], table[:, 1]])
    assert sorted(map(tuple, found.tolist())) == sorted(set(states))
    assert (found[which] == table).all()


@pytest.mark.parametrize("part", [65_536, 700])
def test_more_states_than_are_looked_for_one_by_one(part: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tallies, "_PART", part)
    table = np.random.default_rng(0).integers(0, 300, (5000, 2)).astype(float)
    found, which = tallies.distinct([table[:, 0], table[:, 1]])
    assert len(found) == len(np.unique(table, axis=0)) > 64
    assert (found[which] == table).all()
