"""Loads the model of this folder with numpy and safetensors, and predicts rows: python load.py NEW.csv"""

from __future__ import annotations

import csv
import json
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from safetensors.numpy import load_file

HERE = Path(__file__).resolve().parent
MODEL: dict[str, Any] = json.loads((HERE / "table.json").read_text())
HEAD = load_file(HERE / "head.safetensors")
MISSING = {"", "?", "NA", "N/A", "NaN", "nan", "NULL", "null"}


def features(row: Mapping[str, str]) -> list[float]:
    """A row as the model was trained on them: numbers standardised, a column for each category, one for gaps."""
    found: list[float] = []
    for column in MODEL["columns"]:
        cell, values = row[column["name"]].strip(), column["values"]
        missing = cell in MISSING
        if values is None:
            found.append(0.0 if missing else (float(cell) - column["mean"]) / column["deviation"])
        elif missing or cell in values:
            found += [float(cell == value) for value in values]
        else:
            raise SystemExit(f"{column['name']} is {cell!r}: the model knows {', '.join(values)}, or nothing at all")
        if column["gaps"]:
            found.append(float(missing))
    return found


def probabilities(row: Mapping[str, str]) -> np.ndarray:
    """The probability of each class."""
    logits = HEAD["weight"] @ np.array(features(row), dtype=np.float32) + HEAD["bias"]
    powers = np.exp(logits - logits.max())
    return np.asarray(powers / powers.sum())


def main(file: str) -> None:
    """Print, as CSV, the class of each row and the probability of each class."""
    classes = MODEL["classes"]
    lines = csv.writer(sys.stdout, lineterminator="\n")
    lines.writerow(["record", "prediction", *(f"probability_{name}" for name in classes)])
    with open(file, newline="", encoding="utf-8-sig") as opened:
        rows = csv.DictReader(opened)
        for row in rows:
            found = probabilities(row)
            called = f"{file}:{rows.line_num}"
            lines.writerow([called, classes[int(found.argmax())], *(f"{value:.6f}" for value in found)])


if __name__ == "__main__":
    if len(sys.argv) != 2:
        raise SystemExit(__doc__)
    main(sys.argv[1])
