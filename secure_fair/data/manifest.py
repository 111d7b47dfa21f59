"""Any CSV with a column of paths and columns for the task and the attributes."""

from __future__ import annotations

import csv
import io
import math
import os
import re
from collections.abc import Mapping, Sequence
from pathlib import Path

from secure_fair.data.records import SPLITS, Expression, Listing, Problem, Record, require_folder
from secure_fair.errors import UsageError

MOST_GROUPS = 64
_MONTHS = {
    name: i
    for i, name in enumerate(("jan", "feb", "mar", "apr", "may", "jun", "jul", "aug", "sep", "oct", "nov", "dec"), 1)
}
_DATE_LIKE = re.compile(r"(\d{1,2})[- ]([A-Za-z]{3})|([A-Za-z]{3})[- ](\d{1,2})")


def list_records(
    root: Path | None,
    expressions: Sequence[Expression],
    *,
    file: str = "manifest.csv",
    path_column: str = "path",
    id_column: str | None = None,
    split_column: str | None = None,
    person_column: str | None = None,
    classes: Mapping[str, Sequence[str]] | None = None,
) -> Listing:
    """Every row of ``root``/``file``, in its order; paths count from the CSV's folder and may not leave ``root``.

    An expression is a column, whose distinct values are the groups, in natural order or as ``classes[column]`` gives
    them, or a column compared with a number. ``id_column`` must hold no value twice. ``split_column`` holds
    "developer", "auditor" or "test"; ``person_column`` says whose record it is.

    Raises UsageError for a missing file or column, or a column whose values cannot be groups. Everything wrong with a
    single row is a problem of the listing, with its line.
    """
    folder = require_folder("manifest", root)
    table = folder / file
    if not table.is_file():
        raise UsageError(f"{table}: no such file; set data.file to the CSV's name below data.root")
    given = {column: tuple(values) for column, values in (classes or {}).items()}
    header, rows = _read(table)
    wanted = [
        path_column,
        *(c for c in (id_column, split_column, person_column) if c),
        *(e.column for e in expressions),
        *given,
    ]
    missing = [column for column in dict.fromkeys(wanted) if header.count(column) != 1]
    if missing:
        hint = "; separate the columns by commas" if len(header) == 1 and ";" in header[0] else ""
        raise UsageError(
            [f"{table}:1: no single column {column!r}; it has {', '.join(header)}{hint}" for column in missing]
        )
    reader = _RowReader(folder, table, header, expressions, path_column, id_column, split_column, person_column, given)
    read = [(f"{file}:{line}", line, reader.read(line, cells)) for line, cells in rows]
    good = [(place, row) for place, _, row in read if isinstance(row, _Row)]
    groups = [_groups(e, [row.values[i] for _, row in good], given, table) for i, e in enumerate(expressions)]
    records = [
        Record(
            row.name,
            row.file,
            place,
            tuple(g.index(v) for g, v in zip(groups, row.values, strict=True)),
            row.split,
            row.person,
        )
        for place, row in good
    ]
    problems = [Problem(place, *row) for place, _, row in read if isinstance(row, tuple)]
    return Listing(records, groups, problems)


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


class _Row:
    """A row without fault; ``values`` are group names, one per expression."""

    def __init__(self, name: str, file: Path, values: list[str], split: str | None, person: str | None) -> None:
        self.name, self.file, self.values, self.split, self.person = name, file, values, split, person


class _RowReader:
    """Checks one row after the other and remembers ids and paths, so that repeats are seen."""

    def __init__(
        self,
        folder: Path,
        table: Path,
        header: list[str],
        expressions: Sequence[Expression],
        path_column: str,
        id_column: str | None,
        split_column: str | None,
        person_column: str | None,
        classes: Mapping[str, tuple[str, ...]],
    ) -> None:
        self.folder, self.base = os.path.realpath(folder), table.parent
        self.header, self.expressions, self.classes = header, expressions, classes
        self.path_column, self.id_column, self.split_column = path_column, id_column, split_column
        self.person_column = person_column
        self.lines_of_ids: dict[str, int] = {}
        self.lines_of_paths: dict[str, int] = {}

    def read(self, line: int, cells: list[str]) -> _Row | tuple[str, str]:
        """The row, or kind and text of its first fault."""
        if len(cells) != len(self.header):
            return "wrong line", f"{len(cells)} fields instead of {len(self.header)}"
        row = dict(zip(self.header, (cell.strip() for cell in cells), strict=True))
        named = (self.path_column, self.id_column, self.split_column, self.person_column)
        used = {*named, *(e.column for e in self.expressions)} - {None}
        for column in self.header:
            if column in used and not row[column]:
                return "empty value", f"{column} is empty"
        if self.id_column is not None:
            first = self.lines_of_ids.setdefault(row[self.id_column], line)
            if first != line:
                return "duplicate id", f"{row[self.id_column]!r} is on line {first} already"
        if "\0" in row[self.path_column]:
            return "path outside", f"{row[self.path_column]!r} is not a path"
        real = os.path.realpath(self.base / row[self.path_column])
        if not real.startswith(self.folder + os.sep):
            return "path outside", f"{row[self.path_column]!r} leaves the data set's folder"
        first = self.lines_of_paths.setdefault(real, line)
        if first != line:
            return "duplicate path", f"{row[self.path_column]!r} is on line {first} already"
        split = row[self.split_column] if self.split_column is not None else None
        if split is not None and split not in SPLITS:
            return "unknown value", f"{self.split_column} is {split!r}; it must be one of {', '.join(SPLITS)}"
        values = []
        for e in self.expressions:
            value = _value(e, row[e.column], self.classes.get(e.column))
            if isinstance(value, tuple):
                return value
            values.append(value)
        person = row[self.person_column] if self.person_column is not None else None
        return _Row(os.path.relpath(real, self.folder), Path(real), values, split, person)


def _value(e: Expression, text: str, classes: tuple[str, ...] | None) -> str | tuple[str, str]:
    """The group's name, or kind and text of what is wrong with the cell."""
    if e.sign is not None:
        try:
            number = float(text)
        except ValueError:
            number = math.nan
        if not math.isfinite(number):
            return "label out of range", f"{e.column} is {text!r}, not a number"
        return e.groups[e.holds(number)]
    if classes is not None and text in classes:
        return text
    was = unmangle(text)
    if was is not None:
        return (
            "mangled value",
            f"{e.column} is {text!r}: a spreadsheet took {was!r} for a date; restore the column as text",
        )
    if classes is not None:
        return "unknown value", f"{e.column} is {text!r}; it must be one of {', '.join(classes)}"
    return text


def _groups(e: Expression, values: list[str], given: Mapping[str, tuple[str, ...]], table: Path) -> tuple[str, ...]:
    if e.sign is not None:
        return e.groups
    groups = given.get(e.column) or tuple(sorted(set(values), key=_natural))
    if values and not 2 <= len(groups) <= MOST_GROUPS:
        raise UsageError(
            f"{table}: column {e.column!r} has {len(groups)} distinct values; 2 to {MOST_GROUPS} can be groups"
            + (f': compare it with a number, as in "{e.column} > 35"' if len(groups) > MOST_GROUPS else "")
        )
    return groups


def _natural(text: str) -> list[tuple[int, int, str]]:
    """Sorts 3-9 before 10-19: digits count as numbers."""
    return [(0, int(part), "") if part.isdigit() else (1, 0, part) for part in re.findall(r"\d+|\D+", text)]


def _read(table: Path) -> tuple[list[str], list[tuple[int, list[str]]]]:
    """The header and every other row with the line on which it begins; empty lines are no rows."""
    try:
        text = table.read_bytes().decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise UsageError(f"{table}: not UTF-8 text (byte {error.start}): save it as CSV in UTF-8") from error
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
