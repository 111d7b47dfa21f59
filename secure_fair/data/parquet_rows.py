"""Rows of a Parquet file as a CSV of the same table would have them: cells are text, and what is not known is empty.

Whole numbers are digits, also where a column of fractions holds them, for that is what becomes of a column of whole
numbers in which one is missing; other fractions have the fewest digits that mean them. True is 1 and false 0; a date is
2026-01-31, with a time behind it where it has one. A row is on the line that it would have in a CSV under its header.
"""

from __future__ import annotations

import datetime
from collections.abc import Iterator
from decimal import Decimal
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from secure_fair.errors import UsageError

if TYPE_CHECKING:
    import pyarrow

MAGIC = b"PAR1"
ENDINGS = (".parquet", ".pq")
BATCH = 65_536  # rows that are turned into text at a time
_EXACT = 2.0**53  # below it a float64 holds every whole number


def is_parquet(file: Path) -> bool:
    """Whether a file is called so, or begins as one."""
    if file.suffix.lower() in ENDINGS:
        return True
    with file.open("rb") as opened:
        return opened.read(len(MAGIC)) == MAGIC


def read_parquet(file: Path) -> tuple[list[str], list[tuple[int, list[str]]]]:
    """The names of the columns, and every row with its line; UsageError for what is no table of plain cells."""
    try:
        import pyarrow
        import pyarrow.parquet
    except ImportError:
        raise UsageError(f"{file}: reading Parquet needs pyarrow; pip install 'secure-fair[parquet]'") from None
    try:
        with pyarrow.parquet.ParquetFile(file) as opened:
            schema = opened.schema_arrow
            _check(file, schema)
            return list(map(str.strip, schema.names)), list(_rows(file, opened.iter_batches(batch_size=BATCH)))
    except (pyarrow.ArrowException, OSError, UnicodeDecodeError) as error:
        raise UsageError(f"{file}: not a whole Parquet file: {str(error).splitlines()[0]}") from error


def _check(file: Path, schema: pyarrow.Schema) -> None:
    problems = [
        f"{file}: column {field.name!r} is of {field.type}; a cell is a text, a number, a date, true or false: leave "
        "the column out, or write it as text"
        for field in schema
        if not is_plain(field.type)
    ]
    if problems:
        raise UsageError(problems)


def is_plain(kind: pyarrow.DataType) -> bool:
    """Whether cells of this type are a text, a number, a date, true or false."""
    from pyarrow import types

    plain = (types.is_boolean, types.is_integer, types.is_floating, types.is_decimal, types.is_date, types.is_timestamp)
    texts = (types.is_string, types.is_large_string, types.is_string_view, types.is_null)
    value = kind.value_type if types.is_dictionary(kind) else kind
    return any(fits(value) for fits in (*plain, *texts))


def _rows(file: Path, batches: Iterator[pyarrow.RecordBatch]) -> Iterator[tuple[int, list[str]]]:
    line = 2
    for batch in batches:
        columns = [texts_of(column) for column in batch.columns]
        for cells in zip(*columns, strict=True):
            if any("\0" in cell for cell in cells):
                raise UsageError(f"{file}:{line}: has a NUL character: write the table again")
            yield line, list(cells)
            line += 1


def texts_of(column: pyarrow.Array) -> list[str]:
    """A column's cells as text."""
    from pyarrow import types

    if types.is_float16(column.type) or types.is_float32(column.type):
        narrow = np.float16 if types.is_float16(column.type) else np.float32
        return ["" if value is None else _number(narrow(value)) for value in column.to_pylist()]
    return [_text(value) for value in column.to_pylist()]


def _text(value: Any) -> str:
    if value is None:
        return ""
    if isinstance(value, bool):
        return str(int(value))
    if isinstance(value, float):
        return _number(np.float64(value))
    if isinstance(value, Decimal):
        return f"{value:f}"
    if isinstance(value, datetime.datetime):
        return value.isoformat(sep=" ")
    return str(value)


def _number(value: np.floating[Any]) -> str:
    """The shortest text of a number in its own precision; empty for NaN."""
    if np.isnan(value):
        return ""
    return str(int(value)) if value == np.rint(value) and abs(value) < _EXACT else str(value)
