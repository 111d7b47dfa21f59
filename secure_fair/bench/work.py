"""Tasks that the measuring program gives to the processes of an engine, and their answers."""

from __future__ import annotations

import traceback
from collections.abc import Callable
from dataclasses import dataclass
from multiprocessing.connection import Connection

from torch import Tensor


@dataclass(frozen=True)
class BenchTask:
    """``calls`` of one operation in one of the engine's modes: timed, or else counted and opened."""

    case: str
    mode: str
    calls: int
    timed: bool


@dataclass(frozen=True)
class Cost:
    """Cost of one call at one party: openings, requests to the dealer that are waited for, bytes on its connections.

    ``bytes`` are those that the party's engine counts towards the whole: the sum over the parties is what was sent.
    """

    rounds: float
    waits: float
    bytes: float


@dataclass(frozen=True)
class BenchOutcome:
    """Seconds a call, or the cost and the opened result (None where this party is not the one to open to).

    ``memory``: bytes by which the process has grown at its peak, and ``cpu``: seconds of its processor a call, where
    that is measured.
    """

    seconds: float = 0.0
    cost: Cost | None = None
    result: Tensor | None = None
    memory: int = 0
    cpu: float = 0.0


@dataclass(frozen=True)
class Failure:
    """The traceback of a process that failed."""

    text: str


def answer(pipe: Connection, main: Callable[[], None]) -> None:
    """Run a process of an engine; what goes wrong is said to the measuring program."""
    try:
        main()
    except Exception:
        pipe.send(Failure(traceback.format_exc()))


def serve(pipe: Connection, perform: Callable[[BenchTask], BenchOutcome]) -> None:
    """Perform every task that comes, until None comes."""
    while (task := pipe.recv()) is not None:
        pipe.send(perform(task))
