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
SPLIT = "split"  # the column that says which part a record is in
PARTS = ("train", "test")
_ID = re.compile(rf"[0-9a-f]{{{ID_DIGITS}}}")
_HEX = np.zeros(256, dtype=bool)
_HEX[list(b"0123456789abcdef")] = True


def table_bytes(columns: Mapping[str, Column], rows: npt.NDArray[np.int64]) -> bytes:
    """A CSV of these ``rows`` of columns (n,) by their names; no cell needs quotes."""
    first = io.StringIO(newline="")
    csv.writer(first, lineterminator="\n").writerow(columns)
    if not len(rows):
        return first.getvalue().encode()
    cells = [column[rows] for column in columns.values()]
    joined = cells[0]
    for cell in cells[1:]:
        joined = np.char.add(np.char.add(joined, b","), cell)
    return first.getvalue().encode() + lines(joined) + b"\n"


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
    file: Path, groups: Mapping[str, tuple[str, ...]], further: Sequence[str]
) -> tuple[Ids, dict[str, Column], dict[str, np.ndarray]]:
    """Ids, each of the ``further`` columns, and codes by attribute. UsageError with the line of what is wrong."""
    before = ("id", *further)
    columns = read_table(file, (*before, *groups), [ID_DIGITS] * len(before) + [2] * len(groups))
    if columns is not None:
        ids, found = columns[0], dict(zip(further, columns[1:], strict=False))
        read = {name: codes_of(columns[i], len(names)) for i, (name, names) in enumerate(groups.items(), len(before))}
        codes = {name: held for name, held in read.items() if held is not None}
        sound = hexadecimal(ids, ID_DIGITS) and len(codes) == len(groups) and ascending(ids)
        if sound and all(_sound(name, column) for name, column in found.items()):
            return ids, found, codes
    return _holdings_by_row(file, groups, further)  # in another order, or with a fault to be told


def _sound(name: str, column: Column) -> bool:
    return hexadecimal(column, ID_DIGITS) if name == PERSON else bool(np.isin(column, as_ids(PARTS)).all())


def _holdings_by_row(
    file: Path, groups: Mapping[str, tuple[str, ...]], further: Sequence[str]
) -> tuple[Ids, dict[str, Column], dict[str, np.ndarray]]:
    """The same, with the line of what is wrong."""
    rows, before = read_rows(file, ("id", *further, *groups)), 1 + len(further)
    codes = {name: read_codes(file, rows, i, len(names)) for i, (name, names) in enumerate(groups.items(), before)}
    found = {name: [row[i] for row in rows] for i, name in enumerate(further, 1)}
    for line, person in enumerate(found.get(PERSON, ()), 2):
        if not _ID.fullmatch(person):
            raise UsageError(f"{file}:{line}: person {person!r} is not {ID_DIGITS} hex digits")
    check_parts(file, found.get(SPLIT, ()))
    return as_ids(read_ids(file, rows)), {name: as_ids(column) for name, column in found.items()}, codes


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


def check_parts(file: Path, parts: Sequence[str]) -> None:
    """UsageError for a part that there is not."""
    for line, part in enumerate(parts, 2):
        if part not in PARTS:
            raise UsageError(f"{file}:{line}: split is {part!r}; it must be {' or '.join(PARTS)}")
