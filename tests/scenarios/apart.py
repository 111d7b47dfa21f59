"""An exported loader in a process of its own, which can import nothing of this project."""

from __future__ import annotations

import csv
import io
import subprocess
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np

ROOT = Path(__file__).parents[2]
OURS = ("secure_fair", "parties", "scenarios", "bench", "tools", "crypten", "opacus")

# -I leaves PYTHONPATH and the working folder out; an install of this project for development is refused by name.
# Where torchvision was built for another torch, timm cannot be imported at all: then the repair is made first.
BEFORE = f"""
import runpy, sys
if sys.argv[1] == "repair":
    runpy.run_path({str(ROOT / "secure_fair" / "compat.py")!r})
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
sys.argv = sys.argv[2:]
runpy.run_path(sys.argv[0], run_name="__main__")
"""


def run_apart(loader: Path, arguments: Sequence[str], *, repair: bool) -> subprocess.CompletedProcess[str]:
    """Run a loader, which is ``repair``ed for a torchvision of another build."""
    command = [sys.executable, "-I", "-c", BEFORE, "repair" if repair else "", str(loader), *arguments]
    return subprocess.run(command, cwd="/", capture_output=True, text=True, timeout=240)


def printed(done: subprocess.CompletedProcess[str]) -> dict[str, np.ndarray]:
    """Probabilities by record of the CSV that a loader has printed."""
    assert done.returncode == 0, done.stderr
    return table(csv.DictReader(io.StringIO(done.stdout)))


def table(rows: csv.DictReader[str]) -> dict[str, np.ndarray]:
    """Probabilities by record."""
    return {row["record"]: probabilities(row) for row in rows}


def probabilities(row: Mapping[str, str]) -> np.ndarray:
    """The probabilities of one record."""
    return np.array([float(cell) for column, cell in row.items() if column.startswith("probability_")])
