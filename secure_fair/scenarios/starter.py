"""A first scenario for somebody's own data: their files say what they can, and the rest gets a safe value."""

from __future__ import annotations

import json
import os
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Any

from secure_fair.data import celeba, utkface
from secure_fair.data.csv_rows import read_rows
from secure_fair.data.huggingface import cells_of, opened
from secure_fair.data.shards import is_saved
from secure_fair.defaults import DELTA
from secure_fair.errors import UsageError
from secure_fair.learning.settings import EMBEDDED_BACKBONE, TrainingLoop
from secure_fair.sections import near

LOOKED_AT = 50  # files or rows by which a folder's kind, or a column's, is told
TRAINED_ON = 0.7  # of the records
SHOWN = 6  # values of a column
REAL_BACKBONE = "deit_tiny_patch16_224"


@dataclass(frozen=True)
class StarterRequest:
    """The user's words; None is for us to find out, or to ask."""

    pictures: Path | None = None
    table: Path | None = None
    target: str | None = None
    sensitive: tuple[str, ...] = ()
    path_column: str | None = None
    id_column: str | None = None
    person_column: str | None = None
    groups: tuple[str, ...] = ()
    backbone: str | None = None
    weights: str | None = None
    epsilon: float = 1.0


@dataclass(frozen=True)
class FoundDataSet:
    """A data set as found: its kind, its folder, the CSV below it, and the columns that can be asked for with how they
    look."""

    dataset: str
    root: Path
    columns: dict[str, str]
    file: str | None = None
    path_column: str | None = None

    def described(self) -> list[str]:
        """A line for each column."""
        return [f"  {name:<24} {text}" for name, text in self.columns.items()]


def find_source(wanted: StarterRequest) -> FoundDataSet:
    """The data set behind what was named. UsageError where there is none, or more than one could be meant."""
    pictures = wanted.pictures
    if pictures is None and wanted.table is None:
        raise UsageError("--pictures and --table: name the folder of pictures, the CSV about them, or both")
    if pictures is not None and not pictures.is_dir():
        raise UsageError(f"--pictures {pictures}: no such folder")
    if wanted.table is None:
        assert pictures is not None
        attributes = celeba.attributes(pictures)
        if attributes is not None:
            return FoundDataSet("celeba", pictures, dict.fromkeys(attributes, "2 values"))
        if _is_utkface(pictures):
            return FoundDataSet("utkface", pictures, {"age": "numbers", "gender": "2 values", "race": "5 values"})
        if is_saved(pictures):
            shards, column, header = opened(pictures, None, wanted.path_column)
            looked = [_look(cells) for cells in cells_of(shards[0], header)]
            return FoundDataSet("huggingface", pictures, dict(zip(header, looked, strict=True)), None, column)
    table = wanted.table or _only_table(pictures)
    if not table.is_file():
        raise UsageError(f"--table {table}: no such file")
    header, rows = read_rows(table)
    columns = {name: _look([row[place] for _, row in rows if place < len(row)]) for place, name in enumerate(header)}
    if pictures is None and wanted.path_column is None:
        return FoundDataSet("table", table.parent, columns, table.name)
    root = Path(os.path.commonpath([(pictures or table.parent).resolve(), table.parent.resolve()]))
    paths = wanted.path_column or _path_column(table, header, rows)
    if paths not in header:
        raise UsageError(f"--path-column {paths}: {table} has {', '.join(header)}{near(paths, header)}")
    del columns[paths]
    return FoundDataSet("manifest", root, columns, os.path.relpath(table.resolve(), root), paths)


def check_named(source: FoundDataSet, wanted: StarterRequest) -> None:
    """UsageError that lists the columns where target or attributes are not named."""
    missing = [flag for flag, value in (("--target", wanted.target), ("--sensitive", wanted.sensitive)) if not value]
    if missing:
        told = 'name columns, or comparisons of numbers and ranges such as "age >= 30". There are:'
        raise UsageError("\n".join([f"{' and '.join(missing)}: missing; {told}", *source.described()]))


def scenario_text(name: str, source: FoundDataSet, wanted: StarterRequest, records: int | None = None) -> str:
    """The scenario as TOML with a comment wherever something was decided for the user; ``records``: how many there are,
    once somebody has counted them."""
    parts = (_head(name, wanted), _data(source, wanted), _model(source, wanted), _training(wanted, records))
    return "\n".join(line for part in parts for line in part) + "\n"


def _head(name: str, wanted: StarterRequest) -> Iterator[str]:
    yield f"# {wanted.target}, fair by {', '.join(wanted.sensitive)}."
    yield "# docs/scenario.md has every key; each can be set on the command line too, with -o KEY=VALUE."
    yield f"name = {_toml(name)}"
    yield "seed = 0"
    yield 'compare = ["erm"]                # the same training without fairness, to compare with'


def _data(source: FoundDataSet, wanted: StarterRequest) -> Iterator[str]:
    yield "\n[data]"
    yield f"dataset = {_toml(source.dataset)}"
    yield f"root = {_toml(str(source.root.resolve()))}"
    if source.file is not None:
        yield f"file = {_toml(source.file)}"
    if source.path_column is not None:
        yield f"path_column = {_toml(source.path_column)}"
    for key in ("id_column", "person_column"):
        value = getattr(wanted, key)
        if value is not None:
            yield f"{key} = {_toml(value)}"
    if source.dataset in ("manifest", "huggingface", "table") and wanted.person_column is None:
        yield '# person_column = "..."        # without it every record counts as another person\'s'
    yield f"target = {_toml(wanted.target)}"
    yield f"sensitive = {_toml(list(wanted.sensitive))}"
    unions = dict(_union(text) for text in wanted.groups)
    yield f"split = {{ developer = {TRAINED_ON}, auditor = 0.0, test = {1 - TRAINED_ON:.1f} }}    # everybody is used"
    if source.dataset != "table":
        yield f"image_size = {112 if wanted.weights else 64}"
    for attribute, made in unions.items():
        yield f"\n[data.groups.{_toml(attribute)}]"
        yield from (f"{_toml(name)} = {_toml(values)}" for name, values in made.items())


def _union(text: str) -> tuple[str, dict[str, list[str]]]:
    """An attribute and its groups by name, of "race=White,Asian+Indian": a group is called as it is written."""
    attribute, equals, rest = text.partition("=")
    groups = [part.strip() for part in rest.split(",")]
    made = {name: [value.strip() for value in name.split("+")] for name in groups}
    if not (attribute.strip() and equals and len(groups) > 1) or not all(all(values) for values in made.values()):
        raise UsageError(
            f"--groups {text}: expected ATTRIBUTE=GROUP,GROUP,..., values of one group joined by +, for instance "
            "race=White,Asian+Indian+Other"
        )
    return attribute.strip(), made


def _model(source: FoundDataSet, wanted: StarterRequest) -> Iterator[str]:
    if source.dataset == "table":
        return
    yield "\n[backbone]"
    if wanted.weights is None:
        yield "# the small one that comes with the program has seen drawn portraits alone: good for trying things out."
        yield "# For results that count give weights of a real one: secure-fair init ... --weights FILE"
        yield f"name = {_toml(EMBEDDED_BACKBONE)}"
        yield 'weights = "embedded"'
    else:
        yield f"name = {_toml(wanted.backbone or REAL_BACKBONE)}"
        known = wanted.weights if wanted.weights == "timm" else str(Path(wanted.weights).resolve())
        yield f"weights = {_toml(known)}"
    yield "\n[lora]"
    yield f"last_blocks = {4 if wanted.weights else 2}                   # of more blocks training takes longer"


def _training(wanted: StarterRequest, records: int | None) -> Iterator[str]:
    yield "\n[train]"
    yield "epochs = 4"
    training = int(TRAINED_ON * (records or 0))
    if 1 < training < TrainingLoop().batch_size:
        yield f"batch_size = {2 ** (training.bit_length() - 1):<19}# of so few records"
    yield "\n[method]"
    yield 'name = "parity"                  # equal selection rates; "odds": equal error rates'
    yield "strength = 4.0"
    yield "\n[secure]"
    yield 'mode = "secure"                  # "plain": in one process, in the clear; faster, and protects nobody'
    yield "\n[privacy]"
    yield f"epsilon = {wanted.epsilon:g}                     # of what training opens about each record's attribute"
    yield f"evaluation_epsilon = {wanted.epsilon:g}          # of the counts that the fairness audit is made from"
    yield f"delta = {DELTA:g}"


def _toml(value: Any) -> str:
    return json.dumps(value, ensure_ascii=False)  # a JSON string, or list of them, is TOML's too


def _is_utkface(folder: Path) -> bool:
    names = [file.name for file in islice(folder.rglob("*.jpg"), LOOKED_AT)]
    return bool(names) and sum(utkface.NAME.match(name) is not None for name in names) > len(names) / 2


def _only_table(pictures: Path | None) -> Path:
    assert pictures is not None
    found = sorted(pictures.glob("*.csv")) or sorted(pictures.parent.glob("*.csv"))
    if len(found) != 1:
        told = f"there are {', '.join(str(file) for file in found)}" if found else "there is no CSV in it or beside it"
        raise UsageError(f"--table: missing; {told}; name the CSV that says what is true of each picture")
    return found[0]


def _path_column(table: Path, header: Sequence[str], rows: Sequence[tuple[int, list[str]]]) -> str:
    """The column whose first cells are files, seen from the CSV's folder."""
    for place, name in enumerate(header):
        cells = [row[place] for _, row in rows[:LOOKED_AT] if place < len(row)]
        if cells and sum(bool(cell) and (table.parent / cell).is_file() for cell in cells) > len(cells) / 2:
            return name
    raise UsageError(
        f"--path-column: no column of {table} ({', '.join(header)}) has paths of files as seen from {table.parent}; "
        "put the CSV into the folder that its paths begin in, or name the column"
    )


def _look(cells: Sequence[str]) -> str:
    """A column in a few words."""
    found = {cell.strip() for cell in cells}
    values = sorted(found, key=lambda text: ([int(part) for part in re.findall(r"\d+", text)], text))
    if len(values) > SHOWN:
        return f"{len(values)} values: {', '.join(values[:SHOWN])}, ..."
    return f"{len(values)} values: {', '.join(values)}"
