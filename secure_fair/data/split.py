"""Which record goes to whom: a seeded partition, the one that the data set gives, or one that follows from ids."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence

import numpy as np

from secure_fair.errors import UsageError


def split(
    n: int, fractions: Mapping[str, float], seed: int, persons: Sequence[str] | None = None
) -> dict[str, np.ndarray]:
    """Partition 0 .. n-1 at random: {part: ascending int64 indices}, disjoint, together everything.

    ``fractions`` add up to 1. Sizes are rounded by largest remainders. A part with fraction 0 is empty. With
    ``persons`` (n,) all records of one fall to the same part, and the fractions are of them. Raises UsageError for
    fractions out of range and where a part would get no record.
    """
    if persons is not None:
        names, whose = np.unique(np.asarray(persons), return_inverse=True)
        parts = split(len(names), fractions, seed)
        return {name: np.flatnonzero(np.isin(whose, part)) for name, part in parts.items()}
    total = sum(fractions.values())
    if not fractions or min(fractions.values()) < 0 or abs(total - 1) > 1e-6:
        shown = ", ".join(f"{name} {value:g}" for name, value in fractions.items())
        raise UsageError(f"split fractions ({shown}) must be at least 0 and add up to 1, not {total:g}")
    exact = np.array(list(fractions.values())) * n / total
    sizes = np.floor(exact + 1e-9).astype(np.int64)
    for i in np.argsort(sizes - exact, kind="stable")[: n - sizes.sum()]:
        sizes[i] += 1
    order = np.random.default_rng(seed).permutation(n)
    pieces = np.split(order, np.cumsum(sizes)[:-1])
    for (name, fraction), part in zip(fractions.items(), pieces, strict=True):
        if fraction > 0 and not len(part):
            raise UsageError(f"{n} records are too few: {name} with {fraction:g} of them gets none")
    return {name: np.sort(part).astype(np.int64) for name, part in zip(fractions, pieces, strict=True)}


def given_split(parts: np.ndarray) -> dict[str, np.ndarray]:
    """The partition that the records carry, (N,) of names, in the form of ``split``."""
    return {name: np.flatnonzero(parts == name) for name in ("developer", "auditor", "test")}


def part_of(rows: np.ndarray, part: tuple[float, float], seed: int, persons: Sequence[str] | None = None) -> np.ndarray:
    """Those of ``rows`` that stand between two fractions of them in a random order, ascending int64.

    Parts that touch are disjoint, and those that reach from 0 to 1 are everything. With ``persons``, of all records,
    the fractions are of those whom ``rows`` belong to.
    """
    whose = rows if persons is None else np.asarray(persons)[rows]
    names, place = np.unique(whose, return_inverse=True)
    begin, end = (round(fraction * len(names)) for fraction in part)
    order = np.random.default_rng((seed, 1)).permutation(len(names))
    return np.sort(rows[np.isin(place, order[begin:end])]).astype(np.int64)


def derived_training(units: Sequence[str], share: float, seed: int) -> np.ndarray:
    """Whether each unit (the id of a record, or of its person) is to train on, bool (n,); the others are to test on.

    It follows from the unit, the ``share`` and the ``seed`` alone, so that parties that have not the same records, and
    tell each other nothing of those that they have, come to the same for those that they share.
    """
    numbers = (hashlib.sha256(f"secure_fair split of {seed}: {unit}".encode()).digest()[:8] for unit in units)
    drawn = np.fromiter((int.from_bytes(number) / 2.0**64 for number in numbers), dtype=np.float64, count=len(units))
    return drawn < share
