"""A finished model of a table, applied to new rows: the encoding of the columns, and the linear head."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from safetensors import SafetensorError
from safetensors.numpy import load_file

from secure_fair.data.csv_rows import read_rows, require_columns
from secure_fair.data.encoding import Encoding, read_cells
from secure_fair.data.records import Problem, describe_problems
from secure_fair.errors import UsageError
from secure_fair.parties.predictions import Predictions

HEAD = "head.safetensors"
HEADS = "heads"  # the folder of those at other strengths, where one release tells of a whole path
TABLE_MODEL = "table.json"  # the encoding, and the names of the classes


def head_name(strength: float) -> str:
    """The name of a strength's head in ``HEADS``: every digit, so that no other strength has it."""
    return f"{float(strength)!r}.safetensors"


def head_file(folder: Path, strength: float | None) -> Path:
    """The head in a developer's ``folder``: the run's own, or that of another ``strength``.

    UsageError for a strength that the run's path does not have.
    """
    if strength is None:
        return folder / HEAD
    file = folder / HEADS / head_name(strength)
    if file.is_file():
        return file
    there = sorted(float(held.stem) for held in (folder / HEADS).glob("*.safetensors"))
    if not there:
        raise UsageError("--strength: this run has one head alone; only posthoc leaves a path of them: leave it out")
    named = ", ".join(f"{value:g}" for value in there)
    raise UsageError(f"--strength {strength:.12g}: is not on the run's path; name one of {named}")


def table_model(encoding: Encoding, classes: tuple[str, ...]) -> bytes:
    """The content of ``TABLE_MODEL``."""
    return (json.dumps({**encoding.tree(), "classes": list(classes)}, indent=1) + "\n").encode()


@dataclass(frozen=True)
class RowModel:
    """Probabilities of ``classes`` are the softmax of ``weight`` (C, d) z + ``bias`` (C,), z the features of a row."""

    encoding: Encoding
    classes: tuple[str, ...]
    weight: np.ndarray
    bias: np.ndarray

    @classmethod
    def load(cls, folder: Path, strength: float | None = None) -> RowModel:
        """The model that a run has left in the developer's ``folder``, or that with its head of another ``strength``.

        UsageError where there is none of a table, or none of this strength.
        """
        file, head = folder / TABLE_MODEL, head_file(folder, strength)
        missing = [path.name for path in (file, head) if not path.is_file()]
        if missing:
            raise UsageError(f"{folder}: no model of a table, for it lacks {', '.join(missing)}; name RUN/developer")
        try:
            tree = json.loads(file.read_bytes())
        except (ValueError, RecursionError) as error:
            raise UsageError(f"{file}: is not JSON: {error}; name a run's folder as it was written") from error
        encoding = Encoding.of_tree(tree, str(file))
        try:
            classes, weights = tuple(map(str, tree["classes"])), load_file(head)
            weight, bias = weights["weight"], weights["bias"]
        except (SafetensorError, KeyError, TypeError) as error:
            raise UsageError(f"{head}: is not this model's head: {error}; name one run's folder") from error
        if (weight.shape, bias.shape) != ((len(classes), len(encoding.features)), (len(classes),)):
            raise UsageError(f"{folder}: {TABLE_MODEL} and {head.name} are of different models; name one run's folder")
        return cls(encoding, classes, weight, bias)

    def probabilities(self, features: np.ndarray) -> np.ndarray:
        """Probabilities (n, C), float64, of features (n, d)."""
        logits = features.astype(np.float64) @ self.weight.T.astype(np.float64) + self.bias
        powers = np.exp(logits - logits.max(axis=1, keepdims=True))
        return powers / powers.sum(axis=1, keepdims=True)

    def predict(self, table: Path, id_column: str | None = None) -> Predictions:
        """Probabilities of the rows of a CSV, which has the columns of the features, and may have others.

        A row is called by its ``id_column``, else by file and line. Raises UsageError for missing columns, and for
        values that training did not have: nothing is known of them.
        """
        header, lines = read_rows(table)
        columns = self.encoding.columns
        named = [column.name for column in columns]
        require_columns(header, named if id_column is None else [id_column, *named], table)
        short = [
            Problem(f"{table}:{line}", "wrong line", f"{len(cells)} fields instead of {len(header)}")
            for line, cells in lines
            if len(cells) != len(header)
        ]
        rows = [dict(zip(header, (cell.strip() for cell in cells), strict=False)) for _, cells in lines]
        if short:
            raise UsageError(describe_problems(short))
        if not rows:
            raise UsageError(f"{table}: no row to predict, only a header; name a CSV that has some")
        held, faults = read_cells(columns, rows)
        if faults:
            found = [Problem(f"{table}:{lines[row][0]}", *fault) for row, fault in sorted(faults.items())]
            raise UsageError(
                [*describe_problems(found), "correct these values, or leave them empty: they count as missing"]
            )
        names = [
            f"{table}:{line}" if id_column is None else row[id_column]
            for (line, _), row in zip(lines, rows, strict=True)
        ]
        return Predictions(tuple(names), self.classes, self.probabilities(self.encoding.encode(columns, held)))
