"""The forecast of a run's secure computations: rounds, bytes, memory and seconds of each operation, before it begins.

    seconds = rounds (pace + latency) + waits for the dealer + bytes / bandwidth + bytes at the machine's pace

Rounds and bytes follow from shapes (``needs``), the pace is measured (``pace``). Training itself is not in it.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import asdict, dataclass
from typing import Any

from secure_fair.bench.needs import Needs, Parties, check_size, needs_of
from secure_fair.bench.pace import Pace, Work
from secure_fair.groups import columns
from secure_fair.mpc.link import LinkSettings
from secure_fair.operations import OPERATIONS
from secure_fair.parties.asked import ENROL, INTERSECT, Asked, Sizes, asked
from secure_fair.parties.config import RunConfig

BASE_MEMORY, COPIES = 30e6, 11
"""Bytes by which a party grows whatever it does, and copies of an operation's numbers that it has at its peak: measured
once, on two x86 cores; docs/bench.md shows how they fit."""
TO_ASK = 3  # messages that follow one another before each release: asked, granted, begun


@dataclass(frozen=True)
class ForecastLine:
    """The needs of one operation in a run, at the developer. ``memory``: about so many bytes at the peak;
    ``seconds`` None where the machine's pace is not known."""

    operation: str
    calls: int
    rounds: int
    traffic: float
    dealer_traffic: float
    memory: float
    seconds: float | None

    def tree(self) -> dict[str, Any]:
        """The line for JSON."""
        return asdict(self)


def forecast(config: RunConfig, sizes: Sizes, link: LinkSettings, pace: Pace | None) -> list[ForecastLine]:
    """A line for each operation, by the name that the meter has for it. UsageError for sizes beyond the engine."""
    found: dict[str, ForecastLine] = {}
    for kind in asked(config, sizes):
        line = _line(config, sizes, kind, link, pace)
        known = found.get(kind.operation)
        found[kind.operation] = line if known is None else _sum(line.operation, (known, line))
    return list(found.values())


def total(lines: Iterable[ForecastLine]) -> ForecastLine:
    """All operations together; memory is that of the largest."""
    return _sum("all", tuple(lines))


def _sum(name: str, lines: tuple[ForecastLine, ...]) -> ForecastLine:
    times = [line.seconds for line in lines]
    return ForecastLine(
        name,
        sum(line.calls for line in lines),
        sum(line.rounds for line in lines),
        sum(line.traffic for line in lines),
        sum(line.dealer_traffic for line in lines),
        max((line.memory for line in lines), default=BASE_MEMORY),
        None if None in times else sum(time or 0.0 for time in times),
    )


def _line(config: RunConfig, sizes: Sizes, kind: Asked, link: LinkSettings, pace: Pace | None) -> ForecastLine:
    groups = tuple(len(sizes.groups[one]) for one in config.components(kind.attribute))
    parties = Parties(
        config.compute_parties,
        config.precision_bits,
        config.own_records,
        groups if kind.operation == INTERSECT else (),
        sizes.adapters,
    )
    needs = needs_of(parties, kind)
    width = (kind.ask.width if kind.ask else 0) + columns(kind.groups)
    return ForecastLine(
        kind.operation,
        round(needs.calls),
        round(needs.rounds),
        needs.bytes_sent + needs.bytes_received,
        needs.dealer_bytes_sent + needs.dealer_bytes_received,
        BASE_MEMORY + COPIES * 8 * kind.records * width,
        None if pace is None else seconds(needs, kind, len(config.auditors), link, pace),
    )


def seconds(needs: Needs, kind: Asked, peers: int, link: LinkSettings, pace: Pace) -> float:
    """Seconds of all calls of one kind, from the first message to the opened value."""
    latency, work = link.latency_ms / 1000, _work(kind, pace)
    waiting = needs.rounds * (work.round_seconds + latency) + (2 * needs.waits + needs.verdicts) * latency
    return waiting + on_the_wire(needs, peers, link) + needs.bytes * work.a_byte


def _work(kind: Asked, pace: Pace) -> Work:
    """The work on rounds and bytes: rows that are proved take more than bits, and what is opened masked the least.

    Operations that are not binding do more with numbers than multiply them: they approximate functions of them.
    """
    if kind.operation == ENROL:
        return pace.enrolled
    if kind.ask is None:
        return pace.opened
    if not kind.verifiers:
        return pace.opened if OPERATIONS[kind.operation].rule.binding else pace.approximated
    return pace.proved if OPERATIONS[kind.operation].proof_block(kind.ask, kind.records) else pace.counted


def on_the_wire(needs: Needs, peers: int, link: LinkSettings) -> float:
    """Seconds that the busiest line is busy: each pair has its own, with this bandwidth in either direction."""
    if not link.bandwidth_mbps:
        return 0.0
    busiest = max(needs.bytes_sent / peers, needs.bytes_received / peers, needs.dealer_bytes_received)
    return 8 * busiest / (link.bandwidth_mbps * 1e6)


def check(config: RunConfig, sizes: Sizes) -> None:
    """UsageError where something that the run computes on shares is larger than the engine can take."""
    for kind in asked(config, sizes):
        check_size(kind)
