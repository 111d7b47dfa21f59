"""Ids as arrays: sorted, found and numbered as sets, dictionaries and lists of strings would do it."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from secure_fair import ids as of
from secure_fair.ids import Register, as_ids, as_text

# short letters, so that ids repeat and begin alike; some longer than a word of eight bytes, some not ASCII
NAME = st.one_of(st.text("ab", max_size=12), st.text("aé", max_size=3), st.sampled_from(["0" * 31 + c for c in "0123"]))
NAMES = st.lists(NAME, max_size=30)


@given(NAMES)
def test_they_are_the_same_as_text_and_as_lines(names: list[str]) -> None:
    assert as_text(as_ids(names)) == names
    content = of.lines(as_ids(names))
    assert content == "\n".join(names).encode()
    if content or not names:
        assert as_text(of.of_lines(content)) == names


@given(NAMES)
def test_they_are_sorted_as_their_bytes_are(names: list[str]) -> None:
    expected = sorted(range(len(names)), key=lambda place: names[place].encode())
    assert of.order(as_ids(names)).tolist() == expected
    assert of.repeated(as_ids(names)) == (len(set(names)) < len(names))


@given(NAMES, NAMES)
def test_they_are_found_where_they_are(names: list[str], others: list[str]) -> None:
    among = sorted(set(others), key=str.encode)
    places = {name: place for place, name in enumerate(among)}
    assert of.find(as_ids(names), as_ids(among)).tolist() == [places.get(name, -1) for name in names]


@given(st.lists(NAMES, max_size=5))
def test_they_are_numbered_as_they_are_met(batches: list[list[str]]) -> None:
    register, numbers = Register(), dict[str, int]()
    for names in batches:
        assert register.find(as_ids(names)).tolist() == [numbers.get(name, -1) for name in names]
        expected = [numbers.setdefault(name, len(numbers)) for name in names]
        assert register.add(as_ids(names)).tolist() == expected
        assert as_text(register.ids) == list(numbers)


def test_ids_that_begin_alike_are_told_apart() -> None:
    """Who chooses ids chooses their first bytes, which are compared first: slower, and not wrong."""
    names = as_ids([f"{'0' * 24}{number:08x}" for number in np.random.default_rng(0).permutation(2000)])
    assert (names[of.order(names)] == np.sort(names)).all()
    assert (of.find(names, np.sort(names)) == np.argsort(np.argsort(names))).all()


@pytest.mark.parametrize("name", ["a\0", "\0", "a\0b", "x" * 257, "é" * 129])
def test_what_an_array_cannot_hold_is_refused(name: str) -> None:
    """Of "a" and "a\\0" an array would make one id."""
    with pytest.raises(ValueError, match="an id"):
        as_ids(["a", name])
    with pytest.raises(ValueError, match="an id"):
        of.of_lines(f"a\n{name}".encode())
