"""A relay for parties that can only dial out: it pairs their connections, and carries bytes that it cannot read.

Every party parks a few connections here. A party that calls another opens a connection too, and the relay joins it with
one that the other has parked; what passes then is the TLS of the two parties, whose keys the relay has not. Who uses it
proves to have a token, against a number that is new for every connection: that keeps strangers out, and protects
nothing of the parties'. A relay learns who is connected with whom, when, and how many bytes pass; it can withhold them.

    relay -> party   a number, in hex, and a line's end
    party -> relay   secure-fair-relay-1 ROLE NAME PROOF, and a line's end: PARK under one's own name, or DIAL another's
    relay -> party   OK, or why it is refused
    relay -> party   GO once it is joined with another connection, or why it is not; from then on bytes pass
"""

from __future__ import annotations

import asyncio
import contextlib
import hmac
import re
import secrets
import socket
from collections import Counter, deque
from dataclasses import dataclass, field
from typing import Any

VERSION = "secure-fair-relay-1"
PARK, DIAL = "park", "dial"
OK, GO = b"ok\n", b"go\n"
CHUNK = 1 << 16
LINE = 256  # bytes that a line of the opening has at most
TOKEN_BYTES = 32

HELLO_SECONDS = 5.0
"""Seconds for the opening, after which a connection is closed."""
DIAL_SECONDS = 5.0
"""How long a call waits for a parked connection."""
MOST_STRANGERS, MOST_STRANGERS_OF_ONE = 64, 16
"""Connections that have not proved the token yet: of everybody, and of one address."""
MOST_PARKED, MOST_NAMES, MOST_CALLS, MOST_CALLS_OF_ONE = 16, 32, 256, 64
"""Of those that have: parked under one name, names, calls, and calls for one name."""
LAST_SECONDS = 5.0
"""How long one way of a connection may go on when the other has ended."""

_NAME = re.compile(r"[a-z][a-z0-9-]{0,30}")


def proof(token: bytes, number: str, role: str, name: str) -> str:
    """The answer to a relay's number, by whoever has its token."""
    return hmac.new(token, f"{VERSION} {role} {name} {number}".encode(), "sha256").hexdigest()


@dataclass(eq=False)
class Line:
    """A connection that has proved the token. ``partner``: what it is joined with, once it is."""

    reader: asyncio.StreamReader
    writer: asyncio.StreamWriter
    partner: asyncio.Future[Line] = field(default_factory=lambda: asyncio.get_running_loop().create_future())
    over: asyncio.Event = field(default_factory=asyncio.Event)


@dataclass(frozen=True)
class Waiting:
    """Connections that are parked under a name, and calls for it; only one of the two has some."""

    parked: deque[Line] = field(default_factory=deque)
    calls: deque[Line] = field(default_factory=deque)

    def join(self) -> None:
        """Join those that can be."""
        while self.parked and self.calls:
            parked, call = self.parked.popleft(), self.calls.popleft()
            parked.partner.set_result(call)
            call.partner.set_result(parked)


class Relay:
    """One relay, for the parties that have its token."""

    def __init__(self, token: bytes) -> None:
        self._token = token
        self._strangers: Counter[str] = Counter()
        self._names: dict[str, Waiting] = {}
        self._calls: Counter[str] = Counter()  # by the name that is called

    async def listen(self, host: str, port: int) -> asyncio.Server:
        """Serve at this address; the caller keeps the server, and closes it."""
        return await asyncio.start_server(self._serve, host, port, limit=CHUNK)

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            opening = await self._open(reader, writer)
            if opening is not None:
                role, name = opening
                await self._use(role, name, Line(reader, writer))
        except (OSError, asyncio.IncompleteReadError, TimeoutError, asyncio.CancelledError):
            pass  # it has gone, or is too slow: nobody is told; or the relay stops, and this task is over anyway
        finally:
            await closed(writer)

    async def _open(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> tuple[str, str] | None:
        """Role and name of a connection, once it has proved the token; None where it has not, and was told."""
        address = str(writer.get_extra_info("peername", ("",))[0])
        if self._strangers.total() >= MOST_STRANGERS or self._strangers[address] >= MOST_STRANGERS_OF_ONE:
            return None
        self._strangers[address] += 1
        try:
            async with asyncio.timeout(HELLO_SECONDS):
                number = secrets.token_hex(16)
                writer.write(f"{number}\n".encode())
                line = await _line(reader)
        finally:
            self._strangers[address] -= 1
            self._strangers += Counter()  # without those that are zero
        words = line.split(" ")
        if len(words) != 4 or words[0] != VERSION or words[1] not in (PARK, DIAL) or not _NAME.fullmatch(words[2]):
            await _told(writer, f"not an opening of {VERSION}")
            return None
        if not hmac.compare_digest(words[3].encode(), proof(self._token, number, words[1], words[2]).encode()):
            await _told(writer, "another token than this relay's")
            return None
        writer.write(OK)
        keep_alive(writer)
        return words[1], words[2]

    async def _use(self, role: str, name: str, line: Line) -> None:
        if name not in self._names and len(self._names) >= MOST_NAMES:
            await _told(line.writer, f"{MOST_NAMES} names are in use already")
            return
        waiting = self._names.setdefault(name, Waiting())
        try:
            await (self._park if role == PARK else self._dial)(name, waiting, line)
        finally:
            if not (waiting.parked or waiting.calls or self._calls[name]) and self._names.get(name) is waiting:
                del self._names[name]

    async def _park(self, name: str, waiting: Waiting, line: Line) -> None:
        """Wait for a call, and carry it; a parked connection says nothing before."""
        if len(waiting.parked) >= MOST_PARKED:
            await _told(line.writer, f"{MOST_PARKED} connections are parked under {name} already")
            return
        waiting.parked.append(line)
        waiting.join()
        gone: asyncio.Future[bytes] = asyncio.ensure_future(line.reader.read(1))
        either: set[asyncio.Future[Any]] = {gone, line.partner}
        await asyncio.wait(either, return_when=asyncio.FIRST_COMPLETED)
        gone.cancel()
        await asyncio.gather(gone, return_exceptions=True)
        if not line.partner.done():
            waiting.parked.remove(line)
            return
        call = line.partner.result()
        try:
            for one in (line, call):
                one.writer.write(GO)
            await self._carry(line, call)
        finally:
            call.over.set()

    async def _dial(self, name: str, waiting: Waiting, line: Line) -> None:
        """Join the connection with one that is parked under this name."""
        if self._calls[name] >= MOST_CALLS_OF_ONE or self._calls.total() >= MOST_CALLS:
            await _told(line.writer, f"{self._calls[name]} calls to {name} are made already")
            return
        self._calls[name] += 1
        waiting.calls.append(line)
        waiting.join()
        try:
            await asyncio.wait({line.partner}, timeout=DIAL_SECONDS)
            if line.partner.done():
                await line.over.wait()
            else:
                waiting.calls.remove(line)
                await _told(line.writer, f"{name} is not here")
        finally:
            self._calls[name] -= 1

    async def _carry(self, one: Line, other: Line) -> None:
        await splice((one.reader, one.writer), (other.reader, other.writer))


Ends = tuple[asyncio.StreamReader, asyncio.StreamWriter]


async def splice(one: Ends, other: Ends) -> None:
    """Carry bytes both ways until both have ended, or one is broken; both are closed then, and soon after one has."""
    ways = [asyncio.ensure_future(copy(one[0], other[1])), asyncio.ensure_future(copy(other[0], one[1]))]
    try:
        await asyncio.wait(ways, return_when=asyncio.FIRST_COMPLETED)
        await asyncio.wait(ways, timeout=LAST_SECONDS)  # one that is broken has gone, which the other learns by this
    finally:
        for way in ways:
            way.cancel()
        await asyncio.gather(*ways, return_exceptions=True)
        await closed(one[1])
        await closed(other[1])


async def copy(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """Carry bytes one way until their end, and then the end."""
    while data := await reader.read(CHUNK):
        writer.write(data)
        await writer.drain()
    writer.write_eof()


async def closed(writer: asyncio.StreamWriter) -> None:
    """Close a connection, broken or not."""
    writer.close()
    with contextlib.suppress(OSError, asyncio.CancelledError):
        await writer.wait_closed()


def keep_alive(writer: asyncio.StreamWriter) -> None:
    """Have the operating system find out within a minute that the other end is gone, and keep routers awake."""
    opened = writer.get_extra_info("socket")
    opened.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
    for option, value in (("TCP_KEEPIDLE", 20), ("TCP_KEEPINTVL", 10), ("TCP_KEEPCNT", 4)):
        if hasattr(socket, option):
            opened.setsockopt(socket.IPPROTO_TCP, getattr(socket, option), value)


async def _line(reader: asyncio.StreamReader) -> str:
    try:
        line = await reader.readuntil(b"\n")
        return line.decode("ascii", "replace").rstrip("\n") if len(line) <= LINE else ""
    except asyncio.LimitOverrunError:
        return ""


async def _told(writer: asyncio.StreamWriter, why: str) -> None:
    """Say why not."""
    writer.write(f"{why}\n".encode())
    await writer.drain()
