"""The dealer: a process of its own that makes correlated randomness on request and sees no data.

Every compute party sends every request; the dealer compares them byte by byte, so that a party out of step is an
error at once, and answers the last party alone. It must not collude with anybody: who knows all masks knows all values.
"""

from __future__ import annotations

from collections.abc import Sequence

from secure_fair.errors import ProtocolError
from secure_fair.mpc import keys, menu
from secure_fair.mpc.randomness import Root
from secure_fair.mpc.transport import Network

CHANNEL = "dealer"
GOODBYE = b""


def serve(network: Network, parties: Sequence[str], *, root: Root | None = None) -> None:
    """Answer the compute ``parties`` (in rank order) until all of them have said goodbye.

    ProtocolError where they ask for different things or for what is not on the menu, PartyLost where one is lost.
    """
    shared, _ = keys.agree(network, parties, root or Root.fresh())
    sources = [menu.Source(shared[party]) for party in parties]
    number = 0
    while (request := _next_request(network, parties)) != GOODBYE:
        items = menu.decode(request)
        answer = [menu.correction(item, sources, number + i).contiguous().numpy().data for i, item in enumerate(items)]
        number += len(items)
        network.send(parties[-1], CHANNEL, *answer)


def _next_request(network: Network, parties: Sequence[str]) -> bytes:
    requests = {party: network.receive(party, CHANNEL, limit=menu.MAX_MESSAGE_BYTES) for party in parties}
    for party, request in requests.items():
        if request != requests[parties[0]]:
            raise ProtocolError(
                f"{party} and {parties[0]} are out of step: {party} asks the dealer for {_shown(request)}, "
                f"{parties[0]} for {_shown(requests[parties[0]])}"
            )
    return requests[parties[0]]


def _shown(request: bytes) -> str:
    return f"{request[:200].decode(errors='replace')!r}" if request else "nothing more"
