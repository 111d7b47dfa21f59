"""Continuity: developer and auditor show each other that their ledgers go on from where they were when last seen.

Each asks for the hash of the entry that it remembers, by its number alone: a ledger that was restored from a backup
cannot tell it. Who asks judges, and says so; a ledger that does not go on ends the run before anything is spent, unless
both sides have the word that it was lost (``--ledger-lost``), which both then write down. That is against accidents: a
party that means to deceive keeps the hashes, and rewrites its ledger; what it says of a run is compared by extracts.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from secure_fair.errors import Refusal, UsageError
from secure_fair.mpc.transport import Network
from secure_fair.parties import messages
from secure_fair.parties.config import Endpoint
from secure_fair.parties.messages import Judged, Newest, Remember, Shown
from secure_fair.parties.progress import Progress
from secure_fair.privacy.chain import ChainEnd
from secure_fair.privacy.ledger import Ledger
from secure_fair.privacy.memory import others, remembered

OPTION = "--ledger-lost"


@dataclass(frozen=True)
class Memory:
    """One party's own ledger, and what it remembers of its peers'."""

    endpoint: Endpoint
    network: Network
    ledger: Ledger

    def check(self, peers: Sequence[str], progress: Progress) -> None:
        """Compare with every peer; Refusal where a ledger does not go on and was not said to be lost."""
        mine = [self._check_one(peer, progress) for peer in peers]
        if self.network.name in self.endpoint.lost and all(mine):
            raise UsageError(f"{OPTION} {self.network.name}: this ledger goes on as its peers know it; leave it out")

    def _check_one(self, peer: str, progress: Progress) -> bool:
        """Whether this party's own ledger goes on, by the peer's word."""
        entries, certificate = list(self.ledger.entries()), self._certificate(peer)
        known = remembered(entries, peer, certificate)
        if known is None and others(entries, peer, certificate):
            progress.warn(
                f"{peer} was met before under another certificate: nobody can say whether its ledger goes on from there"
            )
        messages.send(self.network, peer, Remember(entries=known.entries if known else 0))
        asked, _ = messages.expect(self.network, peer, Remember)
        messages.send(self.network, peer, Shown(hash=self.ledger.hash_of(asked.entries)))
        shown, _ = messages.expect(self.network, peer, Shown)
        goes_on = known is None or shown.hash == known.hash
        messages.send(self.network, peer, Judged(goes_on=goes_on))
        judged, _ = messages.expect(self.network, peer, Judged)
        if not goes_on and known is not None:
            self._forgive(peer, peer, known, progress)
        elif peer in self.endpoint.lost:
            raise UsageError(f"{OPTION} {peer}: its ledger goes on as it is known here; leave it out")
        if not judged.goes_on:
            self._forgive(self.network.name, peer, ChainEnd(asked.entries, ""), progress)
        return judged.goes_on

    def _forgive(self, whose: str, peer: str, known: ChainEnd, progress: Progress) -> None:
        """Write down that a ledger was lost, where this party was told so; Refusal otherwise."""
        own = whose == self.network.name
        ledger = "this party's ledger" if own else f"the ledger of {whose}"
        what = (
            f"{ledger} does not go on from entry {known.entries}, which {peer if own else 'this party'} knows: it was "
            "restored from an older copy, or begun anew, and has forgotten what was spent since"
        )
        if whose not in self.endpoint.lost:
            raise Refusal(
                f"{what}; restore the newest state. If it is lost for good, both sides start again with {OPTION} "
                f"{whose}, which is written in their ledgers; what was spent since is in the developer's extracts, and "
                "the auditor's policy should leave less by as much"
            )
        progress.warn(f"{what}; gone on with by {OPTION} {whose}")
        self.ledger.lost(whose, self._certificate(peer), known)

    def keep(self, run: str, peer: str, newest: Newest) -> None:
        """Write down how far the peer's ledger has come."""
        self.ledger.seen(run, peer, self._certificate(peer), ChainEnd(newest.entries, newest.hash))

    def own(self) -> Newest:
        """How far this party's ledger has come, on disk."""
        end = self.ledger.settled()
        return Newest(entries=end.entries, hash=end.hash)

    def _certificate(self, peer: str) -> str:
        return (self.endpoint.fingerprints or {}).get(peer, "")
