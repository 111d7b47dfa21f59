"""New pictures as a user names them: files, folders of files, or a CSV with a column of paths."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from PIL import Image

from secure_fair.data.csv_rows import read_rows, require_columns
from secure_fair.data.parquet_rows import ENDINGS
from secure_fair.data.pictures import FORMATS
from secure_fair.errors import UsageError

PATH_COLUMN = "path"


def picture_files(places: Sequence[Path], path_column: str = PATH_COLUMN) -> list[tuple[str, Path]]:
    """Name and path of every picture at these places, in their order.

    A folder stands for all files in it and below it that are called like pictures, by name; a CSV for those that its
    ``path_column`` names, counted from its own folder, and called as they are there. Hidden files are left out.
    Raises UsageError for places that are not there, and where nothing is found.
    """
    missing = [f"{place}: no such file or folder" for place in places if not place.exists()]
    if missing:
        raise UsageError(missing)
    found = [named for place in places for named in _at(place, path_column)]
    if not found:
        raise UsageError("no picture to predict: name files, a folder that has some, or a CSV with their paths")
    return found


def is_table(place: Path) -> bool:
    """Whether a place is taken for a CSV or a Parquet file."""
    return place.suffix.lower() in (".csv", *ENDINGS) and not place.is_dir()


def _at(place: Path, path_column: str) -> list[tuple[str, Path]]:
    if place.is_dir():
        return _in_folder(place)
    if is_table(place):
        return _in_table(place, path_column)
    return [(str(place), place)]


def _in_folder(folder: Path) -> list[tuple[str, Path]]:
    endings = {ending for ending, kind in Image.registered_extensions().items() if kind in FORMATS}
    files = [
        file
        for file in sorted(folder.rglob("*"))
        if file.suffix.lower() in endings and file.is_file() and not _hidden(file.relative_to(folder))
    ]
    if not files:
        raise UsageError(f"{folder}: holds no file that is called like a picture, such as .jpg, .png or .webp")
    return [(str(file), file) for file in files]


def _in_table(table: Path, path_column: str) -> list[tuple[str, Path]]:
    header, lines = read_rows(table)
    try:
        require_columns(header, [path_column], table)
    except UsageError as error:
        raise UsageError([*error.problems, "name the column of the pictures' paths with --path-column"]) from None
    column = header.index(path_column)
    short = [
        f"{table}:{line}: has no {path_column}" for line, cells in lines if not "".join(cells[column:][:1]).strip()
    ]
    if short:
        raise UsageError(short)
    paths = [cells[column].strip() for _, cells in lines]
    return [(path, table.parent / path) for path in paths]


def _hidden(path: Path) -> bool:
    return any(part.startswith(".") for part in path.parts)
