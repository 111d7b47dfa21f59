"""The table of a data set: inputs, labels and attributes together, as only the launcher may see them."""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Literal, Self

import numpy as np

from secure_fair.data import celeba, faces, huggingface, manifest, tabular, utkface
from secure_fair.data.encoding import Column, Encoding
from secure_fair.data.kinds import KEYS
from secure_fair.data.pictures import Decoded, decode_all, select
from secure_fair.data.records import (
    SPLITS,
    Attribute,
    Expression,
    Listing,
    Problem,
    Progress,
    Record,
    describe_problems,
    parse_columns,
    parse_request,
)
from secure_fair.data.unions import Unions, united
from secure_fair.errors import UsageError

REPEATED = "duplicate picture"  # the kind of problem that is no reason to refuse a data set: the first one is kept
FACES = 3000  # portraits drawn where neither records nor limit says how many

_SOURCES: dict[str, Callable[..., Listing]] = {
    "utkface": utkface.list_records,
    "celeba": celeba.list_records,
    "manifest": manifest.list_records,
    "huggingface": huggingface.list_records,
    "table": tabular.list_records,
}


@dataclass
class AttributeTable:
    """N records with attributes, and no task. ``inputs``: pictures, uint8 (N, S, S, 3), perhaps memory-mapped, or a
    table's rows, float64 (N, c) as ``columns`` say and float32 (N, d) once they are ``encoded``. ``digests`` SHA-256 in
    hex, all different.

    A digest is of the file's bytes, of the pixels where the picture was drawn, or of a row. ``given_split`` has
    "developer", "auditor" or "test" for each record, ``persons`` whose it is, where the data set says so. ``skipped``
    lists what was left out and why. ``names`` are the data set's own: paths below its folder, ids or lines of rows;
    ``own_ids`` are of its column of ids, where it has one. They may tell attributes (UTKFace's do), so no party's store
    has them. ``record_ids``: those of the stores, where the parties have matched them; else a join key makes them.
    ``notes``: what was read though it is odd.
    """

    inputs: np.ndarray
    digests: list[str]
    sensitive: dict[str, Attribute]
    given_split: np.ndarray | None = None
    persons: list[str] | None = None
    skipped: list[Problem] = field(default_factory=list)
    columns: tuple[Column, ...] = ()
    encoding: Encoding | None = None
    names: list[str] = field(default_factory=list)
    own_ids: list[str] | None = None
    record_ids: list[str] | None = None
    notes: tuple[str, ...] = ()

    def __len__(self) -> int:
        return len(self.digests)

    def encoded(self, training: np.ndarray) -> Self:
        """The same with a table's rows as features, by the statistics of the rows ``training`` and of no others.

        Pictures stay as they are.
        """
        if not self.columns:
            return self
        encoding = Encoding.fit(self.columns, self.inputs[training])
        return replace(self, inputs=encoding.encode(self.columns, self.inputs), encoding=encoding)


@dataclass
class Dataset(AttributeTable):
    """The same with the labels of a task."""

    target: Attribute = field(kw_only=True)


def load_table(
    dataset: str,
    *,
    root: Path | None = None,
    target: str,
    sensitive: Sequence[str],
    image_size: int,
    cache: Path,
    **options: Any,
) -> Dataset:
    """Load ``faces``, ``utkface``, ``celeba``, ``manifest``, ``huggingface`` or ``table``, labelled as asked for.

    ``target`` and ``sensitive`` are columns, compared with a number ("age > 35") or cut at numbers ("age cut at 30 and
    60") where they are numbers. Pictures are decoded once and kept below ``cache``. ``options`` for every data set:
    ``limit`` (none) takes that many records, chosen by the hash of their names, so that neither order nor anything in
    the names decides; ``on_bad`` ("refuse"); ``progress``; ``unions``: by attribute and group, the values that it is
    made of; ``seed`` (0) determines the portraits, and nothing else depends on it. Those of one: faces: records,
    correlation, base_rate; celeba: partition, identities; manifest, huggingface and table: file,
    id_column, split_column, person_column, classes; the former two: path_column; table: evaluation_file, features,
    categories.

    With ``on_bad="refuse"`` any bad record is a UsageError with the first of them and their number; the table is read
    before the pictures are. With "skip" they are left out and listed in ``skipped``. Of files with the same bytes the
    first is kept and the others are listed, whatever ``on_bad`` says; where their labels differ all of them are bad.
    Equal rows of a table are different people's.
    """
    parse_request(target, sensitive)
    return _labelled(_load(dataset, root, target, sensitive, image_size, cache, **options), target)


def load_labels(
    dataset: str, *, root: Path | None = None, target: str, image_size: int, cache: Path, **options: Any
) -> Dataset:
    """The same without sensitive attributes: pictures and labels alone. Of a table, every other column is a feature."""
    return _labelled(_load(dataset, root, target, (), image_size, cache, **options), target)


def load_attributes(
    dataset: str, *, root: Path | None = None, sensitive: Sequence[str], image_size: int, cache: Path, **options: Any
) -> AttributeTable:
    """The same without a task: pictures and sensitive attributes alone."""
    return _load(dataset, root, None, sensitive, image_size, cache, **options)


def _labelled(table: AttributeTable, target: str) -> Dataset:
    """The table whose first column is the target's."""
    labels, *sensitive = table.sensitive.values()
    assert labels.name == target.strip()
    columns = {attribute.name: attribute for attribute in sensitive}
    return Dataset(**{**vars(table), "sensitive": columns}, target=labels)


def _load(
    dataset: str,
    root: Path | None,
    target: str | None,
    sensitive: Sequence[str],
    image_size: int,
    cache: Path,
    *,
    limit: int | None = None,
    on_bad: Literal["refuse", "skip"] = "refuse",
    progress: Progress | None = None,
    seed: int = 0,
    unions: Unions | None = None,
    **dataset_options: Any,
) -> AttributeTable:
    """All columns, the target's first where there is one, as attributes of one table."""
    if dataset not in KEYS:
        raise UsageError(f"unknown data set {dataset!r}: choose from {', '.join(KEYS)}")
    if on_bad not in ("refuse", "skip"):
        raise UsageError(f"on_bad is {on_bad!r}: choose refuse or skip")
    if limit is not None and limit < 1:
        raise UsageError(f"limit is {limit}: it must be at least 1")
    expressions = parse_columns(_named(target, sensitive))
    unknown = dataset_options.keys() - KEYS[dataset]
    if unknown:
        has = f"it has {', '.join(sorted(KEYS[dataset]))}" if KEYS[dataset] else "it has none"
        raise UsageError(f"{dataset} has no option {', '.join(sorted(unknown))}: {has}")
    if dataset == "faces":
        return _draw_faces(target, sensitive, image_size, limit, progress, seed, **dataset_options)
    listing = _SOURCES[dataset](root, expressions, **dataset_options)
    _refuse(listing.problems, on_bad)
    listing = united(listing, expressions, unions or {})
    places = _limited(listing.records, limit)
    _require_groups(listing, places, expressions)
    if isinstance(listing, tabular.RowListing):
        return _rows(listing, places, expressions, root)
    records = [listing.records[place] for place in places]

    def decoded_so_far(done: int, total: int) -> None:
        if progress is not None:
            progress("pictures", done, total)

    decoded = decode_all([(r.name, r.file) for r in records], image_size, cache, decoded_so_far)
    broken = [Problem(_place(records[row]), *failure) for row, failure in decoded.failures.items()]
    conflicts, repeats = _duplicates(records, decoded)
    _refuse(broken + list(conflicts.values()), on_bad)
    left_out = decoded.failures.keys() | conflicts.keys() | repeats.keys()
    rows = np.array([row for row in range(len(records)) if row not in left_out], dtype=np.int64)
    bad = [*listing.problems, *broken, *conflicts.values()]
    _require_records(rows, bad, root)
    table = _table_of(
        [records[row] for row in rows],
        expressions,
        listing.groups,
        inputs=select(decoded, rows, cache),
        digests=[decoded.digests[row] for row in rows],
    )
    return replace(table, skipped=[*bad, *repeats.values()], notes=listing.notes)


def _rows(
    listing: tabular.RowListing, places: Sequence[int], expressions: Sequence[Expression], root: Path | None
) -> AttributeTable:
    """The rows at these places of a table."""
    _require_records(places, listing.problems, root)
    table = _table_of(
        [listing.records[place] for place in places],
        expressions,
        listing.groups,
        inputs=listing.inputs[places],
        digests=[listing.digests[place] for place in places],
    )
    names = table.names if table.own_ids is None else table.own_ids
    return replace(table, skipped=listing.problems, columns=listing.columns, names=names)


def _require_records(kept: Sequence[int] | np.ndarray, problems: Sequence[Problem], root: Path | None) -> None:
    if not len(kept):
        told = describe_problems(problems) if problems else []
        raise UsageError([*told, f"{root}: no usable record is left"])


def _require_groups(listing: Listing, places: Sequence[int], expressions: Sequence[Expression]) -> None:
    """UsageError for every column by which all of the records at these places are alike."""
    problems = []
    for column, expression in enumerate(expressions):
        found = {listing.records[place].codes[column] for place in places}
        if len(found) == 1:
            problems.append(
                f"{expression.text!r}: all {len(places)} records are {listing.groups[column][found.pop()]!r}; name "
                "another column, or another number, that tells some of them from the others"
            )
    if problems:
        raise UsageError(problems)


def _table_of(
    kept: Sequence[Record],
    expressions: Sequence[Expression],
    groups: Sequence[tuple[str, ...]],
    *,
    inputs: np.ndarray,
    digests: list[str],
) -> AttributeTable:
    """The table of these records, in their order."""
    codes = np.array([record.codes for record in kept], dtype=np.int64)
    attributes = [Attribute(e.text, codes[:, i].copy(), groups[i]) for i, e in enumerate(expressions)]
    return AttributeTable(
        inputs=inputs,
        digests=digests,
        sensitive={attribute.name: attribute for attribute in attributes},
        given_split=None if kept[0].split is None else np.array([record.split for record in kept]),
        persons=None if kept[0].person is None else [str(record.person) for record in kept],
        names=[record.name for record in kept],
        own_ids=None if kept[0].own_id is None else [str(record.own_id) for record in kept],
    )


@dataclass(frozen=True)
class Census:
    """The number of records that ``load_table`` would find, and the groups of each sensitive attribute, from the tables
    alone. ``given``: how many of them the data set itself gives to developer, auditor and test; None if it does not.
    ``separate``: how many records the auditors' own data set has, where they have one. ``classes`` of the task."""

    records: int
    groups: dict[str, tuple[str, ...]]
    given: dict[str, int] | None = None
    separate: int | None = None
    classes: int = 2


def count_records(
    dataset: str,
    *,
    root: Path | None,
    target: str | None = None,
    sensitive: Sequence[str],
    limit: int | None = None,
    unions: Unions | None = None,
    **dataset_options: Any,
) -> Census:
    """Count the records and groups of a data set; no picture is opened, so that broken ones are counted too."""
    if dataset == "faces":
        count = int(dataset_options.get("records", FACES))
        groups = {name: faces.ATTRIBUTES[name] for name in sensitive if name in faces.ATTRIBUTES}
        classes = len(faces.ATTRIBUTES.get(str(target), ("no", "yes")))
        return Census(count if limit is None else min(count, limit), groups, classes=classes)
    expressions = parse_columns(_named(target, sensitive))
    listing = united(_SOURCES[dataset](root, expressions, **dataset_options), expressions, unions or {})
    places = _limited(listing.records, limit)
    _require_groups(listing, places, expressions)
    splits = Counter(listing.records[place].split for place in places)
    given = None if None in splits else {name: splits[name] for name in SPLITS}
    held = dict(zip(sensitive, listing.groups[-len(sensitive) :], strict=True))
    return Census(len(places), held, given, classes=2 if target is None else len(listing.groups[0]))


def _draw_faces(
    target: str | None,
    sensitive: Sequence[str],
    image_size: int,
    limit: int | None,
    progress: Progress | None,
    seed: int,
    *,
    records: int = FACES,
    correlation: float = 0.0,
    base_rate: float = 0.5,
) -> AttributeTable:
    """Portraits; the correlation is between the target and the first sensitive attribute."""
    wanted = _named(target, sensitive)
    unknown = [name for name in wanted if name not in faces.ATTRIBUTES]
    if unknown:
        raise UsageError(
            [f"faces have no attribute {name!r}: choose from {', '.join(faces.ATTRIBUTES)}" for name in unknown]
        )

    def drawn(done: int, total: int) -> None:
        if progress is not None:
            progress("portraits", done, total)

    n = records if limit is None else min(records, limit)
    pictures, codes = faces.draw(
        n,
        seed,
        target,
        sensitive[0] if sensitive else None,
        correlation,
        image_size,
        base_rate=base_rate,
        progress=drawn,
    )
    return AttributeTable(
        inputs=pictures,
        digests=[hashlib.sha256(picture.tobytes()).hexdigest() for picture in pictures],
        sensitive={name: Attribute(name, codes[name], faces.ATTRIBUTES[name]) for name in wanted},
        names=[f"portrait {number}" for number in range(1, n + 1)],
    )


def _named(target: str | None, sensitive: Sequence[str]) -> tuple[str, ...]:
    """The columns asked for, the target's first where there is one."""
    return tuple(sensitive) if target is None else (target, *sensitive)


def _refuse(problems: list[Problem], on_bad: str) -> None:
    if problems and on_bad == "refuse":
        remedy = 'repair them, or set data.on_bad to "skip" to leave them out; "secure-fair data check" lists all'
        raise UsageError([*describe_problems(problems), remedy])


def _limited(records: Sequence[Record], limit: int | None) -> list[int]:
    """The places of the records that are used, ascending."""
    if limit is None or limit >= len(records):
        return list(range(len(records)))
    by_hash = sorted(range(len(records)), key=lambda i: hashlib.sha256(records[i].name.encode()).digest())
    return sorted(by_hash[:limit])


def _place(record: Record) -> str:
    return record.place if record.place == record.name else f"{record.place} ({record.name})"


def _duplicates(records: Sequence[Record], decoded: Decoded) -> tuple[dict[int, Problem], dict[int, Problem]]:
    """Rows whose files have the same bytes: all of them where labels or splits differ, else all but the first."""
    rows_of: dict[str, list[int]] = {}
    for row, digest in enumerate(decoded.digests):
        if digest:
            rows_of.setdefault(digest, []).append(row)
    conflicts: dict[int, Problem] = {}
    repeats: dict[int, Problem] = {}
    for rows in rows_of.values():
        first = records[rows[0]]
        if len({(records[row].codes, records[row].split, records[row].person) for row in rows}) > 1:
            for row in rows:
                others = ", ".join(records[other].name for other in rows if other != row)
                text = f"same bytes as {others}, other labels: nobody can tell which are right"
                conflicts[row] = Problem(_place(records[row]), "conflicting duplicate", text)
        else:
            for row in rows[1:]:
                text = f"same bytes and labels as {first.name}, which is kept"
                repeats[row] = Problem(_place(records[row]), REPEATED, text)
    return conflicts, repeats
