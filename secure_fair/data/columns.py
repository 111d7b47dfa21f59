"""Tables of the stores as columns of fixed-width bytes: written and read in one go, however many rows there are."""

from __future__ import annotations

import csv
import io
import re
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
import numpy.typing as npt

from secure_fair.errors import UsageError
from secure_fair.ids import Ids, as_ids, ascending, lines

Column = npt.NDArray[np.bytes_]

ID_DIGITS = 32
PERSON = "person"  # the column of an auditor's tables that says whose record it is
_ID = re.compile(rf"[0-9a-f]{{{ID_DIGITS}}}")
_HEX = np.zeros(256, dtype=bool)
_HEX[list(b"0123456789abcdef")] = True


def table_bytes(header: Sequence[str], columns: Sequence[Column]) -> bytes:
    """A CSV of columns (n,) whose cells need no quotes."""
    first = io.StringIO(newline="")
    csv.writer(first, lineterminator="\n").writerow(header)
    rows = columns[0]
    for column in columns[1:]:
        rows = np.char.add(np.char.add(rows, b","), column)
    return first.getvalue().encode() + (lines(rows) + b"\n" if len(rows) else b"")


def read_table(file: Path, header: Sequence[str], widths: Sequence[int]) -> list[Column] | None:
    """The columns of a CSV with this header and cells of at most so many bytes; None where it may be anything else.

    A longer cell is cut off after one byte more. Quotes are not looked at: they are a part of the cell.
    """
    with file.open("rb") as opened:
        first = opened.readline().decode("utf-8", errors="replace")
        if next(csv.reader([first]), None) != list(header) or not opened.read(1):
            return None
    fields = [(f"column {place}", f"S{width + 1}") for place, width in enumerate(widths)]
    try:
        rows = np.loadtxt(file, fields, comments=None, delimiter=",", skiprows=1, encoding="latin1", ndmin=1)
    except ValueError:
        return None
    return [np.ascontiguousarray(rows[name]) for name, _ in fields]


def hexadecimal(ids: Ids, digits: int) -> bool:
    """Whether every one is of so many digits, lower case."""
    if ids.dtype.itemsize <= digits:
        ids = ids.astype(f"S{digits + 1}")
    width = ids.dtype.itemsize
    letters = np.ascontiguousarray(ids).view(np.uint8).reshape(len(ids), width)
    return bool(_HEX[letters[:, :digits]].all() and not letters[:, digits:].any())


def codes_of(column: Column, count: int) -> npt.NDArray[np.int64] | None:
    """Codes from 0 to ``count`` - 1 as they are written; None where one is not."""
    written = np.array([str(code).encode() for code in range(count)])
    by_text = np.argsort(written)
    places = np.searchsorted(written[by_text], column).clip(max=count - 1)
    codes = by_text[places]
    return codes if (written[codes] == column).all() else None


# what an auditor holds


def read_holdings(
    file: Path, groups: Mapping[str, tuple[str, ...]], named: bool
) -> tuple[Ids, Ids | None, dict[str, np.ndarray]]:
    """Ids, persons and codes by attribute; ``named``: whether there is a column of persons. UsageError with a line."""
    before = ("id", PERSON) if named else ("id",)
    columns = read_table(file, (*before, *groups), [ID_DIGITS] * len(before) + [2] * len(groups))
    if columns is not None:
        ids, persons = columns[0], columns[1] if named else None
        found = {name: codes_of(columns[i], len(names)) for i, (name, names) in enumerate(groups.items(), len(before))}
        codes = {name: held for name, held in found.items() if held is not None}
        sound = all(hexadecimal(one, ID_DIGITS) for one in columns[: len(before)])
        if sound and len(codes) == len(groups) and ascending(ids):
            return ids, persons, codes
    return _holdings_by_row(file, groups, before)  # in another order, or with a fault to be told


def _holdings_by_row(
    file: Path, groups: Mapping[str, tuple[str, ...]], before: Sequence[str]
) -> tuple[Ids, Ids | None, dict[str, np.ndarray]]:
    """The same, with the line of what is wrong."""
    rows, named = read_rows(file, (*before, *groups)), PERSON in before
    codes = {name: read_codes(file, rows, i, len(names)) for i, (name, names) in enumerate(groups.items(), len(before))}
    for line, row in enumerate(rows if named else (), 2):
        if not _ID.fullmatch(row[1]):
            raise UsageError(f"{file}:{line}: person {row[1]!r} is not {ID_DIGITS} hex digits")
    return as_ids(read_ids(file, rows)), as_ids([row[1] for row in rows]) if named else None, codes


# row by row


def read_rows(file: Path, header: Sequence[str]) -> list[list[str]]:
    """The rows under this header; UsageError for another one, or for a row of another length."""
    with file.open(encoding="utf-8", newline="") as opened:
        rows = list(csv.reader(opened))
    if not rows or rows[0] != list(header):
        raise UsageError(
            f"{file}:1: the columns must be {', '.join(header)}, not {', '.join(rows[0]) if rows else 'none'}"
        )
    for line, row in enumerate(rows[1:], 2):
        if len(row) != len(header):
            raise UsageError(f"{file}:{line}: {len(row)} fields instead of {len(header)}")
    return rows[1:]


def read_ids(file: Path, rows: Sequence[Sequence[str]]) -> list[str]:
    """The first column: ids, none twice; UsageError otherwise."""
    seen: set[str] = set()
    for line, row in enumerate(rows, 2):
        if not _ID.fullmatch(row[0]) or row[0] in seen:
            wrong = "repeated" if row[0] in seen else f"not {ID_DIGITS} hex digits"
            raise UsageError(f"{file}:{line}: id {row[0]!r} is {wrong}")
        seen.add(row[0])
    return [row[0] for row in rows]


def read_codes(file: Path, rows: Sequence[Sequence[str]], column: int, count: int) -> np.ndarray:
    """Codes from 0 to ``count`` - 1, int64; UsageError for anything else."""
    allowed = {str(code): code for code in range(count)}
    for line, row in enumerate(rows, 2):
        if row[column] not in allowed:
            raise UsageError(f"{file}:{line}: code {row[column]!r} is not in 0 .. {count - 1}")
    return np.array([allowed[row[column]] for row in rows], dtype=np.int64)
