"""The health of a party, for whoever watches over its process: an address that answers GET /health with a little JSON.

It is answered without a certificate, so nothing is in it but what a party is, how far, and since when its partners have
been silent. Whoever reaches the address may ask, whatever they send: few at a time, each for moments.
"""

from __future__ import annotations

import io
import json
import socket
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from http import HTTPStatus
from http.client import HTTPException
from http.server import BaseHTTPRequestHandler, HTTPServer
from typing import Any
from urllib.error import HTTPError, URLError
from urllib.request import ProxyHandler, build_opener

from secure_fair.errors import PartyLost, UsageError, printable
from secure_fair.mpc.transport import Network

PATH = "/health"
HOST = "127.0.0.1"
MOST_AT_ONCE = 8
SECONDS = 2.0
"""How long somebody may take to ask, and to take the answer."""
MOST_BYTES = 4096
_STAGES = {
    "connecting": "connecting",
    "run ": "enrolled",
    "going on": "going on",
    "features": "features",
    "training": "training",
    "answering": "answering",
    "dealing": "dealing",
}


@dataclass
class Pulse:
    """All that is told of a party, kept up to date by the party itself."""

    role: str = ""
    run: str = ""
    stage: str = "starting"
    network: Network | None = None
    _epochs: Callable[[], int] = int

    def follow(self, run: str, epochs: Callable[[], int]) -> None:
        """Tell of this run, and how many whole ``epochs`` of it there are."""
        self.run, self._epochs = run, epochs

    def note_stage(self, text: str) -> None:
        """Take note of the stage that begins: in one of a few words, for its text may have counts in it."""
        self.stage = next((word for begun, word in _STAGES.items() if text.startswith(begun)), "running")

    def told(self) -> dict[str, Any]:
        """The answer."""
        partners = {} if self.network is None else self.network.partners()
        failed = self.network is not None and self.network.failed
        return {
            "health": "lost" if failed else "healthy",
            "role": self.role,
            "run": self.run,
            "stage": self.stage,
            "epoch": self._epochs(),
            "partners": {
                name: {"state": state, "seconds_silent": None if silent is None else round(silent, 1)}
                for name, (state, silent) in partners.items()
            },
        }


class HealthServer(HTTPServer):
    """The address, served by threads of its own while the context is entered."""

    request_queue_size = MOST_AT_ONCE

    def __init__(self, place: str, pulse: Pulse) -> None:
        """``place``: HOST:PORT, or a port of this machine alone. UsageError where nobody can listen there."""
        self.pulse = pulse
        self._room = threading.BoundedSemaphore(MOST_AT_ONCE)
        host, port = host_and_port(place)
        self.address_family = socket.AF_INET6 if ":" in host else socket.AF_INET
        try:
            super().__init__((host, port), _Handler)
        except OSError as error:
            raise UsageError(
                f"--health {place}: cannot listen there ({error.strerror}); use an address of this machine and a free "
                "port, another than --listen"
            ) from error

    def __enter__(self) -> HealthServer:
        threading.Thread(target=self.serve_forever, args=(0.2,), name="health", daemon=True).start()
        return self

    def __exit__(self, *error: object) -> None:
        self.shutdown()
        self.server_close()

    def server_bind(self) -> None:
        """Bind, without asking a name server who this machine is."""
        self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        self.socket.bind(self.server_address)
        self.server_address = self.socket.getsockname()
        self.server_name, self.server_port = "", self.socket.getsockname()[1]

    def process_request(self, request: Any, client_address: Any) -> None:
        """Answer in a thread, or close at once where too many ask."""
        if not self._room.acquire(blocking=False):
            self.shutdown_request(request)
            return
        threading.Thread(target=self._answer, args=(request, client_address), daemon=True).start()

    def _answer(self, request: Any, client_address: Any) -> None:
        try:
            self.finish_request(request, client_address)
        except OSError:
            pass  # whoever asked has gone, or was too slow
        finally:
            self.shutdown_request(request)
            self._room.release()


class _Handler(BaseHTTPRequestHandler):
    """One question, whose head has come within its time and size before any of it is looked at."""

    server: HealthServer
    server_version, sys_version = "secure-fair", ""

    def setup(self) -> None:
        self.request.settimeout(SECONDS)
        super().setup()
        self.rfile = io.BytesIO(_head(self.request))

    def do_GET(self) -> None:
        """Answer ``PATH``, and nothing else."""
        if self.path != PATH:
            self.send_error(HTTPStatus.NOT_FOUND, f"only {PATH} is here")
            return
        told = self.server.pulse.told()
        content = json.dumps(told).encode() + b"\n"
        self.send_response(HTTPStatus.OK if told["health"] == "healthy" else HTTPStatus.SERVICE_UNAVAILABLE)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        self.wfile.write(content)

    def log_message(self, format: str, *arguments: object) -> None:
        """Say nothing: strangers write no lines of this party's."""


def _head(request: socket.socket) -> bytes:
    """All that comes up to the first empty line, the bound, or the end of the time."""
    deadline, head = time.monotonic() + SECONDS, b""
    while b"\r\n\r\n" not in head and len(head) < MOST_BYTES:
        left = deadline - time.monotonic()
        if left <= 0:
            raise TimeoutError
        request.settimeout(left)
        more = request.recv(MOST_BYTES - len(head))
        if not more:
            break
        head += more
    request.settimeout(SECONDS)
    return head


def host_and_port(place: str) -> tuple[str, int]:
    """HOST:PORT, or PORT of this machine alone; UsageError for anything else."""
    host, _, port = place.rpartition(":")
    if not (port.isdigit() and int(port) < 65536):
        raise UsageError(f"--health {place}: expected HOST:PORT, or a PORT of this machine alone, for instance 7701")
    return host.strip("[]") or HOST, int(port)


def ask(place: str, timeout: float = 5.0) -> dict[str, Any]:
    """The answer of the party at this address; PartyLost where nobody does, or nobody that is a party."""
    host, port = host_and_port(place)
    named = f"[{host}]" if ":" in host else host
    try:
        # no proxy of the environment's: it is a machine nearby
        try:
            answer = build_opener(ProxyHandler({})).open(f"http://{named}:{port}{PATH}", timeout=timeout)
        except HTTPError as error:
            if error.code != HTTPStatus.SERVICE_UNAVAILABLE:
                raise PartyLost("the party", f"what answers at {place} is no party ({error})") from None
            answer = error
        with answer:
            return _read(answer.read(1 << 16))
    except (URLError, HTTPException, OSError, ValueError, RecursionError) as error:
        raise PartyLost("the party", f"nobody tells its health at {place}: {error}") from None


def in_words(told: dict[str, Any]) -> str:
    """A party's answer, in a line for itself and one for each partner."""
    run = f", run {told.get('run')}, {told.get('epoch')} whole epochs" if told.get("run") else ""
    lines = [f"{told.get('role')}: {told['health']}, {told.get('stage')}{run}"]
    for name, partner in told.get("partners", {}).items():
        silent = partner.get("seconds_silent")
        lines.append(f"  {name}: {partner.get('state')}" + ("" if silent is None else f", silent for {silent} s"))
    return "\n".join(map(printable, lines))


def _read(content: bytes) -> dict[str, Any]:
    told = json.loads(content)
    partners = told.get("partners", {}) if isinstance(told, dict) and "health" in told else None
    if not isinstance(partners, dict) or not all(isinstance(one, dict) for one in partners.values()):
        raise ValueError("the answer is not a party's")
    return told
