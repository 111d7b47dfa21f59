"""A developer's committed predictions of its test records, read again by whoever judges a certificate of a training."""

from __future__ import annotations

import csv
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from secure_fair.errors import UsageError
from secure_fair.ids import Ids, as_ids, repeated
from secure_fair.parties.predictions import PREDICTION, PREDICTIONS

CLASSES = 2
_LABEL, _ID = "label", "id"


@dataclass(frozen=True)
class Predicted:
    """Test records by id, and what they were counted as: int64 (n,), the label times 2 plus the prediction."""

    ids: Ids
    counted: np.ndarray

    def strata(self, rows: np.ndarray) -> tuple[np.ndarray, int]:
        """The stratum of each of these rows, and how many there are."""
        return self.counted[rows], CLASSES**2


def read_predicted(folder: Path) -> Predicted:
    """The predictions in a folder; UsageError for anything else than a training of two classes has written."""
    file = folder / PREDICTIONS
    try:
        with file.open(encoding="utf-8", newline="") as opened:
            rows = list(csv.DictReader(opened))
        ids = as_ids([row[_ID] for row in rows])
        codes = np.array([[int(row[_LABEL]), int(row[PREDICTION])] for row in rows], dtype=np.int64).reshape(-1, 2)
    except (OSError, ValueError, KeyError, TypeError, csv.Error) as error:
        raise UsageError(f"{file}: is no table of predictions: {type(error).__name__} {error}") from error
    if repeated(ids):
        raise UsageError(f"{file}: has a record twice")
    if ((codes < 0) | (codes >= CLASSES)).any():
        raise UsageError(f"{file}: has a class beyond the two that a certificate is about")
    return Predicted(ids, codes[:, 0] * CLASSES + codes[:, 1])
