"""The pace of this machine: seconds a round and a byte of secure computation, measured in a few seconds.

A developer, an auditor and a dealer, in processes and over TLS as in a run, make small and larger moments of both
kinds, counts and an adversary's rows, each the median of five. Whatever else the machine does meanwhile is in it. A
byte stands for the work on its numbers, at all parties, a round for what is done however few there are.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from statistics import median
from time import perf_counter

from secure_fair.bench.moments import ASK, ReleaseParty
from secure_fair.bench.work import BenchTask
from secure_fair.mpc.link import LinkSettings
from secure_fair.mpc.session import Session
from secure_fair.operations.common.ask import Ask
from secure_fair.parties.rehearsal import rehearse

FEW, MANY = 64, 32_768  # rows
TURNS = 5  # of each kind
COUNTS = Ask(operation="group_counts", attribute="group", width=4)
ADVERSARY = Ask(operation="adversary_rows", attribute="group", width=16)
FASTEST = 0.001  # seconds, of a simulated link


@dataclass(frozen=True)
class Work:
    """Seconds of a round on this machine, and of a byte besides the rounds, of one kind of work."""

    round_seconds: float
    a_byte: float


@dataclass(frozen=True)
class Pace:
    """The work where values are opened masked, where rows are committed to and proved, where they are one-hot and
    counted, where functions are approximated on shares, and where memberships are committed to."""

    opened: Work
    proved: Work
    counted: Work
    approximated: Work
    enrolled: Work


@dataclass(frozen=True)
class Effort:
    """The seconds, bytes and rounds of something that was done."""

    seconds: float
    bytes: float
    rounds: float

    def work(self, larger: Effort, latency: float) -> Work:
        """The line through this, of few rows, and the same of many over a link of so much ``latency``."""
        a_byte = max(larger.seconds - self.seconds, 0.0) / (larger.bytes - self.bytes)
        return Work(max((self.seconds - a_byte * self.bytes) / self.rounds - latency, 0.0), a_byte)


@lru_cache(maxsize=8)
def pace(link: LinkSettings = LinkSettings()) -> Pace:  # noqa: B008 (frozen)
    """The pace, measured when it is first asked for. ProcessFailed where the parties cannot be started here.

    Messages over a simulated ``link`` are taken in by other threads than those of none: then it is measured over one of
    a millisecond, which is taken off again.
    """
    latency = FASTEST if link.latency_ms or link.bandwidth_mbps else 0.0
    measured = rehearse(_measured, link=LinkSettings(latency_ms=1000 * latency))[0]
    return Pace(*(few.work(many, latency) for few, many in measured))


def _measured(session: Session) -> list[tuple[Effort, Effort]]:
    """At one party: few rows and many, opened, proved, counted, an adversary's; then memberships of few and many."""
    kinds = ((ASK, False), (ASK, True), (COUNTS, True), (ADVERSARY, False))
    found = [(_released(session, ask, FEW, proved), _released(session, ask, MANY, proved)) for ask, proved in kinds]
    _enrolled(session, FEW)  # the first is not counted
    return [*found, (_enrolled(session, FEW), _enrolled(session, MANY))]


def _enrolled(session: Session, rows: int) -> Effort:
    """The memberships of so many."""
    before, began = session.meter.summary()["share_attributes"], perf_counter()
    ReleaseParty(session, ASK, rows, False, 0)
    seconds, spent = perf_counter() - began, session.meter.summary()["share_attributes"] - before
    moved = spent.bytes_sent + spent.bytes_received + spent.dealer_bytes_sent + spent.dealer_bytes_received
    return Effort(seconds, moved, spent.rounds)


def _released(session: Session, ask: Ask, rows: int, proved: bool) -> Effort:
    """One release as it goes on and on: the first is not counted."""
    party = ReleaseParty(session, ask, rows, proved, 0)
    name = f"{ask.operation} {rows} {proved}"
    party.perform(BenchTask(ask.operation, f"begun {name}", 1, timed=True))
    seconds = median(party.perform(BenchTask(ask.operation, name, 1, timed=True)).seconds for _ in range(TURNS))
    session.provider.discard()
    spent = session.meter.summary()[f"{name} True"]
    moved = spent.bytes_sent + spent.bytes_received + spent.dealer_bytes_sent + spent.dealer_bytes_received
    return Effort(seconds, moved / spent.calls, spent.rounds / spent.calls)
