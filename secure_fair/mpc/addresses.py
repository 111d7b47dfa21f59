"""Addresses of this machine for parties that run on it."""

from __future__ import annotations

import contextlib
import random
import socket
from collections.abc import Iterator

PORTS = range(20_000, 32_000)


@contextlib.contextmanager
def held_addresses(count: int) -> Iterator[list[str]]:
    """Free loopback addresses, for parties alone as long as this is entered, whether one of them listens or not.

    A socket that is bound to an address and does not listen keeps it from everybody who binds without SO_REUSEADDR, as
    this does, and from outgoing connections; servers bind with it, and are let in. Where a system lets none in, an
    address is only known to have been free a moment ago; the ports are below those that systems give to outgoing
    connections.
    """
    ports = iter(random.SystemRandom().sample(PORTS, len(PORTS)))
    with contextlib.ExitStack() as stack:
        places: list[tuple[str, int]] = []
        while len(places) < count:
            holder = stack.enter_context(socket.socket())
            with contextlib.suppress(OSError):
                holder.bind(("127.0.0.1", next(ports, 0)))
                places.append(holder.getsockname())
                holder.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
                if not _lets_in(places[-1]):
                    holder.close()
        yield [f"{host}:{port}" for host, port in places]


def _lets_in(place: tuple[str, int]) -> bool:
    try:
        socket.create_server(place).close()
    except OSError:
        return False
    return True
