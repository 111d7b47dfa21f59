"""CelebA: a folder of pictures and a table of forty attributes, each 1 or -1."""

from __future__ import annotations

import csv
from collections.abc import Iterator, Sequence
from pathlib import Path

from secure_fair.data.records import YES_NO, Expression, Listing, Problem, Record, require_folder
from secure_fair.errors import UsageError

TABLES = ("list_attr_celeba.txt", "list_attr_celeba.csv")
PARTITIONS = ("list_eval_partition.txt", "list_eval_partition.csv")
IDENTITIES = ("identity_CelebA.txt", "identity_CelebA.csv")
FOLDERS = ("img_align_celeba/img_align_celeba", "img_align_celeba")
SPLIT_OF_PARTITION = {"0": "developer", "1": "auditor", "2": "test"}
GROUPS = {"Male": ("female", "male")}  # every other attribute has the groups "no" and "yes"
_CODES = {"-1": 0, "1": 1}


def list_records(
    root: Path | None, expressions: Sequence[Expression], *, partition: bool = False, identities: bool = False
) -> Listing:
    """Every line of the attribute table, in its order.

    ``root`` has ``img_align_celeba/`` and ``list_attr_celeba.txt`` (the original format: a count, the names, the rows)
    or ``list_attr_celeba.csv``. Expressions are attribute names, in any case. With ``partition``,
    ``list_eval_partition`` gives the split: training is the developer's, validation the auditor's, test is test. With
    ``identities``, ``identity_CelebA`` says whose picture each is.

    Raises UsageError for missing tables or columns. Broken lines, lines without a picture and pictures without a line
    are problems of the listing.
    """
    folder = require_folder("celeba", root)
    pictures = next((folder / name for name in FOLDERS if (folder / name).is_dir()), None)
    if pictures is None:
        raise UsageError(f"{folder}: no folder img_align_celeba in it; set data.root to the folder that has it")
    table = _find(folder, TABLES)
    rows = _read(table)
    _, header = next(rows)
    columns = [_position(expression, header, table) for expression in expressions]
    groups: list[tuple[str, ...]] = [GROUPS.get(header[column], YES_NO) for column in columns]
    splits = _read_partition(_find(folder, PARTITIONS)) if partition else None
    persons = _read_pairs(_find(folder, IDENTITIES)) if identities else None
    present = {entry.name for entry in pictures.iterdir() if not entry.name.startswith(".")}
    records: list[Record] = []
    problems: list[Problem] = []
    seen: dict[str, int] = {}
    for line, cells in rows:
        place = f"{table.name}:{line}"
        problem = _check_row(cells, header, columns, seen, present)
        name = cells[0]
        seen.setdefault(name, line)
        if problem is None and splits is not None and name not in splits:
            problem = ("missing split", f"{name} has no line with 0, 1 or 2 in {PARTITIONS[0]} or {PARTITIONS[1]}")
        if problem is None and persons is not None and name not in persons:
            problem = ("missing person", f"{name} has no line in {IDENTITIES[0]} or {IDENTITIES[1]}")
        if problem is not None:
            problems.append(Problem(place, *problem))
            continue
        codes = tuple(_CODES[cells[column]] for column in columns)
        split = None if splits is None else splits[name]
        person = None if persons is None else persons[name]
        records.append(Record(f"{pictures.name}/{name}", pictures / name, place, codes, split, person))
    for name in sorted(present - seen.keys()):
        problems.append(Problem(f"{pictures.name}/{name}", "unlisted picture", f"{table.name} has no line for it"))
    return Listing(records, groups, problems)


def attributes(root: Path) -> list[str] | None:
    """Names of the attributes where ``root`` is CelebA's folder, else None."""
    if not any((root / name).is_file() for name in TABLES):
        return None
    return next(_read(_find(root, TABLES)))[1][1:]


def _find(folder: Path, names: Sequence[str]) -> Path:
    found = next((folder / name for name in names if (folder / name).is_file()), None)
    if found is None:
        raise UsageError(f"{folder}: neither {names[0]} nor {names[1]} in it")
    return found


def _read(table: Path) -> Iterator[tuple[int, list[str]]]:
    """Line numbers and cells; first the header, its first cell the picture's column."""
    try:
        text = table.read_text(encoding="utf-8-sig")
    except UnicodeDecodeError as error:
        raise UsageError(f"{table}: not UTF-8 text (byte {error.start}): convert it") from error
    lines = text.splitlines()
    if table.suffix == ".csv":
        rows = [(number, cells) for number, cells in enumerate(csv.reader(lines), 1) if cells]
    else:
        if len(lines) < 2 or not lines[0].strip().isdigit():
            raise UsageError(f"{table}:1: expected the number of pictures, then a line with the attributes' names")
        rows = [(number, line.split()) for number, line in enumerate(lines, 1) if number > 1 and line.strip()]
        rows[0] = (2, ["image_id", *rows[0][1]])
        if int(lines[0]) != len(rows) - 1:
            raise UsageError(
                f"{table}:1: says {lines[0].strip()} pictures, the file has {len(rows) - 1}: is it cut off?"
            )
    if not rows:
        raise UsageError(f"{table}: the file is empty")
    yield from rows


def _position(expression: Expression, header: list[str], table: Path) -> int:
    if expression.numeric:
        raise UsageError(f"{expression.text!r}: CelebA's attributes are 1 or -1; name the attribute alone")
    matches = [i for i, name in enumerate(header) if i and name.lower() == expression.column.lower()]
    if len(matches) != 1:
        raise UsageError(f"{table}: no column {expression.column!r}; it has {', '.join(sorted(header[1:]))}")
    return matches[0]


def _check_row(
    cells: list[str], header: list[str], columns: Sequence[int], seen: dict[str, int], present: set[str]
) -> tuple[str, str] | None:
    """Kind and text of what is wrong with a row, or None."""
    name = cells[0]
    if len(cells) != len(header):
        return "wrong line", f"{len(cells)} fields instead of {len(header)}"
    for column in columns:
        if not cells[column]:
            return "empty value", f"{header[column]} is empty; it must be 1 or -1"
        if cells[column] not in _CODES:
            return "label out of range", f"{header[column]} is {cells[column]!r}; it must be 1 or -1"
    if name in seen:
        return "duplicate path", f"{name} is on line {seen[name]} already"
    if "/" in name or "\\" in name or name in ("", ".", ".."):
        return "path outside", f"{name!r} is not the name of a file in the pictures' folder"
    if name not in present:
        return "missing picture", f"{name} is not in the pictures' folder"
    return None


def _read_partition(table: Path) -> dict[str, str]:
    """Split of each picture; lines that are not NAME and 0, 1 or 2 give none, and their pictures become problems."""
    pairs = _read_pairs(table).items()
    return {name: SPLIT_OF_PARTITION[value] for name, value in pairs if value in SPLIT_OF_PARTITION}


def _read_pairs(table: Path) -> dict[str, str]:
    """The value of each picture, from lines of NAME and value; other lines give none."""
    with table.open(encoding="utf-8-sig") as file:
        rows = (line.replace(",", " ").split() for line in file)
        return {cells[0]: cells[1] for cells in rows if len(cells) == 2}
