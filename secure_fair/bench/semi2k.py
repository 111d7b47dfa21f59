"""SPU under measurement, in turns with ours: by an interpreter of its own, as its packages do not fit with ours."""

from __future__ import annotations

import json
import os
import socket
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from statistics import median
from threading import Timer
from typing import Any

from secure_fair.bench.cases import BALL, RATE, cases
from secure_fair.bench.measure import Engine, start_ours
from secure_fair.bench.work import Task
from secure_fair.errors import ProcessFailed, UsageError
from secure_fair.mpc.approximations import PULL

PROGRAM = "spu_party.py"  # beside this file; it is a program of its own
CALLS = 5  # in a row, by either
PATIENCE = 300.0  # seconds
NO_BALL = "no ball"  # the program of the adversary's step that keeps its weights in none
OPERATIONS = {"adversary": "adversary", NO_BALL: "adversary", "comparison": "comparison"}  # ours, by its program


@dataclass(frozen=True)
class SpuRow:
    """One operation by SPU of this ``version``, as in ``BenchRow``; it counts neither rounds nor bytes for others.

    ``own``: milliseconds of ours, asked ahead, in turns with it.
    """

    operation: str
    title: str
    version: str
    milliseconds: float
    error: float
    own: float

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
    """The adversary's step, with its ball and without, and the comparison, by two parties; ours takes turns with it.

    ProcessFailed with what they said where they fail.
    """
    names, titles = sorted(set(OPERATIONS.values())), {name: case.title for name, case in cases(batch, dim).items()}
    rows = []
    with tempfile.TemporaryDirectory(prefix="secure-fair-bench-") as folder, _started(python, batch, dim) as spu:
        engine = start_ours(2, batch, dim, Path(folder), names)
        try:
            said = json.loads(_said(spu))
            for program, operation in OPERATIONS.items():
                turns = [(_own(engine, operation), _seconds(spu, program)) for _ in range(repeat + 1)]
                own, other = (1000 * median(seconds) for seconds in zip(*turns[1:], strict=True))  # the first warms up
                title = titles[operation] + (f", {NO_BALL}" if program == NO_BALL else "")
                rows.append(SpuRow(operation, title, said["version"], other, said["errors"][program], own))
            engine.leave()
        finally:
            engine.end()
    return rows


@contextmanager
def _started(python: Path, batch: int, dim: int) -> Iterator[subprocess.Popen[str]]:
    """SPU's program, which ends when nothing more is asked of it."""
    sizes = {"batch": batch, "dim": dim, "calls": CALLS, "port": _free_port()}
    settings = json.dumps({**sizes, "ball": BALL, "rate": RATE, "pull": PULL})
    command = [str(python), str(Path(__file__).with_name(PROGRAM)), settings]
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "PYTHONPATH": ""}
    with tempfile.TemporaryFile("w+") as errors:
        pipes: dict[str, Any] = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "stderr": errors}
        process = subprocess.Popen(command, text=True, env=environment, start_new_session=True, **pipes)
        watchdog = Timer(PATIENCE, process.kill)
        watchdog.start()
        try:
            yield process
            process.communicate(timeout=PATIENCE)
        except EOFError:
            process.kill()
            process.wait()
            errors.seek(0)
            raise ProcessFailed(f"SPU: {errors.read()[-500:] or f'it has not ended in {PATIENCE:g} s'}", 5) from None
        finally:
            watchdog.cancel()
            process.kill()
            process.wait()


def _seconds(spu: subprocess.Popen[str], program: str) -> float:
    assert spu.stdin is not None
    try:
        print(program, file=spu.stdin, flush=True)
    except BrokenPipeError:
        raise EOFError from None
    return float(_said(spu))


def _said(spu: subprocess.Popen[str]) -> str:
    """The next line that is its own; EOFError where it has ended."""
    assert spu.stdout is not None
    for line in spu.stdout:
        if line[:1] in "{0123456789":
            return line
    raise EOFError


def _own(engine: Engine, operation: str) -> float:
    return max(outcome.seconds for outcome in engine.perform(Task(operation, "ahead", CALLS, timed=True)))


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
