"""Any CSV with a column of paths and columns for the task and the attributes."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from pathlib import Path

from secure_fair.data.csv_rows import CsvRow, Fault, Meaning, RowReader, read_rows, require_columns
from secure_fair.data.records import Expression, Listing, Problem, Record, require_folder
from secure_fair.errors import UsageError


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
    header, rows = read_rows(table)
    meaning = Meaning(expressions, id_column, split_column, person_column, classes)
    require_columns(header, [path_column, *meaning.columns], table)
    reader = _PictureRows(header, meaning, path_column, folder, table.parent)
    read = [(f"{file}:{line}", line, reader.read(line, cells)) for line, cells in rows]
    good = [(place, reader.files[line], row) for place, line, row in read if isinstance(row, CsvRow)]
    groups = meaning.groups([row.values for _, _, row in good], table)
    records = [
        Record(
            os.path.relpath(real, reader.folder),
            Path(real),
            place,
            tuple(g.index(v) for g, v in zip(groups, row.values, strict=True)),
            row.split,
            row.person,
            row.cells[id_column] if id_column is not None else None,
        )
        for place, real, row in good
    ]
    problems = [Problem(place, *row) for place, _, row in read if isinstance(row, tuple)]
    return Listing(records, groups, problems)


class _PictureRows(RowReader):
    """Rows that name a picture's file each; ``files`` has the real paths by line."""

    def __init__(self, header: Sequence[str], meaning: Meaning, path_column: str, folder: Path, base: Path) -> None:
        super().__init__(header, meaning, filled=(path_column,))
        self.path_column, self.folder, self.base = path_column, os.path.realpath(folder), base
        self.files: dict[int, str] = {}
        self.lines_of_paths: dict[str, int] = {}

    def own_fault(self, line: int, row: Mapping[str, str]) -> Fault | None:
        """A path that leaves the data set's folder, or was there before."""
        path = row[self.path_column]
        if "\0" in path:
            return "path outside", f"{path!r} is not a path"
        self.files[line] = real = os.path.realpath(self.base / path)
        if not real.startswith(self.folder + os.sep):
            return "path outside", f"{path!r} leaves the data set's folder"
        first = self.lines_of_paths.setdefault(real, line)
        return None if first == line else ("duplicate path", f"{path!r} is on line {first} already")
