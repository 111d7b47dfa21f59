"""A broken line, at the party that reads the peer's stream: asked for again until it is there, or for too long."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from typing import Any

from secure_fair.errors import ProtocolError
from secure_fair.mpc.frames import METHOD, Hello, decode_control, encode_control
from secure_fair.mpc.link import Link
from secure_fair.mpc.tls import grpc

AGAIN_SECONDS = 0.2
"""Between two attempts to have a broken line back."""
ANSWER_SECONDS = 5.0
"""How long one attempt may take."""


def comes_back(link: Link, own: Hello, first: Hello, over: Callable[[], bool], pause: Callable[[float], Any]) -> bool:
    """Ask for the peer's stream from behind what has come, for ``link.reconnect`` seconds or until it is ``over``.

    ``own``: this party's hello, ``first``: the one that the peer began the session with; ProtocolError where it comes
    back with another. False where the stream has not come, or the peer knows nothing of this session.
    """
    link.broken = began = time.monotonic()
    fields = decode_control(own.encode())
    while not (over() or link.departed or link.ended.is_set()):
        if time.monotonic() > began + link.reconnect:
            return False
        stream: Any = _dial_again(link)(encode_control({**fields, "received": link.accepted}))
        impatient = threading.Timer(ANSWER_SECONDS, stream.cancel)
        impatient.start()
        link.call = link.frames = stream
        try:
            if Hello.decode(next(stream)) != first:
                raise ProtocolError("it has come back as another session")
            link.last_heard, link.broken = time.monotonic(), None
            return True
        except (StopIteration, grpc.RpcError) as error:
            if isinstance(error, grpc.RpcError) and error.code() == grpc.StatusCode.PERMISSION_DENIED:
                return False
            pause(AGAIN_SECONDS)
        finally:
            impatient.cancel()
    return False


def _dial_again(link: Link) -> Callable[[bytes], Iterator[bytes]]:
    """A connection of its own: the one before may be dead, and nobody knows."""
    assert link.channel is not None
    assert link.dial is not None
    link.channel.close()
    link.channel = link.dial()
    open_stream: Callable[[bytes], Iterator[bytes]] = link.channel.unary_stream(METHOD)
    return open_stream
