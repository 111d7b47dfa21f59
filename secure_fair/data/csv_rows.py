"""Rows of a CSV, or of a Parquet file, with columns for task, attributes, ids, parts and persons; faults have lines."""

from __future__ import annotations

import csv
import io
import math
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from secure_fair.data.parquet_rows import is_parquet, read_parquet
from secure_fair.data.records import SPLITS, Expression
from secure_fair.errors import UsageError

MOST_GROUPS = 64
Fault = tuple[str, str]  # kind and text of what is wrong with a row

_MONTHS = {
    name: i
    for i, name in enumerate(("jan", "feb", "mar", "apr", "may", "jun", "jul", "aug", "sep", "oct", "nov", "dec"), 1)
}
_RANGE = re.compile(r"(\d+(?:\.\d+)?)\s*[-–]\s*(\d+(?:\.\d+)?)")
_OPEN_RANGE = re.compile(r"(\d+(?:\.\d+)?)\s*\+|(?:more than|over|>)\s*(\d+(?:\.\d+)?)", re.IGNORECASE)
_DATE_LIKE = re.compile(r"(\d{1,2})[- ]([A-Za-z]{3})|([A-Za-z]{3})[- ](\d{1,2})")


@dataclass(frozen=True)
class Meaning:
    """Columns by what they mean. The values of those in ``classes`` are the groups, in that order."""

    expressions: Sequence[Expression]
    id_column: str | None = None
    split_column: str | None = None
    person_column: str | None = None
    classes: Mapping[str, Sequence[str]] | None = None

    @property
    def named(self) -> list[str]:
        """The columns that every row must fill, but for those of the expressions."""
        return [column for column in (self.id_column, self.split_column, self.person_column) if column]

    @property
    def columns(self) -> list[str]:
        """All columns that the table must have."""
        return [*self.named, *(e.column for e in self.expressions), *(self.classes or {})]

    def groups(self, values: Sequence[Sequence[str]], table: Path) -> list[tuple[str, ...]]:
        """Names of the groups of each expression, from the ``values`` of all good rows, one per expression."""
        columns = zip(*values, strict=True) if values else ((),) * len(self.expressions)
        given = self.classes or {}
        return [
            _groups(e, column, given.get(e.column), table) for e, column in zip(self.expressions, columns, strict=True)
        ]


@dataclass(frozen=True)
class CsvRow:
    """A row without fault: its cells by column; ``values`` are group names, one per expression."""

    cells: Mapping[str, str]
    values: tuple[str, ...]
    split: str | None
    person: str | None


class RowReader:
    """Checks one row after the other and remembers ids, so that repeats are seen."""

    def __init__(
        self, header: Sequence[str], meaning: Meaning, filled: Iterable[str] = (), ids: dict[str, str] | None = None
    ) -> None:
        """``filled``: further columns that no row may leave empty; ``ids``: those of other files, with their places."""
        self.header, self.meaning = header, meaning
        wanted = {*filled, *meaning.named, *(e.column for e in meaning.expressions)}
        self.filled = [column for column in header if column in wanted]
        self.ids: dict[str, str] = {} if ids is None else ids

    def read(self, line: int, cells: Sequence[str]) -> CsvRow | Fault:
        """The row, or its first fault."""
        if len(cells) != len(self.header):
            return "wrong line", f"{len(cells)} fields instead of {len(self.header)}"
        row = dict(zip(self.header, map(str.strip, cells), strict=True))
        for column in self.filled:
            if not row[column]:
                return "empty value", f"{column} is empty"
        fault = self._repeated(line, row) or self.own_fault(line, row)
        if fault is not None:
            return fault
        meaning = self.meaning
        split = row[meaning.split_column] if meaning.split_column is not None else None
        if split is not None and split not in SPLITS:
            return "unknown value", f"{meaning.split_column} is {split!r}; it must be one of {', '.join(SPLITS)}"
        values = []
        for e in meaning.expressions:
            value = _value(e, row[e.column], (meaning.classes or {}).get(e.column))
            if isinstance(value, tuple):
                return value
            values.append(value)
        person = row[meaning.person_column] if meaning.person_column is not None else None
        return CsvRow(row, tuple(values), split, person)

    def own_fault(self, line: int, row: Mapping[str, str]) -> Fault | None:
        """A fault that this kind of table alone can have."""
        return None

    def place(self, line: int) -> str:
        """Where an id was seen first, in words."""
        return f"line {line}"

    def _repeated(self, line: int, row: Mapping[str, str]) -> Fault | None:
        if self.meaning.id_column is None:
            return None
        value, here = row[self.meaning.id_column], self.place(line)
        first = self.ids.setdefault(value, here)
        return None if first == here else ("duplicate id", f"{value!r} is on {first} already")


def read_rows(table: Path) -> tuple[list[str], list[tuple[int, list[str]]]]:
    """The header and every row of a CSV or of a Parquet file, as ``read_csv`` has them."""
    return read_parquet(table) if is_parquet(table) else read_csv(table)


def read_csv(table: Path) -> tuple[list[str], list[tuple[int, list[str]]]]:
    """The header and every other row with the line on which it begins; empty lines are no rows."""
    try:
        text = table.read_bytes().decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise UsageError(f"{table}: not UTF-8 text (byte {error.start}): save it as CSV in UTF-8") from error
    if "\0" in text:  # no field of a table has one, and what is written in C ends there
        line = text.count("\n", 0, text.index("\0")) + 1
        raise UsageError(f"{table}:{line}: has a NUL character: save it again as CSV in UTF-8")
    reader = csv.reader(io.StringIO(text, newline=""), strict=True)
    rows, line = [], 1
    try:
        for cells in reader:
            if cells:
                rows.append((line, cells))
            line = reader.line_num + 1
    except csv.Error as error:
        raise UsageError(f"{table}:{line}: not CSV: {error}") from error
    if not rows:
        raise UsageError(f"{table}: the file is empty")
    return [name.strip() for name in rows[0][1]], rows[1:]


def require_columns(header: Sequence[str], wanted: Iterable[str], table: Path) -> None:
    """UsageError naming every wanted column that the header does not have exactly once."""
    missing = [column for column in dict.fromkeys(wanted) if header.count(column) != 1]
    if missing:
        hint = "; separate the columns by commas" if len(header) == 1 and ";" in header[0] else ""
        raise UsageError(
            [f"{table}:1: no single column {column!r}; it has {', '.join(header)}{hint}" for column in missing]
        )


def unmangle(value: str) -> str | None:
    """The range that a spreadsheet took for a date: ``03-Sep`` or ``9-Mar`` was 3-9, ``Oct-19`` was 10-19; else None.

    Spreadsheets differ in which number they take for the month; a range ascends, so that the smaller one came first.
    """
    match = _DATE_LIKE.fullmatch(value.strip())
    if match is None:
        return None
    month = _MONTHS.get((match[2] or match[3]).lower())
    if month is None:
        return None
    low, high = sorted((month, int(match[1] or match[4])))
    return f"{low}-{high}"


def natural(text: str) -> list[tuple[int, int, str]]:
    """Sorts 3-9 before 10-19: digits count as numbers."""
    return [(0, int(part), "") if part.isdecimal() else (1, 0, part) for part in re.findall(r"\d+|\D+", text)]


def finite(text: str) -> float | None:
    """The finite number that a cell holds, or None."""
    try:
        number = float(text)
    except ValueError:
        return None
    return number if math.isfinite(number) else None


def number_range(text: str) -> tuple[float, float] | None:
    """The ends of a range ("3-9", "50 - 59", "70+", "more than 70"), or a number twice; None for anything else."""
    number = finite(text)
    if number is not None:
        return number, number
    closed, open_ended = _RANGE.fullmatch(text), _OPEN_RANGE.fullmatch(text)
    if closed is not None and float(closed[1]) <= float(closed[2]):
        return float(closed[1]), float(closed[2])
    if open_ended is not None:
        low = float(open_ended[2] or open_ended[1])
        return (math.nextafter(low, math.inf) if open_ended[2] else low), math.inf
    return None


def _value(e: Expression, text: str, classes: Sequence[str] | None) -> str | Fault:
    """The group's name, or what is wrong with the cell."""
    if not e.numeric and classes is not None and text in classes:
        return text
    was = unmangle(text)
    if was is not None:
        return (
            "mangled value",
            f"{e.column} is {text!r}: a spreadsheet took {was!r} for a date; restore the column as text",
        )
    if e.numeric:
        return _side(e, text)
    if classes is not None:
        return "unknown value", f"{e.column} is {text!r}; it must be one of {', '.join(classes)}"
    return text


def _side(e: Expression, text: str) -> str | Fault:
    """The side of a comparison that a number is on, or a range with all of it."""
    ends = number_range(text)
    if ends is None:
        return "label out of range", f"{e.column} is {text!r}, neither a number nor a range such as 30-39 or 70+"
    low, high = map(e.code, ends)
    if low != high:
        return (
            "label out of range",
            f"{e.column} is {text!r}, on both sides of {e.text!r}: compare with an end of it",
        )
    return e.groups[low]


def _groups(e: Expression, values: Sequence[str], given: Sequence[str] | None, table: Path) -> tuple[str, ...]:
    if e.numeric:
        return e.groups
    groups = tuple(given or ()) or tuple(sorted(set(values), key=natural))
    if values and not 2 <= len(groups) <= MOST_GROUPS:
        raise UsageError(
            f"{table}: column {e.column!r} has {len(groups)} distinct values; 2 to {MOST_GROUPS} can be groups"
            + (f': compare it with a number, as in "{e.column} > 35"' if len(groups) > MOST_GROUPS else "")
        )
    return groups
