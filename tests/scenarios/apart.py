"""Exported loaders in a process of their own, which can import nothing of this project."""

from __future__ import annotations

import csv
import io
import json
import subprocess
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np

OURS = ("secure_fair", "tools", "crypten", "opacus")

# -I leaves PYTHONPATH and the working folder out; an install of this project for development is refused by name.
END = "-- the end of what this one says --"
BEFORE = f"""
import json, runpy, sys
class Refused:
    def find_spec(self, name, path=None, target=None):
        if name.split(".")[0] in {OURS!r}:
            raise ImportError(name + " is not to be had here")
sys.meta_path.insert(0, Refused())
for name in {OURS!r}:
    try:
        __import__(name)
    except ImportError:
        continue
    sys.exit(name + " could be imported")
for call in json.loads(sys.argv[1]):
    sys.argv = call
    runpy.run_path(call[0], run_name="__main__")
    print({END!r})
"""


def run_apart(calls: Sequence[tuple[Path, Sequence[str]]]) -> list[dict[str, np.ndarray]]:
    """Run loaders one after the other, each with its arguments; the probabilities by record that each has printed."""
    listed = json.dumps([[str(loader), *arguments] for loader, arguments in calls])
    command = [sys.executable, "-I", "-c", BEFORE, listed]
    done = subprocess.run(command, cwd="/", capture_output=True, text=True, timeout=240)
    assert done.returncode == 0, done.stderr
    *said, rest = done.stdout.split(f"{END}\n")
    assert (len(said), rest) == (len(calls), "")
    return [printed(one) for one in said]


def printed(text: str) -> dict[str, np.ndarray]:
    """Probabilities by record of the CSV that a command has printed."""
    return table(csv.DictReader(io.StringIO(text)))


def table(rows: csv.DictReader[str]) -> dict[str, np.ndarray]:
    """Probabilities by record."""
    return {row["record"]: probabilities(row) for row in rows}


def probabilities(row: Mapping[str, str]) -> np.ndarray:
    """The probabilities of one record."""
    return np.array([float(cell) for column, cell in row.items() if column.startswith("probability_")])
