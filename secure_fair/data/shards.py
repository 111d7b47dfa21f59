"""Shards of a Hugging Face data set: which there are below a folder, their columns, and pictures inside them.

A folder is one that ``datasets`` has saved (Arrow files, perhaps by split), or one of Parquet files as the hub and its
cache have them, symbolic links too. pyarrow reads both; nothing of a data set is run.
"""

from __future__ import annotations

import json
import os
import re
from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from threading import Lock
from typing import TYPE_CHECKING, Any

from secure_fair.errors import UsageError

if TYPE_CHECKING:
    import pyarrow

SPLITS_FILE, STATE = "dataset_dict.json", "state.json"
ARROW, PARQUET = ".arrow", ".parquet"
FEATURES = b"huggingface"  # of a schema's metadata
_SPLIT = re.compile(r"(train|validation|valid|val|test)(?=[-_.]|$)")


@dataclass
class Shard:
    """One file of ``root``'s rows; ``split`` as it is called, empty where it says none."""

    root: Path
    file: Path
    split: str = ""
    _lock: Lock = field(default_factory=Lock, repr=False)
    _group: tuple[int, list[Any]] = (-1, [])

    @property
    def name(self) -> str:
        """The file's name below the root."""
        return self.file.relative_to(self.root).as_posix()

    @property
    def schema(self) -> pyarrow.Schema:
        """The columns; UsageError for a file that is not whole."""
        return self._table.schema if self.file.suffix == ARROW else self._parquet.schema_arrow

    def columns(self, names: Sequence[str]) -> list[pyarrow.ChunkedArray]:
        """These columns, in order."""
        read = self._table.select(names) if self.file.suffix == ARROW else self._parquet.read(columns=list(names))
        return [read.column(name) for name in names]

    def cell(self, column: str, row: int) -> Any:
        """One cell, as Python has it; of Parquet the group of rows that it is in is kept for the next one."""
        if self.file.suffix == ARROW:
            return self._table.column(column)[row].as_py()
        with self._lock:
            place = next(number for number, end in enumerate(self._ends) if row < end)
            if self._group[0] != place:
                read = self._parquet.read_row_group(place, columns=[column]).column(column)
                self._group = (place, read.to_pylist())
            return self._group[1][row - ([0, *self._ends][place])]

    @cached_property
    def _table(self) -> pyarrow.Table:
        """An Arrow file, mapped into memory, as ``datasets`` writes them."""
        import pyarrow
        import pyarrow.ipc

        try:
            with pyarrow.memory_map(str(self.file)) as source:
                table = pyarrow.ipc.open_stream(source).read_all()
                table.validate()
                return table
        except (pyarrow.ArrowException, OSError) as error:
            raise UsageError(f"{self.file}: not a whole Arrow file: {str(error).splitlines()[0]}") from error

    @cached_property
    def _parquet(self) -> Any:
        import pyarrow
        import pyarrow.parquet

        try:
            return pyarrow.parquet.ParquetFile(self.file)
        except (pyarrow.ArrowException, OSError) as error:
            raise UsageError(f"{self.file}: not a whole Parquet file: {str(error).splitlines()[0]}") from error

    @cached_property
    def _ends(self) -> list[int]:
        """The number of rows up to the end of each group."""
        meta, ends = self._parquet.metadata, [0]
        for place in range(meta.num_row_groups):
            ends.append(ends[-1] + meta.row_group(place).num_rows)
        return ends[1:]


@dataclass(frozen=True)
class Inside:
    """A picture in a shard's cell, to be read as a file is: its bytes, or the file below the root that it names."""

    shard: Shard
    column: str
    row: int

    @property
    def name(self) -> str:
        """Shard and row."""
        return f"{self.shard.name}:{self.row}"

    def stat(self) -> os.stat_result:
        """That of the shard: when it changes, so may the picture."""
        return self.shard.file.stat()

    def read_bytes(self) -> bytes:
        """The picture as a file would have it; FileNotFoundError where the cell has none."""
        cell = self.shard.cell(self.column, self.row) or {}
        if cell.get("bytes"):
            return bytes(cell["bytes"])
        root = self.shard.root.resolve()
        file = (root / (cell.get("path") or "")).resolve()
        if not file.is_relative_to(root) or not file.is_file():
            raise FileNotFoundError(self.name)
        return file.read_bytes()


def is_saved(folder: Path) -> bool:
    """Whether a folder looks like such a data set."""
    return any((folder / name).is_file() for name in (SPLITS_FILE, STATE)) or next(_parquets(folder), None) is not None


def find_shards(root: Path, below: str | None) -> list[Shard]:
    """All shards of a data set, in order; ``below``: a folder of it, or the beginning of shards' names.

    UsageError where there are none, or those of several data sets.
    """
    base = root / below if below else root
    prefix = "" if base.is_dir() else base.name
    folder = base if base.is_dir() else base.parent
    if (folder / SPLITS_FILE).is_file():
        names = _json(folder / SPLITS_FILE, "splits")
        return [shard for name in names for shard in _saved(root, folder / Path(str(name)).name, str(name))]
    if (folder / STATE).is_file():
        return _saved(root, folder, folder.name if folder != root else "")
    found = sorted(file for file in _parquets(folder) if file.name.startswith(prefix))
    folders = sorted({file.parent.relative_to(root).as_posix() for file in found})
    if not found:
        raise UsageError(f"{base}: holds neither Parquet files nor what save_to_disk writes; name the folder that does")
    if len(folders) > 1:
        raise UsageError(
            f"{folder}: has Parquet files of several data sets, in {', '.join(folders)}; name one (data.file)"
        )
    return [Shard(root, file, _split_of(file.name)) for file in found]


def _saved(root: Path, folder: Path, split: str) -> list[Shard]:
    """The files of one data set that was saved, in the order of its rows."""
    named = _json(folder / STATE, "_data_files")
    return [Shard(root, folder / Path(str(one["filename"])).name, split) for one in named]


def _json(file: Path, key: str) -> list[Any]:
    try:
        return list(json.loads(file.read_bytes())[key])
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise UsageError(f"{file}: not as save_to_disk writes it ({error!r}): save the data set again") from error


def _parquets(folder: Path) -> Any:
    """Parquet files in a folder and below it, hidden ones left out; links count as what they point to."""
    return (
        file
        for file in folder.rglob(f"*{PARQUET}")
        if file.is_file() and not any(part.startswith(".") for part in file.relative_to(folder).parts)
    )


def _split_of(name: str) -> str:
    found = _SPLIT.match(name)
    return found[1] if found else ""


# the features that datasets has written down


def class_names(schema: pyarrow.Schema) -> dict[str, list[str]]:
    """By column, the names of its classes, where the data set has some."""
    try:
        features = json.loads((schema.metadata or {})[FEATURES])["info"]["features"]
        kinds = {name: kind for name, kind in features.items() if isinstance(kind, dict)}
        return {name: list(map(str, kind["names"])) for name, kind in kinds.items() if kind["_type"] == "ClassLabel"}
    except (KeyError, ValueError, TypeError):
        return {}


def picture_columns(schema: pyarrow.Schema) -> list[str]:
    """The columns whose cells are pictures: structures of bytes and a path."""
    from pyarrow import types

    return [
        column.name
        for column in schema
        if types.is_struct(column.type) and {part.name for part in column.type} >= {"bytes", "path"}
    ]
