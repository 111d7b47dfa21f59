"""An auditor's own table: people by the ids of their own, with attributes, perhaps with persons, without a picture."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Literal

import numpy as np

from secure_fair.data.csv_rows import CsvRow, Meaning, RowReader, read_rows, require_columns
from secure_fair.data.decisions import digest_of
from secure_fair.data.records import Attribute, Problem, describe_problems, parse_columns
from secure_fair.data.table import AttributeTable
from secure_fair.errors import UsageError


def read_holder(
    file: Path,
    attributes: Sequence[str],
    *,
    id_column: str,
    person_column: str | None = None,
    classes: Mapping[str, Sequence[str]] | None = None,
    on_bad: Literal["refuse", "skip"] = "refuse",
) -> AttributeTable:
    """The table in a CSV; ``attributes`` are columns, or columns compared with a number ("age > 35").

    ``classes``: by column, the values in their order; columns that are none of the attributes' are passed over.
    UsageError where a file or column is missing, or a row is bad and ``on_bad`` is "refuse"; else those are in
    ``skipped``.
    """
    expressions = parse_columns(attributes)
    named = {e.column for e in expressions}
    known = {column: names for column, names in (classes or {}).items() if column in named}
    meaning = Meaning(expressions, id_column, None, person_column, known)
    try:
        header, lines = read_rows(file)
    except OSError as error:
        raise UsageError(
            f"{file}: cannot be read: {error.strerror}; name a CSV or Parquet file of ids and attributes"
        ) from error
    try:
        require_columns(header, meaning.columns, file)
    except UsageError as error:
        remedy = "columns are called as in data.sensitive; --id and --person name those of ids and persons"
        raise UsageError([*error.problems, remedy]) from None
    reader = RowReader(header, meaning)
    read = [(line, reader.read(line, cells)) for line, cells in lines]
    rows = [row for _, row in read if isinstance(row, CsvRow)]
    problems = [Problem(f"{file}:{line}", *row) for line, row in read if not isinstance(row, CsvRow)]
    if problems and on_bad == "refuse":
        remedy = "repair them, or leave them out with -o data.on_bad=skip"
        raise UsageError([*describe_problems(problems), remedy])
    if not rows:
        raise UsageError([*describe_problems(problems), f"{file}: no usable row is left"])
    groups = meaning.groups([row.values for row in rows], file)
    ids = [row.cells[id_column] for row in rows]
    return AttributeTable(
        inputs=np.empty((len(rows), 0)),
        digests=[digest_of(name) for name in ids],
        sensitive={
            e.text: Attribute(e.text, np.array([names.index(row.values[i]) for row in rows], dtype=np.int64), names)
            for i, (e, names) in enumerate(zip(expressions, groups, strict=True))
        },
        persons=None if person_column is None else [str(row.person) for row in rows],
        skipped=problems,
        names=ids,
        own_ids=ids,
    )
