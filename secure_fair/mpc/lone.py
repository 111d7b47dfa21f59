"""A session with nobody at the other end, which counts what a party would send and be sent.

It is the program's own code with shares, masks and requests to the dealer. What is sent goes nowhere; what comes has
the size that is due, and is zero, or what this party has sent itself where peers must say the same. So values mean
nothing, while messages, their sizes and their order are those of a real session: they depend on public shapes alone.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any, cast

import secure_fair.compat  # noqa: F401
from secure_fair.errors import UsageError
from secure_fair.mpc.communicator import Masks, NetworkCommunicator, change_to, install
from secure_fair.mpc.frames import SESSION_BYTES, FrameWriter
from secure_fair.mpc.link import Traffic
from secure_fair.mpc.provider import Provider
from secure_fair.mpc.session import OPENING_CHANNEL, Session
from secure_fair.mpc.transcript import Transcript
from secure_fair.mpc.transport import Network
from secure_fair.randomness import KEY_BYTES, KeySource

import crypten  # isort: skip

DEALER = "dealer"


class Nobody:
    """The network of a lone party: it has the methods that a session asks of one."""

    def __init__(self, name: str, transcript: Transcript) -> None:
        self.name = name
        self._transcript = transcript
        self._frames = FrameWriter(bytes(SESSION_BYTES))
        self._counted: dict[tuple[str, str], Traffic] = {}
        self._last: dict[tuple[str, str], bytes] = {}

    def send(self, peer: str, channel: str, *parts: Any) -> None:
        """Count a message, and forget it but for the last one."""
        message = b"".join(bytes(part) for part in parts)
        self._last[peer, channel] = message
        self._count(peer, channel, sent=self._framed(channel, message))

    def receive(self, peer: str, channel: str, limit: int) -> bytes:
        """A message of the size that is due: callers name no other limit."""
        message = self._last.get((peer, channel), b"")
        if channel == OPENING_CHANNEL:
            digest = self._transcript.digest()
            message = digest + bytes(limit - len(digest))
        elif len(message) != limit:
            message = bytes(limit)
        self._count(peer, channel, received=self._framed(channel, message))
        return message

    def traffic(self) -> Mapping[tuple[str, str], Traffic]:
        """The counts so far, by peer and channel."""
        return self._counted

    def _framed(self, channel: str, message: bytes) -> int:
        return sum(len(frame) for frame in self._frames.message(channel, message))

    def _count(self, peer: str, channel: str, *, sent: int = 0, received: int = 0) -> None:
        known = self._counted.get((peer, channel), Traffic())
        self._counted[peer, channel] = Traffic(
            known.messages_sent + bool(sent),
            known.bytes_sent + sent,
            known.messages_received + bool(received),
            known.bytes_received + received,
        )


@contextmanager
def lone_session(parties: Sequence[str], precision_bits: int) -> Iterator[Session]:
    """The session of the first of ``parties``. UsageError where one is open in this process: CrypTen has room for one.

    The keys that it shares are zeros, for nothing in it is anybody's, and nothing leaves it.
    """
    if NetworkCommunicator.is_initialized():
        raise UsageError("a session is open in this process; what a run costs is counted in one without")
    session, stock = _session(parties[0], parties, precision_bits), crypten.cfg.config
    install(*session.engine, precision_bits)
    try:
        yield session
    finally:
        NetworkCommunicator.shutdown()
        crypten.cfg.set_config(stock)  # as the next session in this process, or one forked off it, expects it


@contextmanager
def aside(session: Session) -> Iterator[Session]:
    """A lone session that goes on from where an open ``session`` stands, which has to be left alone meanwhile.

    It numbers masks as that one would. It has none of its keys, and nothing of it reaches anybody.
    """
    lone = _session(session.name, session.parties, session.precision_bits)
    lone.go_on_from(session)
    change_to(*lone.engine)
    try:
        yield lone
    finally:
        change_to(*session.engine)


def _session(name: str, parties: Sequence[str], precision_bits: int) -> Session:
    transcript, rank = Transcript(), list(parties).index(name)
    network = cast(Network, Nobody(name, transcript))
    peers = [party for party in parties if party != name]
    return Session(
        network,
        NetworkCommunicator(network, parties),
        Provider(network, DEALER, parties, bytes(KEY_BYTES), transcript),
        Masks({party: bytes(KEY_BYTES) for party in peers}, rank, parties, KeySource.fresh()),
        transcript,
        precision_bits=precision_bits,
        dealer=DEALER,
        private=False,
    )
