"""A relay that runs in a thread of a test, honest or not."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Iterator
from contextlib import contextmanager

from secure_fair.mpc.relay import CHUNK, Line, Relay, closed

TOKEN = bytes(range(32))


class Watching(Relay):
    """Keeps everything that it carries, one entry for each direction of each pair. ``flip``: the bytes that passes one
    way before one bit of what follows is changed; once."""

    def __init__(self, token: bytes = TOKEN, flip: int | None = None) -> None:
        super().__init__(token)
        self.seen: list[bytearray] = []
        self.flip = flip
        self.flipped = False

    async def _carry(self, line: Line, call: Line) -> None:
        ways = [self._watch(line, call), self._watch(call, line)]
        await asyncio.gather(*ways, return_exceptions=True)
        await closed(line.writer)
        await closed(call.writer)

    async def _watch(self, source: Line, sink: Line) -> None:
        stream = bytearray()
        self.seen.append(stream)
        while data := await source.reader.read(CHUNK):
            stream += data
            if self.flip is not None and len(stream) > self.flip and not self.flipped:
                data, self.flipped = data[:-1] + bytes([data[-1] ^ 1]), True
            sink.writer.write(data)
            await sink.writer.drain()
        sink.writer.write_eof()


class Misleading(Relay):
    """Joins calls for one party with what another has parked."""

    def __init__(self, token: bytes, instead: dict[str, str]) -> None:
        super().__init__(token)
        self.instead = instead

    async def _use(self, role: str, name: str, line: Line) -> None:
        await super()._use(role, self.instead.get(name, name) if role == "dial" else name, line)


@contextmanager
def running(relay: Relay, host: str = "127.0.0.1", port: int = 0) -> Iterator[str]:
    """The relay's address, while it serves in a thread."""
    loop = asyncio.new_event_loop()
    thread = threading.Thread(target=loop.run_forever, daemon=True)
    thread.start()
    server = asyncio.run_coroutine_threadsafe(relay.listen(host, port), loop).result()
    try:
        yield f"{host}:{server.sockets[0].getsockname()[1]}"
    finally:

        async def end() -> None:
            server.close()
            others = asyncio.all_tasks() - {asyncio.current_task()}
            for task in others:
                task.cancel()
            await asyncio.gather(*others, return_exceptions=True)

        asyncio.run_coroutine_threadsafe(end(), loop).result()
        loop.call_soon_threadsafe(loop.stop)
        thread.join()
        loop.close()
