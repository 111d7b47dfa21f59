"""The files of an audit: a developer's decisions or scores by record id, and an auditor's attributes by the same ids.

What is empty, or says that it is missing, is no fault: a label is then unknown, and an attribute has the group
"unknown". Everything else that cannot be right is a UsageError with its line.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from secure_fair.data.csv_rows import MOST_GROUPS, finite, natural, read_rows, require_columns, unmangle
from secure_fair.data.records import Attribute, Expression, parse_columns
from secure_fair.data.table import AttributeTable
from secure_fair.errors import UsageError
from secure_fair.ids import MOST_BYTES, Ids

UNKNOWN = "unknown"
MISSING = frozenset(("", "?", "na", "n/a", "nan", "null", "none", UNKNOWN))
NO_LABEL = 2  # beside 0 and 1


@dataclass(frozen=True)
class Columns:
    """The columns of a developer's file. ``selected``: the value of a decision, and of a label, that is the favourable
    one; None for 0 and 1. ``threshold``: scores of at least this are decisions."""

    id: str = "id"
    decision: str | None = None
    score: str | None = None
    label: str | None = None
    selected: str | None = None
    threshold: float | None = None


@dataclass(frozen=True)
class Decisions:
    """Records by id. ``selected``: int64 (n,) of 0 and 1, or None where there are ``scores``, float64 (n,).
    ``labels``: int64 (n,) of 0, 1 and ``NO_LABEL``; None where nothing is known of any."""

    ids: Sequence[str] | Ids
    selected: np.ndarray | None
    scores: np.ndarray | None
    labels: np.ndarray | None

    def strata(self, rows: np.ndarray) -> tuple[np.ndarray, int]:
        """The stratum of each of these rows, int64, and how many strata there are.

        A stratum is the label times 2 plus the decision, or the decision alone for scores, and without labels.
        A score counts as a decision where it is above the median of these rows.
        """
        decided = self.selected
        if decided is None:
            assert self.scores is not None  # one of the two
            decided = (self.scores > np.median(self.scores[rows])).astype(np.int64)
        if self.labels is None or self.scores is not None:
            return decided[rows], 2
        return self.labels[rows] * 2 + decided[rows], 2 * (NO_LABEL + 1)


def read_decisions(file: Path, columns: Columns) -> Decisions:
    """The developer's file; UsageError naming file, line, value and remedy."""
    header, rows = _table(file)
    decision, score = _measured(file, header, columns)
    label = columns.label or ("label" if "label" in header else None)
    wanted = [columns.id, decision or score, *([label] if label else [])]
    require_columns(header, [name for name in wanted if name is not None], file)
    cells = _cells(file, header, rows, wanted)
    ids = _ids(file, rows, cells[columns.id], columns.id)
    labels = _labels(file, rows, cells[label], label, columns.selected) if label else None
    if decision:
        return Decisions(ids, _binary(file, rows, cells[decision], decision, columns.selected), None, labels)
    assert score is not None  # _measured has one of the two
    scores = _scores(file, rows, cells[score], score)
    if columns.threshold is not None:
        return Decisions(ids, (scores >= columns.threshold).astype(np.int64), None, labels)
    return Decisions(ids, None, scores, labels)


def read_attributes(file: Path, texts: Sequence[str], id_column: str = "id") -> tuple[list[str], AttributeTable]:
    """An auditor's file: its ids, and the columns, or columns compared with a number ("age > 40"). UsageError as
    above."""
    expressions = parse_columns(texts)
    header, rows = _table(file)
    wanted = [id_column, *(e.column for e in expressions)]
    require_columns(header, wanted, file)
    cells = _cells(file, header, rows, wanted)
    ids = _ids(file, rows, cells[id_column], id_column)
    found = {e.text: _attribute(file, rows, cells[e.column], e) for e in expressions}
    return ids, AttributeTable(np.empty((len(ids), 0)), [digest_of(name) for name in ids], found)


def read_ids(file: Path, id_column: str = "id") -> list[str]:
    """The ids of any party's file, in its order. UsageError as above."""
    header, rows = _table(file)
    require_columns(header, [id_column], file)
    return _ids(file, rows, _cells(file, header, rows, [id_column])[id_column], id_column)


def digest_of(name: str) -> str:
    """SHA-256, in hex, of a record's own name: what record ids are made from."""
    return hashlib.sha256(f"id {name}".encode()).hexdigest()


def alike(ids: Sequence[str], others: Sequence[str]) -> tuple[str, str] | None:
    """Two ids that would be the same if leading zeros, decimals and upper case said nothing; None if there are none."""
    known = {_plain(name): name for name in others}
    return next(((name, known[_plain(name)]) for name in ids if _plain(name) in known), None)


def _plain(name: str) -> str:
    number = finite(name)
    return f"{number:.6f}" if number is not None else name.casefold()


Rows = Sequence[tuple[int, Sequence[str]]]


def _table(file: Path) -> tuple[list[str], Rows]:
    if not file.is_file():
        raise UsageError(f"{file}: no such file; name a CSV with a header, or a Parquet file")
    try:
        header, rows = read_rows(file)
    except OSError as error:
        raise UsageError(f"{file}: cannot be read: {error.strerror}") from error
    if not rows:
        raise UsageError(f"{file}: no rows under the header; an audit needs records")
    return header, rows


def _measured(file: Path, header: Sequence[str], columns: Columns) -> tuple[str | None, str | None]:
    """The column of decisions, or that of scores."""
    decision, score = columns.decision, columns.score
    if decision and score:
        raise UsageError(f"--decision {decision}, --score {score}: audit one of the two; leave the other out")
    if decision is None and score is None:
        decision = "decision" if "decision" in header else None
        score = "score" if "score" in header and decision is None else None
    if decision is None and score is None:
        raise UsageError(
            f"{file}:1: neither a column 'decision' nor 'score'; it has {', '.join(header)}: name one with --decision "
            "or --score"
        )
    if decision and columns.threshold is not None:
        raise UsageError(f"--threshold {columns.threshold:g}: is for scores, and {file} is audited by its decisions")
    if score and columns.selected is not None:
        raise UsageError(f"--selected {columns.selected}: is for decisions, and {file} is audited by its scores")
    if columns.threshold is not None and not 0 <= columns.threshold <= 1:
        raise UsageError(f"--threshold {columns.threshold:g}: must be between 0 and 1, as scores are")
    return decision, score


def _cells(file: Path, header: Sequence[str], rows: Rows, wanted: Iterable[str | None]) -> dict[str, list[str]]:
    """The cells of the wanted columns, stripped."""
    for line, row in rows:
        if len(row) != len(header):
            raise UsageError(f"{file}:{line}: {len(row)} fields instead of {len(header)}; quote cells that have commas")
    places = {name: header.index(name) for name in wanted if name is not None}
    return {name: [row[place].strip() for _, row in rows] for name, place in places.items()}


def _ids(file: Path, rows: Rows, cells: list[str], column: str) -> list[str]:
    first: dict[str, int] = {}
    for (line, _), name in zip(rows, cells, strict=True):
        if not name or name.casefold() in ("nan", "null"):
            raise UsageError(f"{file}:{line}: {column} is {name!r}; every record needs an id")
        if 4 * len(name) > MOST_BYTES and len(name.encode()) > MOST_BYTES:
            raise UsageError(f"{file}:{line}: {column} has {len(name.encode())} bytes; an id has at most {MOST_BYTES}")
        if name in first:
            raise UsageError(
                f"{file}:{line}: {column} {name!r} is on line {first[name]} already; a record has one line"
            )
        first[name] = line
    return cells


def _binary(file: Path, rows: Rows, cells: list[str], column: str, selected: str | None) -> np.ndarray:
    if selected is not None:
        _check_selected(file, cells, column, selected)
        for (line, _), text in zip(rows, cells, strict=True):
            if text.casefold() in MISSING:
                raise UsageError(f"{file}:{line}: {column} is {text!r}; every record needs a decision: leave it out")
        return np.array([text == selected for text in cells], dtype=np.int64)
    codes = {"0": 0, "1": 1, "0.0": 0, "1.0": 1}
    for (line, _), text in zip(rows, cells, strict=True):
        if text not in codes:
            raise UsageError(
                f"{file}:{line}: {column} is {text!r}; it must be 0 or 1, or name the favourable value with --selected"
            )
    return np.array([codes[text] for text in cells], dtype=np.int64)


def _check_selected(file: Path, cells: list[str], column: str, selected: str) -> None:
    values = sorted(set(cells), key=natural)
    if selected not in values:
        shown = ", ".join(values[:5])
        raise UsageError(f"--selected {selected}: no {column} in {file} is that; there are {shown}")


def _labels(file: Path, rows: Rows, cells: list[str], column: str, selected: str | None) -> np.ndarray | None:
    """Codes of labels; None where all are missing."""
    missing = np.array([text.casefold() in MISSING for text in cells])
    if missing.all():
        return None
    if selected is not None:
        return np.where(missing, NO_LABEL, [int(text == selected) for text in cells])
    codes = {"0": 0, "1": 1, "0.0": 0, "1.0": 1}
    for (line, _), text, gone in zip(rows, cells, missing, strict=True):
        if not gone and text not in codes:
            raise UsageError(
                f"{file}:{line}: {column} is {text!r}; it must be 0, 1 or empty, or name the favourable value with "
                "--selected"
            )
    return np.array([NO_LABEL if gone else codes[text] for text, gone in zip(cells, missing, strict=True)])


def _scores(file: Path, rows: Rows, cells: list[str], column: str) -> np.ndarray:
    scores = [finite(text) for text in cells]
    for (line, _), text, score in zip(rows, cells, scores, strict=True):
        if score is None or not 0 <= score <= 1:
            raise UsageError(f"{file}:{line}: {column} is {text!r}; a score is a number between 0 and 1")
    return np.array(scores, dtype=np.float64)


def _attribute(file: Path, rows: Rows, cells: list[str], e: Expression) -> Attribute:
    """Groups and codes of one column, "unknown" last where there is one."""
    names = [_group(file, line, text, e) for (line, _), text in zip(rows, cells, strict=True)]
    known = list(e.groups) if e.numeric else sorted(set(names) - {UNKNOWN}, key=natural)
    if not 2 <= len(known) <= MOST_GROUPS:
        many = f'; compare it with a number, as in "{e.column} > 40"' if len(known) > MOST_GROUPS else ""
        raise UsageError(
            f"{file}: column {e.column!r} has {len(known)} distinct values that are known; 2 to {MOST_GROUPS} can be "
            f"groups{many}"
        )
    groups = (*known, *((UNKNOWN,) if UNKNOWN in names else ()))
    code_of = {name: code for code, name in enumerate(groups)}
    return Attribute(e.text, np.array([code_of[name] for name in names], dtype=np.int64), groups)


def _group(file: Path, line: int, text: str, e: Expression) -> str:
    """The group of one cell."""
    if text.casefold() in MISSING:
        return UNKNOWN
    if e.numeric:
        number = finite(text)
        if number is None:
            raise UsageError(
                f"{file}:{line}: {e.column} is {text!r}, not a number to compare; leave it empty if unknown"
            )
        return e.groups[e.code(number)]
    was = unmangle(text)
    if was is not None:
        raise UsageError(
            f"{file}:{line}: {e.column} is {text!r}: a spreadsheet took {was!r} for a date; restore the column as text"
        )
    return text
