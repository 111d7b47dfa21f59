"""The parties' stores: a folder per party with what that party may know, and nothing else.

A record's id is an HMAC of its digest under a join key, which only who prepares holds: both sides can match ids, and
without it nobody can compute one. Or it is random, where a matching has made it. Records lie in an order that follows
from the seed and the inputs, or from the ids: no order of the data set survives, for that order can tell attributes
(UTKFace's names sort by them).

Inputs are pictures, or a table's rows once they are encoded; a store of rows has the encoding too, if it is the
developer's. docs/stores.md describes every file.
"""

from __future__ import annotations

import csv
import hmac
import io
import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from secure_fair.data.columns import (
    ID_DIGITS,
    PARTS,
    PERSON,
    SPLIT,
    check_parts,
    read_codes,
    read_holdings,
    read_ids,
    read_rows,
    table_bytes,
)
from secure_fair.data.encoding import Encoding
from secure_fair.data.inputs import (
    PICTURES,
    ROWS,
    SIZES,
    file_name,
    order_of,
    read_inputs,
    size_of,
    write_inputs,
)
from secure_fair.data.table import AttributeTable, Dataset
from secure_fair.errors import Refusal, UsageError
from secure_fair.files import atomic_write, write_bytes
from secure_fair.ids import Ids, Names, as_ids, as_text, ascending, find, order

FORMAT = 2  # of every store, in its meta.json; 1 did not say whether the auditor knows the split
KEY_BYTES = 32
ATTRIBUTES = "attributes.csv"  # an auditor's table
META = "meta.json"  # of any store: names of groups or classes, and sizes
WORKING_FOLDER = "cache"  # where a party may keep what it computes from its own store
_AUDITORS_META = {"groups", "persons", SPLIT}
_ENCODING = "encoding.json"  # of a table's columns, which the developer may know


def record_ids(join_key: bytes, digests: Iterable[str]) -> list[str]:
    """The first 128 bits, in hex, of HMAC-SHA256(join key, digest). The key is 32 bytes from the operating system."""
    if len(join_key) != KEY_BYTES:
        raise UsageError(f"the join key has {len(join_key)} bytes: it must have {KEY_BYTES}, from the operating system")
    return [hmac.digest(join_key, digest.encode(), "sha256").hex()[:ID_DIGITS] for digest in digests]


def person_ids(join_key: bytes, persons: Iterable[str]) -> list[str]:
    """The same of persons' names, which give other ids than any digest does."""
    return record_ids(join_key, (f"person {name}" for name in persons))


def ids_of(table: AttributeTable, rows: np.ndarray, join_key: bytes) -> list[str]:
    """The ids of these rows of a table: those that a matching gave them, else by the join key."""
    if table.record_ids is not None:
        return [table.record_ids[row] for row in rows]
    return record_ids(join_key, (table.digests[row] for row in rows))


@dataclass(frozen=True)
class DeveloperStore:
    """The developer's part of N records: inputs, labels, which are for training; no attribute.

    ``inputs``: pictures, uint8 (N, S, S, 3), or a table's rows, float32 (N, d), memory-mapped; ``labels`` int64 (N,),
    indices into ``classes``; ``training`` and ``test``: ascending int64 indices that partition 0 .. N-1. ``encoding``:
    how a table's columns became the rows.
    """

    inputs: np.ndarray
    ids: list[str]
    labels: np.ndarray
    classes: tuple[str, ...]
    training: np.ndarray
    test: np.ndarray
    encoding: Encoding | None = None

    @staticmethod
    def write(
        folder: Path, table: Dataset, *, training: np.ndarray, test: np.ndarray, join_key: bytes, seed: int
    ) -> None:
        """Write the records whose indices into ``table`` are ``training`` and ``test``; the folder appears whole.

        Only inputs, target and digests of the table are read. Raises UsageError where the folder holds something.
        """
        rows = np.concatenate([training, test])
        _check_rows(rows, len(table))
        ids = ids_of(table, rows, join_key)
        order = order_of(table.inputs, rows, ids, seed)
        with _new_folder(folder) as new:
            write_inputs(new / file_name(table.inputs), table.inputs, rows[order])
            records = [
                (ids[i], str(table.target.codes[rows[i]]), "train" if i < len(training) else "test") for i in order
            ]
            _write_csv(new / "records.csv", ("id", "label", SPLIT), records)
            if table.encoding is not None:
                write_bytes(new / _ENCODING, table.encoding.text())
            _write_meta(new, {"classes": list(table.target.groups), **size_of(table.inputs)})

    @classmethod
    def open(cls, folder: Path) -> DeveloperStore:
        """Read a store. Raises UsageError for anything in the folder that is not as ``write`` leaves it."""
        tabular = (folder / ROWS).exists()
        _check_files(folder, {"records.csv", META} | ({ROWS, _ENCODING} if tabular else {PICTURES}))
        meta = _read_meta(folder, {"classes"}, SIZES[ROWS if tabular else PICTURES])
        classes = _names(folder, meta["classes"])
        rows = read_rows(folder / "records.csv", ("id", "label", SPLIT))
        ids = read_ids(folder / "records.csv", rows)
        labels = read_codes(folder / "records.csv", rows, 1, len(classes))
        check_parts(folder / "records.csv", [row[2] for row in rows])
        inputs = read_inputs(folder / (ROWS if tabular else PICTURES), len(rows), meta)
        in_training = np.array([row[2] == "train" for row in rows], dtype=bool)
        training, test = np.flatnonzero(in_training), np.flatnonzero(~in_training)
        encoding = _read_encoding(folder / _ENCODING, inputs.shape[1]) if tabular else None
        return cls(inputs, ids, labels, classes, training, test, encoding)


@dataclass(frozen=True)
class OwnRecords:
    """Inputs of the auditor's own: pictures, uint8 (M, S, S, 3), or rows, float32 (M, d), their ids, and int64 (M,)
    codes of every attribute held.

    ``persons``: ids of those whose they are, where the data set says so.
    """

    inputs: np.ndarray
    ids: list[str]
    codes: dict[str, np.ndarray]
    persons: list[str] | None = None


@dataclass(frozen=True)
class AuditorStore:
    """An auditor's holdings: attributes of records that the developer has, by id, and perhaps pictures of its own.

    ``known``: ids of the records; ``persons``: of those whose they are, in the same order, where the data set says so.
    ``parts``: "train" or "test" of each, where this auditor knows it by itself, and believes nobody who says otherwise.
    """

    folder: Path
    known: Ids  # ascending
    groups: dict[str, tuple[str, ...]]
    _codes: Mapping[str, np.ndarray]
    persons: Ids | None = None
    parts: Ids | None = None

    @property
    def attributes(self) -> tuple[str, ...]:
        """Names of the attributes held."""
        return tuple(self.groups)

    @property
    def ids(self) -> list[str]:
        """The ids of the records as text."""
        return as_text(self.known)

    def codes(self, attribute: str, ids: Sequence[str] | None = None) -> np.ndarray:
        """Group codes, int64, of the records with these ids, in their order; of all in ``known`` by default.

        Raises Refusal for ids that are not held, told apart by nothing but the ids.
        """
        if ids is None:
            return self._codes[attribute]
        rows = find(as_ids(ids), self.known)
        if (rows < 0).any():
            raise Refusal(
                f"{int((rows < 0).sum())} of {len(ids)} records are not held here, the first is "
                f"{ids[int(np.argmax(rows < 0))]}: both stores must come from the same data set and join key"
            )
        return self.codes_at(attribute, rows)

    def codes_at(self, attribute: str, rows: np.ndarray) -> np.ndarray:
        """Group codes, int64, of the records at these ``rows`` of ``known``; -1 where a row is negative."""
        return np.where(rows < 0, -1, self._codes[attribute][rows]) if len(self.known) else np.full(len(rows), -1)

    def persons_of(self, ids: Names) -> Ids | None:
        """Whose each record is, "" for records that are not held; None altogether where the store has no persons."""
        if self.persons is None:
            return None
        rows = find(as_ids(ids), self.known)
        return np.where(rows < 0, b"", self.persons[rows]) if len(self.known) else np.full(len(rows), b"")

    def misplaced(self, ids: Names, training: int) -> int:
        """How many of the records that are held here are in another part than they should be, if the first ``training``
        of ``ids`` are to train on, and the others to test on; 0 where the store does not know."""
        if self.parts is None:
            return 0
        rows = find(as_ids(ids), self.known)
        to_train, here = np.arange(len(rows)) < training, rows >= 0
        return int((to_train[here] != (self.parts[rows[here]] == PARTS[0].encode())).sum())

    def own(self) -> OwnRecords:
        """The auditor's own pictures. Raises UsageError where the store has none."""
        if not (self.folder / "own.csv").is_file():
            raise UsageError(
                f"{self.folder}: no pictures of the auditor's own (own.npy): give data.split.auditor a share"
            )
        meta = _read_meta(self.folder, _AUDITORS_META, *SIZES.values())
        ids, further, codes = read_holdings(self.folder / "own.csv", self.groups, [PERSON] * bool(meta["persons"]))
        inputs = read_inputs(self.folder / "own.npy", len(ids), meta)
        whose = as_text(further[PERSON]) if PERSON in further else None
        return OwnRecords(inputs, as_text(ids), codes, whose)

    @staticmethod
    def write(
        folder: Path,
        table: AttributeTable,
        *,
        attributes: Sequence[str],
        aligned: np.ndarray,
        own: np.ndarray,
        join_key: bytes,
        seed: int,
        training: np.ndarray | None = None,
    ) -> None:
        """Write ``attributes`` of the records ``aligned``, in the order of their ids, and the records ``own`` in full.

        Both are indices into ``table`` with none in common: no picture of the developer's gets into this store, nor
        any label. ``training``: those of ``aligned`` that are to train on, where the auditor knows it. Raises
        UsageError for unknown attributes and where the folder holds something.
        """
        unknown = ", ".join(name for name in attributes if name not in table.sensitive)
        if unknown or not attributes:
            choice = ", ".join(table.sensitive)
            raise UsageError(f"an auditor cannot get {unknown or 'no attribute'}: choose from {choice}")
        rows = np.concatenate([aligned, own]).astype(np.int64)
        _check_rows(rows, len(table))
        ids = ids_of(table, rows, join_key)

        named = table.persons is not None
        columns = {"id": as_ids(ids)}
        if table.persons is not None:
            columns[PERSON] = as_ids(person_ids(join_key, (table.persons[row] for row in rows)))
        codes = {name: table.sensitive[name].codes[rows].astype("S8") for name in attributes}
        parts = {} if training is None else {SPLIT: np.where(np.isin(aligned, training), *map(str.encode, PARTS))}

        by_id = order(columns["id"][: len(aligned)])
        with _new_folder(folder) as new:
            write_bytes(new / ATTRIBUTES, table_bytes(columns | parts | codes, by_id))
            groups = {name: list(table.sensitive[name].groups) for name in attributes}
            meta: dict[str, Any] = {"groups": groups, "persons": named, SPLIT: training is not None}
            if len(own):
                own_order = order_of(table.inputs, rows[len(aligned) :], ids[len(aligned) :], seed) + len(aligned)
                write_inputs(new / "own.npy", table.inputs, rows[own_order])
                write_bytes(new / "own.csv", table_bytes(columns | codes, own_order))
                meta |= size_of(table.inputs)
            _write_meta(new, meta)

    @classmethod
    def open(cls, folder: Path) -> AuditorStore:
        """Read a store. Raises UsageError for anything in the folder that is not as ``write`` leaves it."""
        own = {"own.npy", "own.csv"} if (folder / "own.npy").exists() or (folder / "own.csv").exists() else set()
        _check_files(folder, {ATTRIBUTES, META} | own)
        meta = _read_meta(folder, _AUDITORS_META, *(SIZES.values() if own else ()))
        if not isinstance(meta["groups"], dict) or not meta["groups"]:
            raise UsageError(f"{folder / META}: groups must name the groups of each attribute")
        groups = {name: _names(folder, names) for name, names in meta["groups"].items()}
        table = folder / ATTRIBUTES
        further = [PERSON] * bool(meta["persons"]) + [SPLIT] * bool(meta[SPLIT])
        ids, found, codes = read_holdings(table, groups, further)
        if not ascending(ids):
            raise UsageError(f"{table}: ids are not in ascending order: write the store again")
        store = cls(folder, ids, groups, codes, found.get(PERSON), found.get(SPLIT))
        if own:
            both = int((find(as_ids(store.own().ids), ids) >= 0).sum())
            if both:
                raise UsageError(f"{folder}: {both} records are the auditor's own and the developer's: write it again")
        return store


def _check_rows(rows: np.ndarray, n: int) -> None:
    if len(np.unique(rows)) != len(rows) or (len(rows) and not 0 <= rows.min() <= rows.max() < n):
        raise UsageError(f"records must be different indices below {n}: a record is one party's and in one part")


# --- writing ----------------------------------------------------------------------------------------------------------


@contextmanager
def _new_folder(folder: Path) -> Iterator[Path]:
    """A folder to fill, which takes the name of ``folder`` once it is complete; that must be new or empty."""
    if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
        raise UsageError(f"{folder} exists already: choose another folder or remove it")
    folder.parent.mkdir(parents=True, exist_ok=True)
    with atomic_write(folder) as new:
        new.mkdir(mode=0o700)
        yield new


def _write_csv(file: Path, header: Sequence[str], rows: Iterable[Sequence[str]]) -> None:
    text = io.StringIO(newline="")
    csv.writer(text, lineterminator="\n").writerows([header, *rows])
    write_bytes(file, text.getvalue().encode())


def _write_meta(folder: Path, values: Mapping[str, Any]) -> None:
    write_bytes(folder / META, (json.dumps({"format": FORMAT, **values}, indent=2) + "\n").encode())


# --- reading ----------------------------------------------------------------------------------------------------------


def _check_files(folder: Path, expected: set[str]) -> None:
    if not folder.is_dir():
        raise UsageError(f"{folder}: no such folder; it should be a party's store")
    found = {entry.name for entry in folder.iterdir()} - {WORKING_FOLDER}
    if found != expected:
        missing, extra = sorted(expected - found), sorted(found - expected)
        raise UsageError(
            f"{folder}: not a store of this party: "
            + "; ".join(
                f"{what} {', '.join(names)}" for what, names in (("lacks", missing), ("has also", extra)) if names
            )
        )


def _read_meta(folder: Path, keys: set[str], *sizes: str) -> dict[str, Any]:
    """The meta of a store with these keys, and with one of ``sizes`` if there are any: a whole number above 0."""
    file = folder / META
    try:
        meta = json.loads(file.read_bytes())
    except (ValueError, RecursionError) as error:
        raise UsageError(f"{file}: not JSON: {error}") from error
    found = set(meta) if isinstance(meta, dict) else set()
    if "format" in found and meta["format"] != FORMAT:
        raise UsageError(
            f"{file}: the store is of format {meta['format']!r}, and this version of the program reads {FORMAT}: "
            "prepare the store again with the same join key, or use the version that wrote it"
        )
    size = found & set(sizes)
    if found != {"format", *keys, *size} or len(size) != bool(sizes):
        expected = ", ".join([*sorted(keys), *([" or ".join(sizes)] if sizes else [])])
        raise UsageError(f"{file}: expected format {FORMAT} and {expected}: write the store again")
    for key in size:
        if not isinstance(meta[key], int) or meta[key] < 1:
            raise UsageError(f"{file}: {key} is {meta[key]!r}; it must be a whole number above 0")
    return meta


def _read_encoding(file: Path, features: int) -> Encoding:
    try:
        tree = json.loads(file.read_bytes())
    except (ValueError, RecursionError) as error:
        raise UsageError(f"{file}: not JSON: {error}") from error
    encoding = Encoding.of_tree(tree, str(file))
    if len(encoding.features) != features:
        raise UsageError(f"{file}: gives {len(encoding.features)} features, the rows have {features}: write it again")
    return encoding


def _names(folder: Path, names: object) -> tuple[str, ...]:
    if not isinstance(names, list) or len(names) < 2 or not all(isinstance(name, str) for name in names):
        raise UsageError(f"{folder / META}: {names!r} must be a list of two or more names")
    return tuple(names)
