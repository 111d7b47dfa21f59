"""The developer's store in an audit: a folder with decisions or scores by keyed record id, in the order of the ids."""

from __future__ import annotations

import csv
from collections.abc import Iterator
from pathlib import Path

import numpy as np

from secure_fair.data.columns import ID_DIGITS, hexadecimal, read_table, table_bytes
from secure_fair.data.decisions import NO_LABEL, Decisions, digest_of
from secure_fair.data.store import record_ids
from secure_fair.errors import UsageError
from secure_fair.files import private_folder, write_bytes
from secure_fair.ids import Ids, as_ids, ascending, order

RECORDS = "decisions.csv"
_MEASURED = ("selected", "score")
_VALUE_WIDTH = 30  # of a number as it is written


def write_decisions(folder: Path, decisions: Decisions, join_key: bytes | None) -> None:
    """Write the store, under ids by a key, or without one under those that it has, which a matching has made.
    UsageError where the folder holds something."""
    if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
        raise UsageError(f"{folder}: exists already: choose another folder or remove it")
    private_folder(folder)
    names = decisions.ids if join_key is None else record_ids(join_key, map(digest_of, decisions.ids))
    ids = as_ids(names)
    measured = _MEASURED[decisions.selected is None]
    values = decisions.selected if decisions.selected is not None else decisions.scores
    assert values is not None  # one of the two
    written = np.array([repr(value).encode() for value in values.tolist()])
    labels = np.full(len(ids), b"") if decisions.labels is None else decisions.labels.astype("S1")
    by_id = order(ids)
    write_bytes(folder / RECORDS, table_bytes({"id": ids, measured: written, "label": labels}, by_id))


def read_store(folder: Path) -> Decisions:
    """Read what ``write_decisions`` has written; UsageError for anything else."""
    file = folder / RECORDS
    if not file.is_file():
        raise UsageError(f"{folder}: holds no {RECORDS}; it should be a developer's store for an audit")
    with file.open(encoding="utf-8", newline="") as opened:
        header = next(csv.reader(opened), [])
    columns = None
    if len(header) == 3 and header[1] in _MEASURED:
        columns = read_table(file, ("id", header[1], "label"), (ID_DIGITS, _VALUE_WIDTH, 1))
    if columns is None:
        raise UsageError(f"{file}:1: not as it was written: prepare the store again")
    ids, values, labels = columns
    try:
        numbers = values.astype(np.float64)
        codes = None if not labels.any() else labels.astype(np.int64)
    except ValueError as error:
        raise UsageError(f"{file}: not as it was written: {error}: prepare the store again") from error
    problem = next(_problems(ids, numbers, codes, header[1]), None)
    if problem:
        raise UsageError(f"{file}: {problem}: prepare the store again")
    scores = header[1] == _MEASURED[1]
    return Decisions(ids, None if scores else numbers.astype(np.int64), numbers if scores else None, codes)


def _problems(ids: Ids, values: np.ndarray, labels: np.ndarray | None, measured: str) -> Iterator[str]:
    if not hexadecimal(ids, ID_DIGITS):
        yield f"an id is not {ID_DIGITS} hex digits"
    if not ascending(ids):
        yield "an id is there twice, or they are not in their order"
    if not ((values >= 0) & (values <= 1)).all() or (measured == _MEASURED[0] and not np.isin(values, (0, 1)).all()):
        yield f"a value of {measured} is out of range"
    if labels is not None and not np.isin(labels, (0, 1, NO_LABEL)).all():
        yield "a label is out of range"
