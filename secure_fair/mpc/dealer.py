"""The dealer: a process of its own that makes correlated randomness on request and sees no data.

Every compute party sends every request, after the hash of its transcript; the dealer compares them byte by byte, so
that a party out of step is an error at once. It sends keys to the verifiers that they are for, then answers the last
party alone. It must not collude with anybody: who knows all masks knows all values, and who knows all keys proves all.
"""

from __future__ import annotations

from collections.abc import Sequence

from secure_fair.errors import ProtocolError
from secure_fair.mpc import keys, menu, requests, transcript
from secure_fair.mpc.transport import Network
from secure_fair.randomness import KeySource

CHANNEL = "dealer"
GOODBYE = b""


def serve(network: Network, parties: Sequence[str], *, source: KeySource | None = None) -> int:
    """Answer the compute ``parties`` (in rank order) until all of them have said goodbye; the items that were dealt.

    ProtocolError where they ask for different things or for what is not on the menu, PartyLost where one is lost.
    """
    shared, _ = keys.agree(network, parties, source or KeySource.fresh())
    sources = [menu.SharedKeySource(shared[party], rank) for rank, party in enumerate(parties)]
    number = 0
    while (request := _next_request(network, parties)) != GOODBYE:
        items = requests.decode(request[transcript.BYTES :])
        for item in items:
            _check_owners(parties, item)
            if isinstance(item, menu.Keys):
                _send_keys(network, parties, item, sources)
        answer = [menu.correction(item, sources, number + i).contiguous().numpy().data for i, item in enumerate(items)]
        number += len(items)
        network.send(parties[-1], CHANNEL, *answer)
    return number


def _send_keys(
    network: Network, parties: Sequence[str], item: menu.Keys, sources: Sequence[menu.SharedKeySource]
) -> None:
    if max(item.owner, *item.verifiers, 0) >= len(parties) or item.owner in item.verifiers:
        raise ProtocolError(f"keys for {item.verifiers} to what {item.owner} owns, among {len(parties)} parties")
    for verifier, part in menu.keys(item, sources):
        network.send(parties[verifier], CHANNEL, part.data)


def _check_owners(parties: Sequence[str], item: menu.Item) -> None:
    """Check that masks are owned by parties that there are: what nobody owns would be masked by zeros."""
    for operand in (item.left, item.right) if isinstance(item, menu.Product) else ():
        if isinstance(operand, menu.Reused) and max(operand.owners, default=0) >= len(parties):
            raise ProtocolError(f"a mask that {operand.owners} own, among {len(parties)} parties")


def _next_request(network: Network, parties: Sequence[str]) -> bytes:
    asked = {
        party: network.receive(party, CHANNEL, limit=transcript.BYTES + requests.MAX_MESSAGE_BYTES) for party in parties
    }
    first = parties[0]
    for party, request in asked.items():
        if request[transcript.BYTES :] != asked[first][transcript.BYTES :]:
            raise ProtocolError(
                f"{party} and {first} are out of step: {party} asks the dealer for {_shown(request)}, "
                f"{first} for {_shown(asked[first])}"
            )
        if request != asked[first]:
            raise ProtocolError(
                f"{party} and {first} are out of step: they ask the dealer for the same, {_shown(request)}, but have "
                "shared or masked different things before"
            )
    return asked[first]


def _shown(request: bytes) -> str:
    return f"{request[transcript.BYTES :][:200].decode(errors='replace')!r}" if request else "nothing more"
