"""A relay as a process, the token of those who may use it, and a party's way by it."""

from __future__ import annotations

import asyncio
import secrets
from collections.abc import Callable
from pathlib import Path

from secure_fair.errors import UsageError
from secure_fair.files import write_bytes
from secure_fair.mpc.relay import TOKEN_BYTES, Relay


def read_token(file: Path, *, new: bool = False) -> bytes:
    """The token in a file; with ``new`` one that does not exist is made, for its owner alone to read."""
    try:
        if new and not file.exists():
            write_bytes(file, secrets.token_hex(TOKEN_BYTES).encode() + b"\n")
        text = file.read_bytes().strip()
        token = bytes.fromhex(text.decode("ascii"))
    except OSError as error:
        raise UsageError(f"{file}: the relay's token can be neither read nor written: {error.strerror}") from error
    except ValueError:
        token = b""
    if len(token) != TOKEN_BYTES:
        raise UsageError(f"{file}: is no relay's token, which is {2 * TOKEN_BYTES} hex digits")
    return token


def host_and_port(option: str, address: str) -> tuple[str, int]:
    """Both of a HOST:PORT; UsageError for anything else."""
    host, _, port = address.rpartition(":")
    if not (host and port.isdigit() and int(port) < 65536):
        raise UsageError(f"{option} {address}: expected HOST:PORT, for instance 0.0.0.0:7800")
    return host.strip("[]"), int(port)


def serve(listen: str, token: bytes, tell: Callable[[str], None]) -> None:
    """Serve until interrupted; ``tell`` is given a line once it does."""
    host, port = host_and_port("--listen", listen)

    async def run() -> None:
        try:
            server = await Relay(token).listen(host, port)
        except OSError as error:
            raise UsageError(f"--listen {listen}: {error.strerror}; name a free port of this machine") from error
        tell(f"relay at {listen}")
        await server.serve_forever()

    asyncio.run(run())
