"""A broken line, at the party that reads the peer's stream: asked for again until it is there, or for too long.

A call whose connection was never made is never given back by gRPC where the thread that asks reads the stream itself:
its channel is not closed by closing it, and tries to connect on and on. So many attempts of a long cut would take all
of the peer's places at once when the line is there again. ``open_stream`` asks for the stream only over a connection
that is made.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from typing import Any

from secure_fair.errors import ProtocolError
from secure_fair.mpc.frames import METHOD, SERVICE, Hello, decode_control, encode_control
from secure_fair.mpc.link import Link, Stuck
from secure_fair.mpc.tls import grpc

AGAIN_SECONDS = 0.2
"""Between two attempts to have a broken line back."""
ANSWER_SECONDS = 5.0
"""How long one attempt may take."""

_NOTHING = f"/{SERVICE}/Nothing"  # which nobody serves


def open_stream(channel: grpc.Channel, request: bytes) -> Any:
    """Ask for the peer's stream over a connection that is made; RpcError within ``ANSWER_SECONDS`` where none is."""
    try:
        channel.unary_unary(_NOTHING)(b"", timeout=ANSWER_SECONDS)
    except grpc.RpcError as error:
        if error.code() != grpc.StatusCode.UNIMPLEMENTED:
            raise
    return channel.unary_stream(METHOD)(request)


def comes_back(link: Link, own: Hello, first: Hello, over: Callable[[], bool], pause: Callable[[float], Any]) -> bool:
    """Ask for the peer's stream from behind what has come, for ``link.reconnect`` seconds or until it is ``over``.

    ``own``: this party's hello, ``first``: the one that the peer began the session with; ProtocolError where it comes
    back with another. False where the stream has not come, or the peer knows nothing of this session; and where it
    comes back again and again, and not one frame with it.
    """
    link.broken = time.monotonic()
    if link.stuck is None or link.stuck.accepted != link.accepted:
        link.stuck = Stuck(link.accepted, link.broken)
    began = link.stuck.since
    fields = decode_control(own.encode())
    while not (over() or link.departed or link.ended.is_set()):
        if time.monotonic() > began + link.reconnect:
            return False
        try:
            if _answer(link, encode_control({**fields, "received": link.accepted})) != first:
                raise ProtocolError("it has come back as another session")
            link.last_heard, link.broken = time.monotonic(), None
            return True
        except (StopIteration, grpc.RpcError) as error:
            if isinstance(error, grpc.RpcError) and error.code() == grpc.StatusCode.PERMISSION_DENIED:
                return False
            pause(AGAIN_SECONDS)
    return False


def _answer(link: Link, request: bytes) -> Hello:
    """The hello of the stream that is asked for over a connection of its own: the one before may be dead, and nobody
    knows."""
    assert link.channel is not None
    assert link.dial is not None
    link.channel.close()
    link.channel = link.dial()
    stream = open_stream(link.channel, request)
    impatient = threading.Timer(ANSWER_SECONDS, stream.cancel)
    impatient.start()
    link.call = link.frames = stream
    try:
        return Hello.decode(next(stream))
    finally:
        impatient.cancel()
