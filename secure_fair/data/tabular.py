"""Any CSV of numbers and categories, whose columns themselves are the features."""

from __future__ import annotations

import hashlib
import json
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import numpy as np

from secure_fair.data.csv_rows import CsvRow, Meaning, RowReader, read_rows, require_columns
from secure_fair.data.encoding import Column, read_cells
from secure_fair.data.records import Expression, Listing, Problem, Record, require_folder
from secure_fair.errors import UsageError


@dataclass(frozen=True)
class RowListing(Listing):
    """A listing whose records are ``rows``: ``inputs`` are float64 (N, columns) as ``columns`` say."""

    columns: tuple[Column, ...]
    inputs: np.ndarray
    rows: list[CsvRow]
    meaning: Meaning

    @cached_property
    def digests(self) -> list[str]:
        """SHA-256 in hex of each row's id, or of all that it says but its part, told apart from equal rows before."""
        column, before = self.meaning.id_column, Counter[str]()
        texts = []
        for row in self.rows:
            if column is not None:
                texts.append(f"id {row.cells[column]}")
            else:
                says = sorted(item for item in row.cells.items() if item[0] != self.meaning.split_column)
                text = json.dumps(says)
                before[text] += 1
                texts.append(f"row {before[text]} {text}")
        return [hashlib.sha256(text.encode()).hexdigest() for text in texts]


def list_records(
    root: Path | None,
    expressions: Sequence[Expression],
    *,
    file: str = "table.csv",
    evaluation_file: str | None = None,
    id_column: str | None = None,
    split_column: str | None = None,
    person_column: str | None = None,
    classes: Mapping[str, Sequence[str]] | None = None,
    features: Sequence[str] | None = None,
    categories: Sequence[str] = (),
) -> RowListing:
    """Every row of ``root``/``file``, then of ``evaluation_file`` if there is one: its rows are the test's, and those
    of ``file`` the developer's.

    Expressions, ids, parts, persons and classes are as in a manifest. ``features`` are columns, by default all that
    have no other meaning; a sensitive column never is one. A feature is a number where most of its values are, unless
    it is among ``categories``. A record's digest is of its id, or, without ids, of the whole row and how many rows
    equal it before.

    Raises UsageError for a missing file or column, and for columns that cannot be groups, categories or features.
    Everything wrong with a single row is a problem of the listing, with its line.
    """
    folder = require_folder("table", root)
    meaning = Meaning(expressions, id_column, split_column, person_column, classes)
    if evaluation_file == file:
        raise UsageError(f"data.evaluation_file: {file!r} is data.file too; name another file, or leave it out")
    parts = {file: None} if evaluation_file is None else {file: "developer", evaluation_file: "test"}
    found = _read(folder, parts, meaning, features, categories)
    rows = [row for _, _, row in found.rows]
    columns = _columns(found.names, rows, categories, folder / file)
    inputs, faults = read_cells(columns, [row.cells for row in rows])
    good = [place for place in range(len(rows)) if place not in faults]
    groups = meaning.groups([rows[place].values for place in good], folder / file)
    records = [_record(*found.rows[place], groups, folder / file, id_column) for place in good]
    wrong = [Problem(found.rows[place][0], *fault) for place, fault in sorted(faults.items())]
    problems = [*found.problems, *wrong]
    return RowListing(records, groups, problems, columns, inputs[good], [rows[place] for place in good], meaning)


@dataclass(frozen=True)
class _Found:
    """The good rows of all files, each with its place and its part; what is wrong; the names of the features."""

    rows: list[tuple[str, str | None, CsvRow]]
    problems: list[Problem]
    names: list[str]


def _read(
    folder: Path,
    parts: Mapping[str, str | None],
    meaning: Meaning,
    features: Sequence[str] | None,
    categories: Sequence[str],
) -> _Found:
    """Read the files, of which each is one party's part, or says itself whose each row is."""
    found = _Found([], [], [])
    ids: dict[str, str] = {}
    for place, (name, part) in enumerate(parts.items()):
        table = folder / name
        if not table.is_file():
            key = "data.evaluation_file" if place else "data.file"
            raise UsageError(f"{table}: no such file; set {key} to the CSV's name below data.root")
        header, lines = read_rows(table)
        found.names[:] = found.names or _features(header, meaning, features, table)
        require_columns(header, [*meaning.columns, *categories, *found.names], table)
        reader = _FileRows(header, meaning, name, ids)
        for line, cells in lines:
            row = reader.read(line, cells)
            if isinstance(row, CsvRow):
                found.rows.append((f"{name}:{line}", part or row.split, row))
            else:
                found.problems.append(Problem(f"{name}:{line}", *row))
    return found


def _record(
    place: str, split: str | None, row: CsvRow, groups: Sequence[tuple[str, ...]], table: Path, id_column: str | None
) -> Record:
    codes = tuple(names.index(value) for names, value in zip(groups, row.values, strict=True))
    return Record(place, table, place, codes, split, row.person, None if id_column is None else row.cells[id_column])


class _FileRows(RowReader):
    """The rows of one of the files."""

    def __init__(self, header: Sequence[str], meaning: Meaning, name: str, ids: dict[str, str]) -> None:
        super().__init__(header, meaning, ids=ids)
        self.name = name

    def place(self, line: int) -> str:
        """Line and file."""
        return f"line {line} of {self.name}"


def _features(header: Sequence[str], meaning: Meaning, asked: Sequence[str] | None, table: Path) -> list[str]:
    """The columns that are features: those asked for, or all that mean nothing else."""
    taken = {*meaning.named, *(e.column for e in meaning.expressions)}
    found = [name for name in header if name not in taken] if asked is None else list(dict.fromkeys(asked))
    wrong = [name for name in found if name in taken]
    if wrong:
        raise UsageError(
            f"data.features: {', '.join(wrong)} cannot be a feature: it is the task, sensitive, or names the record, "
            "its part or its person; leave it out"
        )
    if not found:
        raise UsageError(f"{table}: no column is left for a feature; it has {', '.join(header)}")
    return found


def _columns(
    names: Sequence[str], rows: Sequence[CsvRow], categories: Sequence[str], table: Path
) -> tuple[Column, ...]:
    """The columns of all good rows, each of numbers or categories; UsageError with all that can be neither."""
    found, problems = [], []
    for name in names:
        try:
            found.append(Column.of(name, [row.cells[name] for row in rows], category=name in categories))
        except UsageError as error:
            problems += [f"{table}: {problem}" for problem in error.problems]
    if problems:
        raise UsageError(problems)
    return tuple(found)
