"""A relay of TCP connections that resets them, keeps them away, holds their bytes back, or flips one of them."""

from __future__ import annotations

import contextlib
import selectors
import socket
import struct
import threading
import time
from types import TracebackType

RESET = struct.pack("ii", 1, 0)  # SO_LINGER: closing sends RST, and what is on its way is gone

LARGE = 8_000  # bytes: more than a handshake sends at once


class Proxy:
    """Listens at ``address`` and passes on to a ``target`` (host:port), which may be named later."""

    def __init__(self, target: str = "") -> None:
        self.target = target
        self._listener = socket.create_server(("127.0.0.1", 0))
        self._listener.settimeout(0.1)
        self.address = f"127.0.0.1:{self._listener.getsockname()[1]}"
        self._pairs: dict[socket.socket, socket.socket] = {}
        self._swallowed: list[socket.socket] = []
        self._closed_until = self._held_until = 0.0
        self._garbled_until = 0.0
        self._flip = False
        self._lock = threading.Lock()
        self._over = threading.Event()
        self.passed = 0  # bytes
        self._threads = [threading.Thread(target=work, daemon=True) for work in (self._accept, self._pass_on)]
        for thread in self._threads:
            thread.start()

    @property
    def connections(self) -> int:
        """How many are passed on now."""
        return len(self._pairs) // 2

    def reset(self) -> None:
        """End every connection with a reset."""
        with self._lock:
            for one in list(self._pairs):
                self._end(one)

    def cut(self, seconds: float) -> None:
        """Reset all, and let none through for so long."""
        self._closed_until = time.monotonic() + seconds
        self.reset()

    def hold(self, seconds: float) -> None:
        """Pass nothing on for so long; connections stay, and nobody is told."""
        self._held_until = time.monotonic() + seconds

    def swallow(self) -> None:
        """Pass nothing on, ever, of what is connected now: it stays open, as at a router that has forgotten it."""
        with self._lock:
            self._swallowed += self._pairs
            self._pairs.clear()

    def flip(self) -> None:
        """Change the next byte that passes."""
        self._flip = True

    def garble(self, seconds: float) -> None:
        """Change a byte of every large piece that passes, for so long; handshakes are none."""
        self._garbled_until = time.monotonic() + seconds

    def __enter__(self) -> Proxy:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._over.set()
        self._listener.close()
        self.reset()
        for one in self._swallowed:
            self._end(one)
        for thread in self._threads:
            thread.join(timeout=2)

    def _accept(self) -> None:
        while not self._over.is_set():
            try:
                near, _ = self._listener.accept()
            except TimeoutError:
                continue
            except OSError:
                return
            if time.monotonic() < self._closed_until:
                near.close()
                continue
            host, _, port = self.target.rpartition(":")
            try:
                far = socket.create_connection((host, int(port)), timeout=5)
            except OSError:
                near.close()
                continue
            with self._lock:
                self._pairs |= {near: far, far: near}

    def _pass_on(self) -> None:
        while not self._over.is_set():
            with self._lock:
                known = list(self._pairs)
            if not known or time.monotonic() < self._held_until:
                time.sleep(0.005)
                continue
            with selectors.DefaultSelector() as ready:
                for one in known:
                    with contextlib.suppress(ValueError, OSError):
                        ready.register(one, selectors.EVENT_READ)
                for key, _ in ready.select(timeout=0.02):
                    self._pass(key.fileobj)  # type: ignore[arg-type]

    def _pass(self, source: socket.socket) -> None:
        try:
            other = self._pairs.get(source)
            if other is None:  # ended or swallowed since it was asked whether it has anything
                return
            content = source.recv(1 << 16)
            if not content:
                raise OSError("ended")
            garbled = time.monotonic() < self._garbled_until and len(content) > LARGE
            if garbled or (self._flip and len(content) > 100):
                content, self._flip = content[:60] + bytes([content[60] ^ 1]) + content[61:], False
            other.sendall(content)
            self.passed += len(content)
        except OSError:
            with self._lock:
                self._end(source)

    def _end(self, one: socket.socket) -> None:
        for end in (one, self._pairs.pop(one, one)):
            self._pairs.pop(end, None)
            with contextlib.suppress(OSError):
                end.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, RESET)
                end.close()
