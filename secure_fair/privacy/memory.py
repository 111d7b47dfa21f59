"""The memory of other parties' ledgers: how far each had come when this party last heard of it.

A ledger that was restored from a backup has a chain that holds and a head that fits, and has forgotten what was spent
since. Only who was told of a later entry can notice. The memory is in one's own ledger, and so in its chain.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from secure_fair.privacy.chain import ChainEnd

SEEN = "seen"
LOST = "lost"


def remembered(entries: Iterable[dict[str, Any]], peer: str, certificate: str) -> ChainEnd | None:
    """The newest entry of a peer's ledger that these ``entries`` tell of; None where nothing is remembered.

    A word that the ledger was lost takes nothing away: what is remembered changes once both sides have begun again.

    ``certificate``: the fingerprint under which the peer is met, empty in a simulation. Under another one it may be
    somebody else of the same name, and nothing is known of that ledger.
    """
    known, here = None, False
    for entry in entries:
        match entry["kind"]:
            case kind if kind == SEEN and entry["peer"] == peer:
                here = entry["certificate"] == certificate
                known = ChainEnd(entry["count"], entry["newest"]) if here else known
            case "received" if here and entry["auditor"] == peer and "newest" in entry:
                known = ChainEnd(*entry["newest"])
    return known


def others(entries: Iterable[dict[str, Any]], peer: str, certificate: str) -> set[str]:
    """The other certificates under which a party of this name was met before."""
    seen = (entry for entry in entries if entry["kind"] == SEEN and entry["peer"] == peer)
    return {entry["certificate"] for entry in seen} - {certificate}
