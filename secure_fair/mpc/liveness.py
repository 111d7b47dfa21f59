"""Who is lost, and who waits for whom: what a party concludes from ended connections, silences and heartbeats."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import NamedTuple

from secure_fair.errors import PartyLost

HEARTBEAT_SECONDS = 1.0
GRACE_SECONDS = 0.3
"""How long an ended connection waits for evidence that somebody else is to blame: a party that leaves because of a loss
ends its connections too, and may do so before the others have noticed the loss."""
HEARSAY_SECONDS = 1.0
"""How long what another party says waits for the suspect's own words, which may still be on their way."""


class Suspicion(NamedTuple):
    """A connection that has ended without a goodbye, or what ``teller`` has left the session for."""

    when: float  # monotonic, seconds
    party: str
    reason: str
    teller: str = ""
    exit_code: int = PartyLost.exit_code
    """That of a refusal, where the party is said to have refused."""


def find_loss(
    now: float, suspicions: Sequence[Suspicion], silences: Mapping[str, float], timeout: float
) -> Suspicion | None:
    """The loss to conclude, or None as yet.

    ``suspicions`` in the order of time; ``silences``: for how long (seconds) each connected party has not been heard.
    A party is lost when it is silent for nine tenths of ``timeout`` (heartbeats come every second, and the rest is for
    telling the others), blamed by another so long ago, or else first to have ended its connection a grace period ago.
    The latter waits while another is unusually quiet: who has left may have done so because of that one. Who has ended
    only the connection on which it reads, and is still heard, lives and may know why: its own words are waited for, for
    half of ``timeout``, which is less than its silence could take.
    """
    told = [suspicion for suspicion in suspicions if suspicion.teller]
    if told and now > told[0].when + HEARSAY_SECONDS:
        return told[0]
    longest = max(silences.values(), default=0.0)
    if longest > 0.9 * timeout:
        silent = next(party for party in silences if silences[party] == longest)
        return Suspicion(now, silent, f"silent for {longest:.1f} s")
    quiet = longest > max(timeout / 2, 3 * HEARTBEAT_SECONDS)
    if suspicions and not told and not quiet:
        first = suspicions[0]
        patience = timeout / 2 if first.party in silences else GRACE_SECONDS
        return first if now > first.when + patience else None
    return None


def find_circle(name: str, waits: Mapping[str, Mapping[str, float]], bound: float) -> list[str]:
    """The parties through which ``name`` waits for itself, ending with itself; empty where there is no such circle.

    ``waits``: for each party, whom it waits for and how long already (seconds). Waits up to ``bound`` do not count: a
    message may be on its way.
    """
    paths = [[name]]
    visited: set[str] = set()
    while paths:
        path = paths.pop()
        if path[-1] == name and len(path) > 1:
            return path[1:]
        if path[-1] not in visited:
            visited.add(path[-1])
            paths += [[*path, peer] for peer, age in waits.get(path[-1], {}).items() if age > bound]
    return []
