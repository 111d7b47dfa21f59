"""Ids of records and persons by the million: one array of fixed-width bytes, in which they are sorted and found."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import TypeAlias

import numpy as np
import numpy.typing as npt

Ids: TypeAlias = npt.NDArray[np.bytes_]  # (n,), UTF-8
Names: TypeAlias = "Iterable[str] | Ids"

MOST_BYTES = 256
"""Of an id: every one of an array takes the room of the longest."""
_NEWLINE = 10
_PART = 65_536  # ids that are turned into lines at a time
_WORD = 8


def as_ids(names: Names) -> Ids:
    """The names as one array; ValueError for what an array of bytes cannot tell apart, or has no room for."""
    if isinstance(names, np.ndarray):
        return names
    return _of_list([name.encode() for name in names])


def as_text(ids: Ids) -> list[str]:
    """The ids as strings."""
    return [name.decode(errors="replace") for name in ids.tolist()]


def lines(ids: Ids) -> bytes:
    """The ids, one a line, without an end of the last line."""
    width = ids.dtype.itemsize
    table = np.empty((len(ids), width + 1), dtype=np.uint8)
    table[:, :width] = np.ascontiguousarray(ids).view(np.uint8).reshape(len(ids), width)
    table[:, width] = _NEWLINE
    flat = table.reshape(-1)
    return (flat if flat.all() else flat[flat != 0])[:-1].tobytes()  # zeros fill up shorter ones


def lines_by_part(ids: Ids) -> Iterator[bytes]:
    """The same, a part after the other."""
    for start in range(0, len(ids), _PART):
        yield (b"\n" if start else b"") + lines(ids[start : start + _PART])


def of_lines(content: bytes) -> Ids:
    """The ids of ``lines``; ValueError as ``as_ids``."""
    if not content:
        return _of_list([])
    width = content.find(b"\n")
    if 0 < width <= MOST_BYTES and (len(content) + 1) % (width + 1) == 0:
        table = np.frombuffer(content + b"\n", dtype=np.uint8).reshape(-1, width + 1)
        names = np.ascontiguousarray(table[:, :width])
        if (table[:, width] == _NEWLINE).all() and not (names == _NEWLINE).any() and names.all():
            return names.view(f"S{width}").reshape(-1)
    return _of_list(content.split(b"\n"))


def _of_list(names: list[bytes]) -> Ids:
    longest = max(map(len, names), default=0)
    if longest > MOST_BYTES:
        raise ValueError(f"an id of {longest} bytes: it may have {MOST_BYTES}")
    if b"\0" in b"".join(names):
        raise ValueError("an id has a NUL character")
    return np.array(names, dtype=f"S{max(longest, 1)}")


def ascending(ids: Ids) -> bool:
    """Whether every id is larger than the one before it; then none is there twice."""
    return bool((ids[1:] > ids[:-1]).all())


def order(ids: Ids) -> npt.NDArray[np.int64]:
    """The places of the ids in ascending order, int64 (n,); equal ones as they stand."""
    count = -(-ids.dtype.itemsize // _WORD)
    leading = _leading(ids)
    found = np.argsort(leading, kind="stable")
    if count > 1 and len(ids):
        leading = leading[found]
        tied = np.zeros(len(ids) + 1, dtype=bool)
        tied[1:-1] = leading[1:] == leading[:-1]
        unsure = tied[1:] | tied[:-1]
        among = found[unsure]
        words = ids[among].astype(f"S{_WORD * count}").view(">u8").reshape(len(among), count).astype(np.uint64)
        found[unsure] = among[np.lexsort(words.T[::-1])]
    return found


def find(ids: Ids, among: Ids) -> npt.NDArray[np.int64]:
    """The place of each id ``among`` others, which are in ascending order, int64 (n,); -1 where it is not there."""
    if not len(among):
        return np.full(len(ids), -1, dtype=np.int64)
    # where the questions ascend too, the places asked for lie beside one another in memory
    by_id = None if ascending(ids) else order(ids)
    asked = ids if by_id is None else ids[by_id]
    places = _find_ascending(asked, among)
    if by_id is None:
        return places
    found = np.empty_like(places)
    found[by_id] = places
    return found


def _find_ascending(asked: Ids, among: Ids) -> npt.NDArray[np.int64]:
    """The same of ``asked`` in ascending order: by their first letters, and whole where these are not enough."""
    leading, of_asked = _leading(among), _leading(asked)
    places = np.searchsorted(leading, of_asked)
    places[places == len(among)] = 0
    doubtful = np.flatnonzero((leading[places] == of_asked) & (among[places] != asked))
    whole = np.searchsorted(among, asked[doubtful])
    whole[whole == len(among)] = 0
    places[doubtful] = whole
    places[among[places] != asked] = -1
    return places


def _leading(ids: Ids) -> npt.NDArray[np.uint64]:
    """The first eight bytes of each id, as a number: these are in the order of the ids."""
    return ids.astype(f"S{_WORD}").view(">u8").astype(np.uint64)


def repeated(ids: Ids) -> bool:
    """Whether an id is there twice."""
    if ascending(ids):
        return False
    by_id = ids[order(ids)]
    return bool((by_id[1:] == by_id[:-1]).any())


class Register:
    """Numbers of ids, from 0 on, in the order in which they were first met."""

    def __init__(self) -> None:
        self._ids = as_ids([])  # ascending
        self._numbers = np.empty(0, dtype=np.int64)

    def __len__(self) -> int:
        return len(self._ids)

    def find(self, ids: Ids) -> npt.NDArray[np.int64]:
        """The number of each id, int64 (n,); -1 of one that was never met."""
        places = find(ids, self._ids)
        return np.where(places < 0, -1, self._numbers[places]) if len(self) else places

    def add(self, ids: Ids) -> npt.NDArray[np.int64]:
        """The number of each id, those met now included."""
        numbers = self.find(ids)
        new = np.flatnonzero(numbers < 0)
        if len(new):
            by_id = order(ids[new])
            fresh = ids[new[by_id]]
            begins = np.concatenate([[True], fresh[1:] != fresh[:-1]])
            given = np.empty(int(begins.sum()), dtype=np.int64)
            given[np.argsort(by_id[begins])] = np.arange(len(self), len(self) + len(given))
            numbers[new[by_id]] = given[np.cumsum(begins) - 1]
            self._insert(fresh[begins], given)
        return numbers

    def _insert(self, ids: Ids, numbers: npt.NDArray[np.int64]) -> None:
        """Take in ids that are ascending, and none of which is here."""
        if not len(self):
            self._ids, self._numbers = ids, numbers
            return
        together = np.concatenate([self._ids, ids])
        by_id = order(together)
        self._ids, self._numbers = together[by_id], np.concatenate([self._numbers, numbers])[by_id]

    @property
    def ids(self) -> Ids:
        """The ids by their numbers."""
        found = np.empty_like(self._ids)
        found[self._numbers] = self._ids
        return found
