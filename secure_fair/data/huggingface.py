"""Hugging Face data sets of pictures: one column of pictures, and columns for the task and the attributes.

Read are folders of ``datasets``' ``save_to_disk`` and Parquet files as the hub has them (``secure_fair.data.shards``).
Classes have the names that the data set gives them. Where shards are called by splits, a column ``part`` says whose
they would be: "developer" for train, "test" for validation and test.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from secure_fair.data.csv_rows import CsvRow, Meaning, RowReader, require_columns
from secure_fair.data.parquet_rows import is_plain, texts_of
from secure_fair.data.records import Expression, Listing, Problem, Record, require_folder
from secure_fair.data.shards import Inside, Shard, class_names, find_shards, picture_columns
from secure_fair.errors import UsageError

if TYPE_CHECKING:
    import pyarrow

PART = "part"
PARTS = {"train": "developer"} | dict.fromkeys(("validation", "valid", "val", "test"), "test")


def list_records(
    root: Path | None,
    expressions: Sequence[Expression],
    *,
    file: str | None = None,
    path_column: str | None = None,
    id_column: str | None = None,
    split_column: str | None = None,
    person_column: str | None = None,
    classes: Mapping[str, Sequence[str]] | None = None,
) -> Listing:
    """Every row of all shards, in order; no picture is read.

    ``file``: a folder below ``root``, or the beginning of shards' names; ``path_column``: the column of pictures, where
    there are several. The rest is as in a manifest, and so are the errors.
    """
    folder = require_folder("huggingface", root)
    shards, pictures, header = opened(folder, file, path_column)
    meaning = Meaning(expressions, id_column, split_column, person_column, classes)
    require_columns(header, meaning.columns, folder / (file or ""))
    reader = _Rows(header, meaning)
    read: list[tuple[Inside, object]] = []
    for shard in shards:
        for row, cells in enumerate(zip(*cells_of(shard, header), strict=True)):
            place = Inside(shard, pictures, row)
            reader.places.append(place.name)
            read.append((place, reader.read(len(reader.places) - 1, cells)))
    good = [(place, row) for place, row in read if isinstance(row, CsvRow)]
    groups = meaning.groups([row.values for _, row in good], folder)
    records = [
        Record(
            place.name,
            place,
            place.name,
            tuple(g.index(v) for g, v in zip(groups, row.values, strict=True)),
            row.split,
            row.person,
            row.cells[id_column] if id_column is not None else None,
        )
        for place, row in good
    ]
    problems = [Problem(place.name, *fault) for place, fault in read if isinstance(fault, tuple)]
    return Listing(records, groups, problems)


def opened(root: Path, file: str | None, picture: str | None) -> tuple[list[Shard], str, list[str]]:
    """The shards of a data set, its column of pictures, and the other columns that can be asked for."""
    try:
        import pyarrow  # noqa: F401
    except ImportError:
        raise UsageError(f"{root}: reading it needs pyarrow; pip install 'secure-fair[parquet]'") from None
    shards = find_shards(root, file)
    schema = shards[0].schema
    for shard in shards[1:]:
        if shard.schema.names != schema.names:
            raise UsageError(f"{shard.file}: has other columns than {shards[0].file}; name one data set (data.file)")
    found = picture_columns(schema)
    if picture is None and len(found) != 1:
        told = f"the columns {', '.join(found)}: name one (data.path_column)" if found else "no column of pictures"
        raise UsageError(f"{root}: has {told}")
    if picture is not None and picture not in found:
        raise UsageError(f"{root}: {picture!r} is no column of pictures; there are {', '.join(found) or 'none'}")
    header = [column.name for column in schema if is_plain(column.type)]
    parts = {PARTS.get(shard.split) for shard in shards}
    return shards, picture or found[0], [*header, PART] if parts == {*PARTS.values()} and PART not in header else header


def cells_of(shard: Shard, header: Sequence[str]) -> list[list[str]]:
    """The cells of these columns as text, classes by their names; ``part`` follows from the shard's split."""
    held = [name for name in header if name in shard.schema.names]
    names = class_names(shard.schema)
    columns = [_texts(column, names.get(name)) for name, column in zip(held, shard.columns(held), strict=True)]
    part = [[PARTS.get(shard.split, "")] * len(columns[0])] if columns and len(held) < len(header) else []
    return [*columns, *part]


def _texts(column: pyarrow.ChunkedArray, names: Sequence[str] | None) -> list[str]:
    """A column's cells; codes without a class, -1 for instance, are empty, as what is not known is."""
    cells = [text for chunk in column.chunks for text in texts_of(chunk)]
    if names is None:
        return cells
    known = {str(code): name for code, name in enumerate(names)}
    return [known.get(text, "") for text in cells]


class _Rows(RowReader):
    """Rows of shards, with their places."""

    def __init__(self, header: Sequence[str], meaning: Meaning) -> None:
        super().__init__(header, meaning)
        self.places: list[str] = []

    def place(self, line: int) -> str:
        """Shard and row."""
        return self.places[line]
