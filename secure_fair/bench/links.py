"""The forecast of a release beside the time that it took, by operation, records and latency of the link.

The forecast is the program's own: needs from shapes, this machine's pace measured over such a link just before.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, replace
from statistics import median
from time import perf_counter
from typing import Any

from secure_fair.bench.forecast import seconds
from secure_fair.bench.moments import NAMES, ReleaseParty
from secure_fair.bench.needs import CALLS, Parties, needs_of
from secure_fair.bench.pace import pace
from secure_fair.mpc.link import LinkSettings
from secure_fair.mpc.session import Session
from secure_fair.operations.common.ask import Ask
from secure_fair.parties.asked import Asked
from secure_fair.parties.rehearsal import rehearse

LATENCIES = (0.0, 10.0, 50.0)  # ms, one way
RECORDS = (10_000, 100_000)
WIDTHS = {"moment": 16, "group_counts": 4, "adversary_rows": 32}  # numbers of a row; the first two are proved
PROVED = ("moment", "group_counts")
IN_A_ROW = 7  # calls that are timed, after a first one; their median counts


@dataclass(frozen=True)
class LinkRow:
    """One operation on so many ``records``, over a link: seconds of a release, and those that were forecast."""

    operation: str
    records: int
    latency_ms: float
    seconds: float
    forecast: float

    @property
    def ratio(self) -> float:
        """The forecast by the fact: 1 is right."""
        return self.forecast / self.seconds

    def tree(self) -> dict[str, Any]:
        """The row for JSON."""
        return asdict(self)


def measure_links(
    sizes: Sequence[int], latencies: Sequence[float], follow: Callable[[str], None] = lambda title: None
) -> list[LinkRow]:
    """Every operation on each number of records, over each link; ``follow`` hears what is measured."""
    found = []
    for latency in latencies:
        follow(f"forecast and fact over a link of {latency:g} ms")
        link = LinkSettings(latency_ms=latency)
        known = pace(link)
        for records in sizes:
            facts = rehearse(timed, records, link=link)[0]
            for operation, fact in facts.items():
                one = foreseen(operation, records)
                needs = needs_of(Parties(NAMES), _times(one, CALLS + 1)) - needs_of(Parties(NAMES), _times(one, CALLS))
                heard = replace(needs, verdicts=0)  # a verifier's word, which a run waits for, is not sent here
                found.append(LinkRow(operation, records, latency, fact, seconds(heard, one, 1, link, known)))
    return found


def timed(session: Session, records: int) -> dict[str, float]:
    """Seconds of a release of each operation at this party, the first one left out."""
    found = {}
    for operation in WIDTHS:
        party = ReleaseParty(session, ask_of(operation), records, operation in PROVED, 0)
        party.release(f"first {operation}")
        session.communicator.barrier()
        found[operation] = median(_seconds(party, operation) for _ in range(IN_A_ROW))
        session.provider.discard()
    return found


def _seconds(party: ReleaseParty, operation: str) -> float:
    """Seconds of one release, with what the next takes being asked for."""
    began = perf_counter()
    party.release(operation)
    return perf_counter() - began


def ask_of(operation: str) -> Ask:
    """The request that is measured."""
    return Ask(operation=operation, attribute="group", width=WIDTHS[operation])


def foreseen(operation: str, records: int) -> Asked:
    """The same as the forecast has it."""
    verifiers = NAMES[1:] if operation in PROVED else ()
    return Asked(operation, "group", 1, records, 2, ask_of(operation), verifiers, NAMES[1:])


def _times(asked: Asked, times: int) -> Asked:
    return replace(asked, times=times)
