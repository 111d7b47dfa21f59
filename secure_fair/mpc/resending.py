"""Frames that are on their way: kept until the peer says that it has them, and sent again where a line has broken.

A connection may end though both parties live: a reset, a relay that was started anew, a router that forgot. With
``link.reconnect`` the party that reads a stream asks for it again, with the same certificates and the same hello, and
says how many frames it has accepted; the other sends from there on. Frames keep their session and their counters, so
that one which came twice, is missing, out of order or changed is an error as ever (``frames``). Nobody else can ask:
the stream is served to the holder of the peer's key alone, and to the session that it began.
"""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Iterator

from secure_fair.errors import ProtocolError

MOST_BYTES = 1 << 30
"""Bytes that may be on their way: whoever sends more waits, and a line that breaks with more of them is lost."""
ROOM_SECONDS = 30.0
"""How long a peer that reads may acknowledge nothing while so much is on its way; then it is lost."""


class Window:
    """The frames sent on one stream that were not acknowledged, in order. Safe to use from several threads."""

    def __init__(self, most: int = MOST_BYTES) -> None:
        self._most = most
        self._acknowledged = threading.Condition()
        self._frames: deque[bytes] = deque()
        self._first = 0  # the number of the first one kept: so many were acknowledged
        self._bytes = 0
        self._lock = threading.Lock()

    @property
    def full(self) -> bool:
        """Whether more is on its way than is kept for."""
        return self._bytes > self._most

    def has_room(self, seconds: float) -> bool:
        """Whether the peer acknowledges, within so many ``seconds``, what is kept beyond the bound."""
        with self._acknowledged:
            return self._acknowledged.wait_for(lambda: not self.full, seconds)

    def add(self, frame: bytes) -> None:
        """Keep a frame that is about to be sent."""
        with self._lock:
            self._frames.append(frame)
            self._bytes += len(frame)

    def acknowledge(self, received: object) -> None:
        """Forget the first ``received`` of all frames; ProtocolError for a number that cannot be."""
        with self._lock:
            if not isinstance(received, int) or not received <= self._first + len(self._frames):
                raise ProtocolError(
                    f"it acknowledges {received} frames, and was sent {self._first + len(self._frames)}"
                )
            while self._first < received:
                self._bytes -= len(self._frames.popleft())
                self._first += 1
        with self._acknowledged:
            self._acknowledged.notify_all()

    def after(self, received: object) -> Iterator[bytes]:
        """The frames behind the first ``received``; ProtocolError where it had said that it has more."""
        self.acknowledge(received)
        if self._first != received:
            raise ProtocolError(f"it asks for frames after {received}, and has acknowledged {self._first}")
        return iter(tuple(self._frames))
