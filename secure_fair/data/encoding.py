"""Columns of a table as features: numbers standardised, categories one-hot, by statistics of chosen rows alone."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from secure_fair.data.csv_rows import Fault, finite, natural
from secure_fair.errors import UsageError

FORMAT = 1
MISSING = frozenset({"", "?", "NA", "N/A", "NaN", "nan", "NULL", "null"})
MOST_CATEGORIES = 100
VALUES_SHOWN = 8


@dataclass(frozen=True)
class Column:
    """A column of a table before it is encoded: ``values`` are those of categories, None for numbers.

    In an array a number stands for itself and a category for its place among the values; NaN is missing.
    """

    name: str
    values: tuple[str, ...] | None

    @classmethod
    def of(cls, name: str, cells: Sequence[str], *, category: bool) -> Column:
        """The column that the ``cells`` make: numbers where more than half of those that are filled are such.

        ``category``: whether numbers are categories too. UsageError for more categories than can be columns.
        """
        filled = Counter(cells)
        for cell in MISSING:
            del filled[cell]
        numbers = sum(count for cell, count in filled.items() if finite(cell) is not None)
        if not category and 2 * numbers > filled.total():
            return cls(name, None)
        values = tuple(sorted(filled, key=natural))
        if len(values) > MOST_CATEGORIES:
            raise UsageError(
                f"column {name!r} has {len(values)} distinct values, such as {values[0]!r}; at most {MOST_CATEGORIES} "
                "can be categories: list the features without it in data.features"
            )
        return cls(name, values)

    def read(self, cell: str) -> float | Fault:
        """The number that stands for a cell, or what is wrong with it."""
        if cell in MISSING:
            return np.nan
        if self.values is None:
            number = finite(cell)
            return number if number is not None else ("not a number", f"{self.name} is {cell!r}, a column of numbers")
        if cell in self.values:
            return float(self.values.index(cell))
        known = ", ".join(self.values[:VALUES_SHOWN]) + (" ..." if len(self.values) > VALUES_SHOWN else "")
        return "unknown value", f"{self.name} is {cell!r}; it must be empty or one of {known}"


@dataclass(frozen=True)
class Code:
    """How one column is encoded: a number as (x - mean) / deviation, a category as a column for each of ``values``.

    ``gaps``: whether a further column is 1 where the value is missing; a missing number is the mean.
    """

    name: str
    values: tuple[str, ...] | None
    mean: float
    deviation: float
    gaps: bool

    @classmethod
    def fit(cls, column: Column, held: np.ndarray) -> Code:
        """The code of a column by the statistics of ``held``, float64 (m,)."""
        missing = np.isnan(held)
        seen = held[~missing]
        if column.values is not None:
            values = tuple(column.values[int(place)] for place in np.unique(seen))
            return cls(column.name, values, 0.0, 1.0, bool(missing.any()))
        deviation = float(seen.std()) if len(seen) else 0.0
        mean = float(seen.mean()) if len(seen) else 0.0
        return cls(column.name, None, mean, deviation or 1.0, bool(missing.any()))

    @property
    def features(self) -> list[str]:
        """Names of the features that the column becomes."""
        own = [self.name] if self.values is None else [f"{self.name} = {value}" for value in self.values]
        return [*own, *([f"{self.name} is missing"] if self.gaps else [])]

    def blocks(self, column: Column, held: np.ndarray) -> Iterator[np.ndarray]:
        """Columns (m, ...) of ``held``, float64 (m,); a value that the statistics had not is a row of zeros."""
        missing = np.isnan(held)
        if self.values is None:
            yield np.where(missing, 0.0, (held - self.mean) / self.deviation)[:, None]
        else:
            own = [
                (column.values or ()).index(value) if value in (column.values or ()) else -1 for value in self.values
            ]
            yield held[:, None] == np.array(own, dtype=np.float64)[None]
        if self.gaps:
            yield missing[:, None]


@dataclass(frozen=True)
class Encoding:
    """The codes of all columns, in their order."""

    codes: tuple[Code, ...]

    @classmethod
    def fit(cls, columns: Sequence[Column], rows: np.ndarray) -> Encoding:
        """The encoding of ``columns`` by the statistics of these ``rows`` (m, columns), and of no others."""
        held = np.asarray(rows, dtype=np.float64)
        return cls(tuple(Code.fit(column, held[:, place]) for place, column in enumerate(columns)))

    @property
    def features(self) -> list[str]:
        """Names of the features, in their order."""
        return [name for code in self.codes for name in code.features]

    @property
    def columns(self) -> tuple[Column, ...]:
        """The columns as the encoding knows them: a category has the values that the statistics had."""
        return tuple(Column(code.name, code.values) for code in self.codes)

    def encode(self, columns: Sequence[Column], rows: np.ndarray) -> np.ndarray:
        """Features, float32 (m, d), of ``rows`` (m, columns), whose categories are places in ``columns``' values."""
        held = np.asarray(rows, dtype=np.float64)
        blocks = [
            block
            for place, (code, column) in enumerate(zip(self.codes, columns, strict=True))
            for block in code.blocks(column, held[:, place])
        ]
        return np.concatenate([np.zeros((len(held), 0)), *blocks], axis=1).astype(np.float32)

    def tree(self) -> dict[str, Any]:
        """The encoding as JSON can hold it."""
        return {"format": FORMAT, "columns": [asdict(code) for code in self.codes]}

    @classmethod
    def of_tree(cls, tree: Any, where: str) -> Encoding:
        """The encoding that ``tree`` gave. UsageError, naming ``where`` it stands, for anything else."""
        try:
            if tree["format"] != FORMAT:
                raise ValueError(f"format {tree['format']!r} instead of {FORMAT}")
            codes = tuple(_code(held) for held in tree["columns"])
        except (KeyError, TypeError, ValueError) as error:
            raise UsageError(f"{where}: no encoding of a table's columns: {error!r}: write it again") from error
        return cls(codes)

    def text(self) -> bytes:
        """The encoding as the content of a file."""
        return (json.dumps(self.tree(), indent=1) + "\n").encode()


def read_cells(columns: Sequence[Column], rows: Sequence[Mapping[str, str]]) -> tuple[np.ndarray, dict[int, Fault]]:
    """An array (n, columns) of the cells of ``rows``, float64, and the first fault of each row that has one."""
    found = np.full((len(rows), len(columns)), np.nan)
    faults: dict[int, Fault] = {}
    for place, column in enumerate(columns):
        cells = [row[column.name] for row in rows]
        read = {cell: column.read(cell) for cell in set(cells)}
        wrong = {cell: value for cell, value in read.items() if isinstance(value, tuple)}
        found[:, place] = [np.nan if cell in wrong else read[cell] for cell in cells]
        for row, cell in enumerate(cells if wrong else ()):
            if cell in wrong:
                faults.setdefault(row, wrong[cell])
    return found, faults


def _code(held: Mapping[str, Any]) -> Code:
    values = held["values"]
    return Code(
        name=str(held["name"]),
        values=None if values is None else tuple(map(str, values)),
        mean=float(held["mean"]),
        deviation=float(held["deviation"]),
        gaps=bool(held["gaps"]),
    )
