"""A moment whose query is proved to keep to its bound beside one without any proof, by the number of rows.

Both are made as the parties make them: ``share`` and ``compute`` of the operation, the opening, and what the next
request takes asked of the dealer ahead. Memberships are committed to beforehand, once, as in a run.
"""

from __future__ import annotations

import math
import resource
import sys
import tempfile
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from functools import partial
from multiprocessing.connection import Connection
from pathlib import Path
from statistics import median
from time import perf_counter, process_time
from typing import Any

import numpy as np
import torch
from torch import Tensor

from secure_fair.bench.cases import QUERY, rows_of_norm_one
from secure_fair.bench.measure import Engine, start_parties, start_stock
from secure_fair.bench.ours import DEALER
from secure_fair.bench.work import BenchOutcome, BenchTask, Cost, answer, serve
from secure_fair.mpc import dealer
from secure_fair.mpc.schedule import Forecast
from secure_fair.mpc.session import Session
from secure_fair.mpc.transport import Credentials, Network
from secure_fair.operations import OPERATIONS
from secure_fair.operations.common.ask import Ask
from secure_fair.operations.common.operation import Update
from secure_fair.operations.common.state import PublicFacts, SharedState

NAMES = ("developer", "auditor")
SIZES = (2_400, 20_000, 100_000)  # rows, unless others are asked for
FULL = (10_000, 100_000, 1_000_000)
CALLS_IN_A_ROW = 3
TURNS = 3  # of either kind
LARGE = 500_000  # rows from which one call and one turn are enough: each takes seconds
ASK = Ask(operation="moment", attribute="group", width=QUERY)
UNIT = 1 if sys.platform == "darwin" else 1024  # bytes, of the peak that the system tells


@dataclass(frozen=True)
class MomentRow:
    """The costs of a moment of so many ``rows``, its query ``proved`` or not; of one call, as in ``BenchRow``.

    ``stock``: by CrypTen as released, which proves nothing.

    ``memory``: bytes by which each party's process, and the dealer's, grew at its peak since it was connected;
    ``cpu``: milliseconds of the processor that the compute parties took together, which other work on the machine
    changes little.
    """

    rows: int
    proved: bool
    online: float
    waits: float
    bytes: float
    milliseconds: float
    memory: dict[str, int]
    cpu: float = 0.0
    stock: bool = False

    @property
    def rounds(self) -> float:
        return self.online + 2 * self.waits

    @property
    def kind(self) -> str:
        """The engine where it is not this one, and whether the query is proved."""
        return "CrypTen" if self.stock else "proved" if self.proved else "unproved"

    def tree(self) -> dict[str, Any]:
        return {**asdict(self), "rounds": self.rounds}


def measure_moments(sizes: Sequence[int], follow: Callable[[str], None]) -> list[MomentRow]:
    """A moment without a proof and with it, for each number of rows; ``follow`` hears what is measured."""
    found = []
    for rows in sizes:
        follow(f"a moment of {rows:,} rows, without a proof and with it")
        found += [*_measure(rows), _measure_stock(rows)]
    return found


def _measure_stock(rows: int) -> MomentRow:
    """The product alone, as CrypTen's parties call it."""
    turns, calls = _repeats(rows)
    with tempfile.TemporaryDirectory(prefix="secure-fair-bench-") as folder:
        engine = start_stock(len(NAMES), rows, 1, Path(folder), ("moment",))
        try:
            spent = [
                one.cost for one in engine.perform(BenchTask("moment", "stock", 1, timed=False)) if one.cost is not None
            ]
            timed = [engine.perform(BenchTask("moment", "stock", calls, timed=True)) for _ in range(turns)]
            engine.leave()
        finally:
            engine.end()
    return MomentRow(
        rows,
        False,
        online=max(cost.rounds for cost in spent),
        waits=max(cost.waits for cost in spent),
        bytes=sum(cost.bytes for cost in spent),
        milliseconds=1000 * median(max(one.seconds for one in outcomes) for outcomes in timed),
        memory={},
        cpu=1000 * median(sum(one.cpu for one in outcomes) for outcomes in timed),
        stock=True,
    )


def _repeats(rows: int) -> tuple[int, int]:
    """Turns, and calls in a row."""
    return (1, 1) if rows >= LARGE else (TURNS, CALLS_IN_A_ROW)


def _measure(rows: int) -> list[MomentRow]:
    with tempfile.TemporaryDirectory(prefix="secure-fair-bench-") as folder:
        engines: dict[bool, Engine] = {}
        try:
            for proved in (False, True):
                mains = partial(_main, rows, proved)
                engines[proved] = start_parties([*NAMES, DEALER], mains, Path(folder) / f"{proved}")
            seconds: dict[bool, list[float]] = {proved: [] for proved in engines}
            turns, calls = _repeats(rows)
            for engine in engines.values():
                engine.perform(BenchTask("moment", "first", 1, timed=True))  # the schedule becomes known
            for turn in range(turns):
                for proved in (False, True) if turn % 2 == 0 else (True, False):
                    outcomes = engines[proved].perform(BenchTask("moment", "ahead", calls, timed=True))
                    seconds[proved].append(max(outcome.seconds for outcome in outcomes))
            return [_row(rows, proved, engine, seconds[proved], calls) for proved, engine in engines.items()]
        finally:
            for engine in engines.values():
                engine.end()


def _row(rows: int, proved: bool, engine: Engine, seconds: Sequence[float], calls: int) -> MomentRow:
    counted = engine.perform(BenchTask("moment", "ahead", calls, timed=False))
    spent = [outcome.cost for outcome in counted if outcome.cost is not None]
    engine.leave()
    memory = [*(outcome.memory for outcome in counted), engine.receive(len(NAMES))]
    return MomentRow(
        rows,
        proved,
        online=max(cost.rounds for cost in spent),
        waits=max(cost.waits for cost in spent),
        bytes=sum(cost.bytes for cost in spent),
        milliseconds=1000 * median(seconds),
        memory=dict(zip((*NAMES, DEALER), memory, strict=True)),
        cpu=1000 * sum(outcome.cpu for outcome in counted),
    )


def growth(moments: Sequence[MomentRow], kind: str) -> float | None:
    """The power of the rows with which the processor's time grows, from the fewest to the most; 1 is linear."""
    of_kind = sorted((row for row in moments if row.kind == kind and row.cpu > 0), key=lambda row: row.rows)
    if len({row.rows for row in of_kind}) < 2:
        return None
    first, last = of_kind[0], of_kind[-1]
    return math.log(last.cpu / first.cpu) / math.log(last.rows / first.rows)


# --- at a process -----------------------------------------------------------------------------------------------------


def _main(rows: int, proved: bool, name: str, parties: Sequence[str], own: Credentials, pipe: Connection) -> None:
    answer(pipe, lambda: _run(rows, proved, name, parties, own, pipe))


def _run(rows: int, proved: bool, name: str, parties: Sequence[str], own: Credentials, pipe: Connection) -> None:
    torch.set_num_threads(1)
    network = Network(own)
    pipe.send(network.address)
    network.connect(pipe.recv(), {"bench": f"{rows} {proved}"})
    before = peak()
    if name == DEALER:
        dealer.serve(network, parties)
        pipe.send(peak() - before)
    else:
        session = Session.open(network, parties=parties, dealer=DEALER)
        serve(pipe, ReleaseParty(session, ASK, rows, proved, before).perform)
        session.close()
    network.close()


def peak() -> int:
    """The most memory that this process has had so far, in bytes."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * UNIT


class ReleaseParty:
    """One compute party with its share of everybody's memberships, and at the developer its rows."""

    def __init__(self, session: Session, ask: Ask, rows: int, proved: bool, before: int) -> None:
        self.session = session
        self.ask = ask
        self.before = before
        self.records = np.arange(rows, dtype=np.int64)
        self.verifiers = list(NAMES[1:]) if proved else []
        facts = PublicFacts(NAMES[0], {ask.attribute: 2}, {}, rows, own_records=False, adapters={})
        self.state = SharedState(session, facts)
        codes = np.random.default_rng(0).integers(0, 2, rows) if session.name == NAMES[1] else None
        self.state.share_memberships(ask.attribute, NAMES[1:], codes, {})
        made = _one_hot if ask.operation.endswith("counts") else partial(rows_of_norm_one, seed=3)
        self.private = [made(rows, ask.width)] if session.name == NAMES[0] else []
        self.forecast = Forecast(session)

    def perform(self, task: BenchTask) -> BenchOutcome:
        """The calls of one task, after a round in which the parties meet."""
        self.session.communicator.barrier()
        label, waits, began, worked = f"{task.mode} {task.timed}", 0, perf_counter(), process_time()
        for _ in range(task.calls):
            waits += self.release(label)
        seconds, cpu = (perf_counter() - began) / task.calls, (process_time() - worked) / task.calls
        spent = self.session.meter.summary()[label]
        calls = spent.calls
        sent = spent.bytes_sent + spent.dealer_bytes_sent + spent.dealer_bytes_received
        cost = Cost(spent.rounds / calls, waits / task.calls, sent / calls)
        return BenchOutcome(seconds, cost, memory=peak() - self.before, cpu=cpu)

    def release(self, label: str) -> int:
        """One release, to its opening, and what the next one takes asked for; requests that were not made ahead."""
        operation, provider, ask = OPERATIONS[self.ask.operation], self.session.provider, self.ask
        asked = provider.messages
        with self.forecast.request(ask.alike(self.records)), self.session.operation(label):
            inputs = operation.share(self.state, ask, self.records, self.private, self.verifiers)
            value = operation.compute(self.state, ask, self.records, inputs, Update())
            if self.private:
                self.session.receive_opening(value, bound=operation.bound(ask, self.records, self.state.facts))
            else:
                self.session.reveal_to(NAMES[0], value)
        waits = provider.messages - asked
        self.forecast.ask_ahead()
        return waits


def _one_hot(rows: int, width: int) -> Tensor:
    return torch.nn.functional.one_hot(torch.arange(rows) % width, width).double()
