"""Tallies of people by the million: how often each is in a set, and the few different states that they have come to."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

_SPARSE = 16  # a set of less than a sixteenth of all is sorted, a larger one counted
_PART = 65_536  # people that are looked at together
_FEW = 64  # different states that are looked for one by one


def tally(places: np.ndarray, size: int) -> tuple[np.ndarray, np.ndarray]:
    """The different ``places``, int64 below ``size``, ascending, and how often each is there."""
    if _SPARSE * len(places) < size:
        return np.unique(places, return_counts=True)
    counts = np.bincount(places, minlength=size)
    found = np.flatnonzero(counts)
    return found, counts[found]


def all_different(places: np.ndarray, size: int) -> bool:
    """Whether none of ``places``, int64 below ``size``, is there twice."""
    if (places[1:] > places[:-1]).all():
        return True
    return len(tally(places, size)[0]) == len(places)


def first_places(rows: np.ndarray) -> np.ndarray:
    """For each of ``rows``, int64 of at least 0, the place at which the same one stands first: int64 (n,)."""
    first = np.empty(int(rows.max(initial=-1)) + 1, dtype=np.int64)
    first[rows[::-1]] = np.arange(len(rows) - 1, -1, -1)
    return first[rows]


def distinct(columns: Sequence[np.ndarray] | np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The different states of ``columns`` (n,) each, as rows (m, columns), and which one each has, int64 (n,).

    People come to few: those are taken off one by one, which needs no sorting, so many people at a time.
    """
    which = np.full(len(columns[0]), -1, dtype=np.int64)
    states: list[np.ndarray] = []
    for start in range(0, len(which), _PART):
        part = which[start : start + _PART]
        table = np.stack([column[start : start + _PART] for column in columns], axis=1)
        for place, state in enumerate(states):
            part[(table == state).all(axis=1)] = place
        left = np.flatnonzero(part < 0)
        while len(left) and len(states) < _FEW:
            states.append(table[left[0]])
            alike = (table[left] == states[-1]).all(axis=1)
            part[left[alike]] = len(states) - 1
            left = left[~alike]
    few = len(states)
    left = np.flatnonzero(which < 0)
    if len(left):
        others, places = np.unique(np.stack([column[left] for column in columns], axis=1), axis=0, return_inverse=True)
        which[left] = few + places.reshape(-1)
        states.extend(others)
    return np.array(states).reshape(-1, len(columns)), which
