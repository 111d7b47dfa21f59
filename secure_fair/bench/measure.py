"""Both engines started side by side, given the same tasks in turns, and the rows that come of it."""

from __future__ import annotations

import multiprocessing
import tempfile
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from functools import partial
from multiprocessing.connection import Connection
from pathlib import Path
from statistics import median
from typing import Any

from secure_fair.bench import ours, stock
from secure_fair.bench.cases import ALL, cases
from secure_fair.bench.work import BenchOutcome, BenchTask, Cost, Failure
from secure_fair.errors import ProcessFailed
from secure_fair.mpc.transport import Credentials
from secure_fair.parties import identity

CALLS = (2, 20)  # timed at a time: at least, at most
BLOCK = 0.1  # seconds that CrypTen's calls in a row should take together
PATIENCE = 300.0  # seconds that a process has for one task
MODES = {**stock.MODES, **ours.MODES}
COMPUTE_NAMES = ("developer", "auditor", "second", "third")

PartyMain = Callable[[str, Sequence[str], Credentials, Connection], None]  # name, compute parties, certificate, pipe

_context = multiprocessing.get_context("forkserver")
_context.set_forkserver_preload([ours.__name__, stock.__name__])  # imported once for all processes


@dataclass(frozen=True)
class BenchRow:
    """One operation by one engine in one mode; costs are of one call.

    ``rounds``: ``online`` openings between compute parties, and two messages (request, answer) for each of the
    ``waits`` for the dealer. ``bytes``: all that any party or the dealer sends. ``error``: largest, against float64.
    """

    operation: str
    title: str
    mode: str
    online: float
    waits: float
    bytes: float
    milliseconds: float
    error: float

    @property
    def rounds(self) -> float:
        return self.online + 2 * self.waits

    def tree(self) -> dict[str, Any]:
        return {**asdict(self), "rounds": self.rounds}


class Engine:
    """The processes of one engine: compute parties by rank, and the one that makes correlated randomness."""

    def __init__(self, mains: Sequence[Callable[[Connection], None]]) -> None:
        """The last of ``mains`` is the dealer's."""
        self.pipes: list[Connection] = []
        self.processes = []
        for main in mains:
            near, far = _context.Pipe()
            process = _context.Process(target=main, args=(far,), daemon=True)
            process.start()
            far.close()
            self.pipes.append(near)
            self.processes.append(process)

    def perform(self, task: BenchTask) -> list[BenchOutcome]:
        """Have a task done; its outcome at each compute party."""
        for pipe in self.pipes[:-1]:
            pipe.send(task)
        return [self.receive(rank) for rank in range(len(self.pipes) - 1)]

    def receive(self, rank: int) -> Any:
        """The word of a process; ``ProcessFailed`` where it has failed, ended, or says nothing for too long."""
        for waited in (rank, *(other for other in range(len(self.pipes)) if other != rank)):
            patience = PATIENCE if waited == rank else 0.0
            try:
                said = self.pipes[waited].recv() if self.pipes[waited].poll(patience) else None
            except EOFError:
                said = Failure("its process has ended")
            if isinstance(said, Failure):
                raise ProcessFailed(f"process {waited} of the measurement: {said.text}", 1)
            if waited == rank and said is not None:
                return said
        raise ProcessFailed(f"process {rank} of the measurement has said nothing for {PATIENCE:g} s", 5)

    def leave(self) -> None:
        """Let every process end by itself."""
        for pipe in self.pipes[:-1]:
            pipe.send(None)
        for process in self.processes:
            process.join(10)

    def end(self) -> None:
        """Make sure that no process outlives the measurement."""
        for process in self.processes:
            if process.is_alive():
                process.kill()
            process.join()


def measure(
    parties: int,
    batch: int,
    dim: int,
    repeat: int,
    follow: Callable[[str], None] = lambda title: None,
    names: Sequence[str] = ALL,
) -> list[BenchRow]:
    """These operations in every mode, ``repeat`` times in turns; ``follow`` hears the title of each operation."""
    rows = []
    with tempfile.TemporaryDirectory(prefix="secure-fair-bench-") as folder:
        engines: dict[str, Engine] = {}
        try:
            engines["ours"] = start_ours(parties, batch, dim, Path(folder), names)
            engines["stock"] = start_stock(parties, batch, dim, Path(folder), names)
            by_mode = {mode: engines["stock" if mode in stock.MODES else "ours"] for mode in MODES}
            for name, case in cases(batch, dim, names).items():
                follow(case.title)
                costs = {}
                for mode, engine in by_mode.items():
                    calls = ours.AHEAD if mode == "ahead" else 1
                    costs[mode] = engine.perform(BenchTask(name, mode, calls, timed=False))
                seconds = _in_turns(name, by_mode, repeat)
                for mode, outcomes in costs.items():
                    spent = [outcome.cost for outcome in outcomes if outcome.cost is not None]
                    result = outcomes[0].result
                    assert result is not None
                    error = float((result - case.expected).abs().max())
                    rows.append(_row(name, case.title, mode, spent, seconds[mode], error))
            for engine in engines.values():
                engine.leave()
        finally:
            for engine in engines.values():
                engine.end()
    return rows


def _row(name: str, title: str, mode: str, spent: Sequence[Cost], seconds: Sequence[float], error: float) -> BenchRow:
    return BenchRow(
        operation=name,
        title=title,
        mode=mode,
        online=max(cost.rounds for cost in spent),
        waits=max(cost.waits for cost in spent),
        bytes=sum(cost.bytes for cost in spent),
        milliseconds=1000 * median(seconds),
        error=error,
    )


def _in_turns(name: str, by_mode: dict[str, Engine], repeat: int) -> dict[str, list[float]]:
    """Seconds a call of each mode, the modes taking turns so that other work on the machine meets them all alike."""
    trial = by_mode["stock"].perform(BenchTask(name, "stock", CALLS[0], timed=True))[0].seconds
    calls = min(max(round(BLOCK / trial), CALLS[0]), CALLS[1])
    seconds: dict[str, list[float]] = {mode: [] for mode in by_mode}
    for turn in range(repeat):
        for mode in list(by_mode)[:: 1 if turn % 2 == 0 else -1]:
            outcomes = by_mode[mode].perform(BenchTask(name, mode, calls, timed=True))
            seconds[mode].append(max(outcome.seconds for outcome in outcomes))
    return seconds


def start_ours(parties: int, batch: int, dim: int, folder: Path, names: Sequence[str]) -> Engine:
    """Compute parties and dealer of this project's engine."""
    return start_parties([*COMPUTE_NAMES[:parties], ours.DEALER], partial(ours.main, batch, dim, names), folder)


def start_parties(names: Sequence[str], main: PartyMain, folder: Path) -> Engine:
    """A process of ``main`` for each name, the dealer's last: with a certificate, and told where the others are."""
    identity.create_authority(folder)
    credentials = [identity.load(identity.issue_for_simulation(folder, name, days=2)) for name in names]
    engine = Engine([partial(main, name, names[:-1], own) for name, own in zip(names, credentials, strict=True)])
    addresses = {name: engine.receive(rank) for rank, name in enumerate(names)}
    for name, pipe in zip(names, engine.pipes, strict=True):
        pipe.send({peer: address for peer, address in addresses.items() if peer != name})
    return engine


def start_stock(parties: int, batch: int, dim: int, folder: Path, names: Sequence[str]) -> Engine:
    """Compute parties and the third party, which meet at a file."""
    meeting = str(folder / "rendezvous")
    return Engine([partial(stock.main, rank, parties, meeting, batch, dim, names) for rank in range(parties + 1)])
