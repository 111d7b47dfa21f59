"""SPU under measurement, in turns with ours: by an interpreter of its own, as its packages do not fit with ours."""

from __future__ import annotations

import json
import os
import socket
import subprocess
import tempfile
from contextlib import suppress
from dataclasses import asdict, dataclass
from pathlib import Path
from statistics import median
from threading import Event, Timer
from typing import Any

from secure_fair.bench.cases import BALL, RATE, cases
from secure_fair.bench.measure import Engine, start_ours
from secure_fair.bench.work import BenchTask
from secure_fair.errors import ProcessFailed, UsageError
from secure_fair.mpc.approximations import PULL, sigmoid_coefficients

PROGRAM = "spu_party.py"  # beside this file; it is a program of its own
CALLS = 5  # in a row, by either
PATIENCE = 300.0  # seconds without a word
LEAVE = 20.0  # seconds to end in
NO_BALL = "no ball"  # its program of the adversary's step that keeps the weights in none
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
    titles = {name: case.title for name, case in cases(batch, dim).items()}
    rows, spu = [], Spu(python, batch, dim)
    try:
        with tempfile.TemporaryDirectory(prefix="secure-fair-bench-") as folder:
            engine = start_ours(2, batch, dim, Path(folder), sorted(set(OPERATIONS.values())))
            try:
                said = json.loads(spu.line())
                for program, operation in OPERATIONS.items():
                    own, other = _in_turns(engine, operation, spu, program, repeat)
                    title = titles[operation] + (f", {NO_BALL}" if program == NO_BALL else "")
                    rows.append(SpuRow(operation, title, said["version"], other, said["errors"][program], own))
                engine.leave()
            finally:
                engine.end()
    finally:
        spu.end()
    return rows


class Spu:
    """SPU's program, which measures what it is asked to until it is ended."""

    def __init__(self, python: Path, batch: int, dim: int) -> None:
        sizes = {"batch": batch, "dim": dim, "calls": CALLS, "port": _free_port()}
        step = {"ball": BALL, "rate": RATE, "pull": PULL, "coefficients": list(sigmoid_coefficients(BALL))}
        settings = json.dumps(sizes | step)
        self._errors = tempfile.TemporaryFile("w+")  # noqa: SIM115 (closed at the end)
        self._process = subprocess.Popen(
            [str(python), str(Path(__file__).with_name(PROGRAM)), settings],
            text=True,
            env={**os.environ, "OMP_NUM_THREADS": "1", "PYTHONPATH": ""},
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=self._errors,
        )

    def seconds(self, program: str) -> float:
        """Seconds of a call of this program, of so many in a row."""
        assert self._process.stdin is not None
        try:
            print(program, file=self._process.stdin, flush=True)
        except BrokenPipeError:
            raise self._failed("it has ended") from None
        return float(self.line())

    def line(self) -> str:
        """The next line that is its own; what libraries print is not. ProcessFailed where none comes."""
        assert self._process.stdout is not None
        silent = Event()
        watchdog = Timer(PATIENCE, self._give_up, (silent,))
        watchdog.start()
        try:
            for line in self._process.stdout:
                if line[:1] in "{0123456789":
                    return line
        finally:
            watchdog.cancel()
        raise self._failed(f"it has said nothing for {PATIENCE:g} s" if silent.is_set() else "it has ended")

    def _give_up(self, silent: Event) -> None:
        silent.set()
        self._process.kill()

    def end(self) -> None:
        """Let it go, and see that nothing of it is left."""
        assert self._process.stdin is not None
        with suppress(BrokenPipeError):
            self._process.stdin.close()
        try:
            self._process.wait(LEAVE)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
        self._errors.close()

    def _failed(self, what: str) -> ProcessFailed:
        self._process.kill()
        self._process.wait()
        self._errors.seek(0)
        return ProcessFailed(f"SPU: {what}. {self._errors.read()[-500:]}".strip(), 5)


def _in_turns(engine: Engine, operation: str, spu: Spu, program: str, repeat: int) -> tuple[float, float]:
    """Milliseconds of ours and of SPU, medians; either begins every second turn, and the first turn warms up."""
    own, other = [], []
    for turn in range(repeat + 1):
        both = (lambda: own.append(_own(engine, operation))), (lambda: other.append(spu.seconds(program)))
        for measured in both[:: 1 if turn % 2 == 0 else -1]:
            measured()
    return 1000 * median(own[1:]), 1000 * median(other[1:])


def _own(engine: Engine, operation: str) -> float:
    return max(outcome.seconds for outcome in engine.perform(BenchTask(operation, "ahead", CALLS, timed=True)))


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
