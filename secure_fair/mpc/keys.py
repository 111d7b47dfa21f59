"""How two parties agree on a key: each sends 256 bits of its own over their authenticated link, and both hash them."""

from __future__ import annotations

from collections.abc import Sequence

from secure_fair.errors import ProtocolError
from secure_fair.mpc.transport import Network
from secure_fair.randomness import KEY_BYTES, KeySource, derive

CHANNEL = "keys"
_PRIVATE, _SEEDED = b"\x01", b"\x00"


def agree(network: Network, peers: Sequence[str], source: KeySource) -> tuple[dict[str, bytes], bool]:
    """A fresh key with every peer, and whether every one of them and this party draws from the operating system.

    A contribution is uniform and sent over an authenticated, encrypted link; the key is as good as the better one.
    """
    own = {peer: source.derive("contribution", network.name, peer) for peer in peers}
    for peer in peers:
        network.send(peer, CHANNEL, (_PRIVATE if source.private else _SEEDED) + own[peer])
    keys, private = {}, source.private
    for peer in peers:
        message = network.receive(peer, CHANNEL, limit=1 + KEY_BYTES)
        if len(message) != 1 + KEY_BYTES or message[:1] not in (_PRIVATE, _SEEDED):
            raise ProtocolError(f"{peer} sent {len(message)} bytes in place of its part of a key of {KEY_BYTES} bytes")
        parts = {network.name: own[peer], peer: message[1:]}
        first, second = sorted(parts)
        keys[peer] = derive(parts[first] + parts[second], "pair", first, second)
        private = private and message[:1] == _PRIVATE
    return keys, private
