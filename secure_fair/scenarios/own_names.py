"""A developer's predictions under its own names: what its run says by record id, joined to what `prepare` wrote."""

from __future__ import annotations

import csv
import io
from collections.abc import Iterator, Mapping
from pathlib import Path

from secure_fair.data.csv_rows import read_csv, require_columns
from secure_fair.errors import UsageError
from secure_fair.files import write_bytes
from secure_fair.parties.predictions import PREDICTION, PREDICTIONS, probability_of
from secure_fair.scenarios.people import NAMES_HEADER

Line = Mapping[str, str]


def write_predictions(out: Path, names: Path, file: Path) -> int:
    """Write the predictions in a developer's folder ``out`` under the names in ``names``; returns how many.

    A score is the probability of the second of two classes, else there is one of each class. UsageError where the two
    are not of the same records, or ``file`` exists.
    """
    if file.exists():
        raise UsageError(f"--output {file}: exists already; name another file")
    by_record = {line["record"]: line for line in _lines(names, NAMES_HEADER)}
    said = _lines(out / PREDICTIONS, ("id", "label", PREDICTION))
    unknown = sum(line["id"] not in by_record for line in said)
    if unknown:
        raise UsageError(
            f"{names}: does not have {unknown} of the {len(said)} records that were predicted; name the file that was "
            "written beside the store of this run"
        )
    prefix = probability_of("")
    classes = [column.removeprefix(prefix) for column in said[0] if column.startswith(prefix)]
    scores = {"score": classes[-1]} if len(classes) == 2 else {f"score_{name}": name for name in classes}
    text = io.StringIO(newline="")
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(["id", "file", "label", PREDICTION, *scores, "split"])
    writer.writerows(_joined(said, by_record, classes, scores))
    write_bytes(file, text.getvalue().encode())
    return len(said)


def _joined(
    said: list[Line], by_record: Mapping[str, Line], classes: list[str], scores: Mapping[str, str]
) -> Iterator[list[str]]:
    for line in said:
        own = by_record[line["id"]]
        told = (classes[int(line[column])] for column in ("label", PREDICTION))
        yield [own["id"], own["file"], *told, *(line[probability_of(name)] for name in scores.values()), own["split"]]


def _lines(file: Path, columns: tuple[str, ...]) -> list[Line]:
    try:
        header, rows = read_csv(file)
    except OSError as error:
        raise UsageError(f"{file}: cannot be read: {error.strerror}") from error
    require_columns(header, columns, file)
    if not rows:
        raise UsageError(f"{file}: has no record")
    return [dict(zip(header, cells, strict=True)) for _, cells in rows]
