"""A party's own end of a relay: calls to its peers go out by it, and calls to this party come in by parked connections.

Inside the party's process, on addresses of this machine alone. What passes is the TLS of the two parties, so that
neither the relay nor anybody on this machine gets further than to a handshake.
"""

from __future__ import annotations

import asyncio
import contextlib
import threading
from collections.abc import Collection, Coroutine
from typing import Any

from secure_fair.errors import PartyLost, UsageError
from secure_fair.mpc.relay import CHUNK, DIAL, GO, LINE, OK, PARK, VERSION, Ends, closed, keep_alive, proof, splice

MOST_CARRIED = 64  # calls that came in and are not over
PARKED = 4  # connections that wait for calls at the same time
RELAY_SECONDS = 10.0
PAUSE_SECONDS = 0.5
LAST_BYTES_SECONDS = 2.0
_TELLS = b"0123456789abcdef"  # a relay begins with a number


_UNHEARD = (OSError, asyncio.IncompleteReadError, asyncio.LimitOverrunError)


class RelayRefused(Exception):
    """The relay has said no, and why."""


class Tunnel:
    """The connections of the party ``name`` by a relay at HOST:PORT, to its server at ``local``; a context.

    Entering it raises UsageError where the relay takes another token, PartyLost where there is none. ``addresses`` has
    the address of each peer on this machine.
    """

    def __init__(self, relay: str, token: bytes, name: str, local: str, peers: Collection[str]) -> None:
        self._relay, self._local = _place(relay), _place(local)
        self._where = relay
        self._token = token
        self._name = name
        self._peers = list(peers)
        self._carried: set[asyncio.Task[None]] = set()
        self._lasting: list[asyncio.Task[None]] = []
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, name=f"{name}: relay", daemon=True)
        self.addresses: dict[str, str] = {}

    def __enter__(self) -> Tunnel:
        self._thread.start()
        try:
            self._run(self._begin())
        except BaseException:
            self._stop()
            raise
        return self

    def __exit__(self, *error: object) -> None:
        self._run(self._end())
        self._stop()

    def _run(self, what: Coroutine[Any, Any, None]) -> None:
        asyncio.run_coroutine_threadsafe(what, self._loop).result()

    def _stop(self) -> None:
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()
        self._loop.close()

    async def _begin(self) -> None:
        try:
            _, writer = await self._opened(PARK, self._name)
            await closed(writer)
        except RelayRefused as error:
            raise UsageError(f"the relay at {self._where} refuses this party: {error}") from None
        except (TimeoutError, *_UNHEARD) as error:
            why = str(error) if isinstance(error, OSError) and error.errno else "it does not answer as a relay does"
            raise PartyLost("the relay", f"not reached at {self._where}: {why}") from None
        for peer in self._peers:
            server = await asyncio.start_server(self._caller(peer), "127.0.0.1", 0)
            self.addresses[peer] = "{}:{}".format(*server.sockets[0].getsockname())
        self._lasting = [asyncio.ensure_future(self._wait_for_calls()) for _ in range(PARKED)]

    async def _end(self) -> None:
        """Let what is on its way arrive, and stop."""
        if self._carried:
            await asyncio.wait(self._carried, timeout=LAST_BYTES_SECONDS)
        for task in (*self._lasting, *self._carried):
            task.cancel()
        await asyncio.gather(*self._lasting, *self._carried, return_exceptions=True)

    async def _opened(self, role: str, name: str) -> Ends:
        """A connection to the relay that has proved the token; what the relay says next is to be read."""
        async with asyncio.timeout(RELAY_SECONDS):
            reader, writer = await asyncio.open_connection(*self._relay, limit=CHUNK)
            try:
                keep_alive(writer)
                number = (await reader.readuntil(b"\n")).strip()
                if len(number) != 32 or number.strip(_TELLS):
                    raise RelayRefused("it is no relay")
                answer = proof(self._token, number.decode(), role, name)
                writer.write(f"{VERSION} {role} {name} {answer}\n".encode())
                await writer.drain()
                said = await reader.readuntil(b"\n")
                if said != OK:
                    raise RelayRefused(_told(said))
            except BaseException:
                await closed(writer)
                raise
        return reader, writer

    def _caller(self, peer: str) -> Any:
        """The server of a peer's address on this machine."""

        async def call(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            task = asyncio.current_task()
            assert task is not None
            self._carried.add(task)
            try:
                relayed = await self._opened(DIAL, peer)
                try:
                    await _joined(relayed[0])
                    await splice((reader, writer), relayed)
                finally:
                    await closed(relayed[1])
            except (TimeoutError, RelayRefused, *_UNHEARD):
                pass  # the caller sees its connection closed, and calls again as long as it has time
            except asyncio.CancelledError:
                pass  # the party leaves, and this task is over anyway
            finally:
                await closed(writer)
                self._carried.discard(task)

        return call

    async def _wait_for_calls(self) -> None:
        """Keep a connection parked; a call that comes by it goes to this party's server."""
        while True:
            try:
                relayed = await self._opened(PARK, self._name)
                try:
                    await _joined(relayed[0])
                except BaseException:
                    await closed(relayed[1])
                    raise
            except (TimeoutError, RelayRefused, *_UNHEARD):
                await asyncio.sleep(PAUSE_SECONDS)
                continue
            if len(self._carried) >= MOST_CARRIED:
                await closed(relayed[1])
                continue
            task = asyncio.ensure_future(self._take(relayed))
            self._carried.add(task)
            task.add_done_callback(self._carried.discard)

    async def _take(self, relayed: Ends) -> None:
        try:
            with contextlib.suppress(OSError):
                await splice(relayed, await asyncio.open_connection(*self._local))
        finally:
            await closed(relayed[1])


async def _joined(reader: asyncio.StreamReader) -> None:
    """Wait until the relay has joined the connection with another; Refused where it says anything else."""
    said = await reader.readuntil(b"\n")
    if said != GO:
        raise RelayRefused(_told(said))


def _told(line: bytes) -> str:
    return line.decode("ascii", "replace").strip()[:LINE]


def _place(address: str) -> tuple[str, int]:
    host, _, port = address.rpartition(":")
    return host.strip("[]"), int(port)
