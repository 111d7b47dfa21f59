"""The developer's store in an audit: a folder with decisions or scores by keyed record id, in the order of the ids."""

from __future__ import annotations

import csv
import io
from collections.abc import Iterator
from pathlib import Path

import numpy as np

from secure_fair.data.decisions import NO_LABEL, Decisions, digest_of
from secure_fair.data.store import record_ids
from secure_fair.errors import UsageError
from secure_fair.files import private_folder, write_bytes

RECORDS = "decisions.csv"
_MEASURED = ("selected", "score")


def write_decisions(folder: Path, decisions: Decisions, join_key: bytes | None) -> None:
    """Write the store, under ids by a key, or without one under those that it has, which a matching has made.
    UsageError where the folder holds something."""
    if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
        raise UsageError(f"{folder}: exists already: choose another folder or remove it")
    private_folder(folder)
    ids = decisions.ids if join_key is None else record_ids(join_key, map(digest_of, decisions.ids))
    measured = _MEASURED[decisions.selected is None]
    values = decisions.selected if decisions.selected is not None else decisions.scores
    assert values is not None  # one of the two
    labels = ["" for _ in ids] if decisions.labels is None else [str(code) for code in decisions.labels]
    lines = ((ids[i], repr(values[i].item()), labels[i]) for i in sorted(range(len(ids)), key=ids.__getitem__))
    text = io.StringIO(newline="")
    csv.writer(text, lineterminator="\n").writerows([("id", measured, "label"), *lines])
    write_bytes(folder / RECORDS, text.getvalue().encode())


def read_store(folder: Path) -> Decisions:
    """Read what ``write_decisions`` has written; UsageError for anything else."""
    file = folder / RECORDS
    if not file.is_file():
        raise UsageError(f"{folder}: holds no {RECORDS}; it should be a developer's store for an audit")
    with file.open(encoding="utf-8", newline="") as opened:
        header, *rows = csv.reader(opened)
    if len(header) != 3 or header[0] != "id" or header[1] not in _MEASURED or header[2] != "label" or not rows:
        raise UsageError(f"{file}:1: not as it was written: prepare the store again")
    try:
        ids, values, labels = zip(*rows, strict=True)
        numbers = np.array(values, dtype=np.float64)
        codes = None if not any(labels) else np.array(labels, dtype=np.int64)
    except ValueError as error:
        raise UsageError(f"{file}: not as it was written: {error}: prepare the store again") from error
    problem = next(_problems(list(ids), numbers, codes, header[1]), None)
    if problem:
        raise UsageError(f"{file}: {problem}: prepare the store again")
    scores = header[1] == _MEASURED[1]
    return Decisions(list(ids), None if scores else numbers.astype(np.int64), numbers if scores else None, codes)


def _problems(ids: list[str], values: np.ndarray, labels: np.ndarray | None, measured: str) -> Iterator[str]:
    if len(set(ids)) != len(ids):
        yield "an id is there twice"
    if not ((values >= 0) & (values <= 1)).all() or (measured == _MEASURED[0] and not np.isin(values, (0, 1)).all()):
        yield f"a value of {measured} is out of range"
    if labels is not None and not np.isin(labels, (0, 1, NO_LABEL)).all():
        yield "a label is out of range"
