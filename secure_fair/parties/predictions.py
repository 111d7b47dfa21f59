"""Predictions under the user's own names of pictures or rows, as a table."""

from __future__ import annotations

import csv
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, TextIO

import numpy as np

PREDICTIONS = "predictions.csv"
RECORD, PREDICTION = "record", "prediction"  # columns


@dataclass(frozen=True)
class Predictions:
    """``probabilities`` float64 (n, C) of ``classes``, one row for each of ``records``: paths of pictures, or rows of a
    table by their ids or lines."""

    records: tuple[str, ...]
    classes: tuple[str, ...]
    probabilities: np.ndarray

    def __len__(self) -> int:
        return len(self.records)

    def rows(self) -> list[dict[str, Any]]:
        """A dictionary a record: its name, the name of the likeliest class, the probability of each class."""
        return [
            {
                RECORD: record,
                PREDICTION: self.classes[int(np.argmax(row))],
                **{probability_of(name): float(value) for name, value in zip(self.classes, row, strict=True)},
            }
            for record, row in zip(self.records, self.probabilities, strict=True)
        ]

    def write(self, stream: TextIO) -> None:
        """Write the rows as CSV, probabilities with six decimals."""
        lines = csv.writer(stream, lineterminator="\n")
        lines.writerow([RECORD, PREDICTION, *map(probability_of, self.classes)])
        for row in self.rows():
            lines.writerow(decimals(row.values()))


def probability_of(name: str) -> str:
    """The column of the probabilities of a class."""
    return f"probability_{name}"


def decimals(cells: Any) -> Sequence[str]:
    """The cells of a line, numbers with six decimals."""
    return [f"{cell:.6f}" if isinstance(cell, float) else str(cell) for cell in cells]
