"""SPU under measurement: started by an interpreter of its own, since what it needs does not fit with our packages."""

from __future__ import annotations

import json
import os
import socket
import subprocess
from dataclasses import asdict, dataclass
from pathlib import Path
from statistics import median
from typing import Any

from secure_fair.bench.cases import cases
from secure_fair.errors import ProcessFailed, UsageError

PROGRAM = "spu_party.py"  # beside this file; it is a program of its own
CALLS = 5  # in a row
PATIENCE = 300.0  # seconds


@dataclass(frozen=True)
class SpuRow:
    """One operation by SPU of this ``version``, as in ``BenchRow``; it counts neither rounds nor bytes for others."""

    operation: str
    title: str
    version: str
    milliseconds: float
    error: float

    @property
    def engine(self) -> str:
        """Its name in tables."""
        return f"SPU {self.version}, SEMI2K"

    def tree(self) -> dict[str, Any]:
        """The row for JSON."""
        return asdict(self)


def check_spu(python: Path) -> None:
    """UsageError unless this is an interpreter that has SPU."""
    if not os.access(python, os.X_OK) or python.is_dir():
        raise UsageError(
            f"--spu {python}: name the Python of an environment of its own in which `pip install spu` was done"
        )
    found = subprocess.run([str(python), "-c", "import spu"], capture_output=True, text=True)
    if found.returncode:
        said = found.stderr.strip().splitlines()[-1:] or ["no word"]
        raise UsageError(f"--spu {python}: it cannot import spu ({said[0]}); install it there by `pip install spu`")


def measure_spu(python: Path, batch: int, dim: int, repeat: int) -> list[SpuRow]:
    """The adversary's step and the comparison, two parties; ProcessFailed with what they said where they fail."""
    numbers = map(str, (batch, dim, repeat, CALLS, _free_port()))
    command = [str(python), str(Path(__file__).with_name(PROGRAM)), *numbers]
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "PYTHONPATH": ""}
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=PATIENCE, env=environment)
    except subprocess.TimeoutExpired:
        raise ProcessFailed(f"SPU has not ended in {PATIENCE:g} s", 5) from None
    lines = [line for line in done.stdout.splitlines() if line.startswith("{")]
    if done.returncode or not lines:
        raise ProcessFailed(f"SPU: {done.stderr[-500:]}", 5)
    said = json.loads(lines[-1])
    titles = {name: case.title for name, case in cases(batch, dim).items()}
    return [
        SpuRow(name, titles[name], said["version"], 1000 * median(cost["seconds"]), cost["error"])
        for name, cost in said["operations"].items()
    ]


def _free_port() -> int:
    """The first of two ports that nobody uses now."""
    while True:
        with socket.socket() as first, socket.socket() as second:
            first.bind(("127.0.0.1", 0))
            port = int(first.getsockname()[1])
            try:
                second.bind(("127.0.0.1", port + 1))
            except (OSError, OverflowError):
                continue
            return port
