"""Runs a function at every compute party, each in its own process with a dealer beside them, over the real network.

The processes are forked from a server that has imported the engine once. The function stands at module level::

    def party(session, n): ...
    results = run(party, 5, parties=2)        # party(session, 5) at each; results by rank
"""

from __future__ import annotations

import multiprocessing
import tempfile
import traceback
from collections.abc import Callable, Sequence
from functools import lru_cache
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

import torch

from secure_fair.mpc.randomness import Root
from secure_fair.mpc.transport import Credentials, LinkSettings, Network

NAMES = ("developer", "auditor", "second", "third", "fourth")
DEALER = "dealer"

_context = multiprocessing.get_context("forkserver")
_context.set_forkserver_preload(["tests.mpc.preload"])


@lru_cache(maxsize=1)
def credentials() -> dict[str, Credentials]:
    """Certificates of every name used here, issued by one authority."""
    from parties.identity import create_authority, issue, load

    with tempfile.TemporaryDirectory() as folder:
        create_authority(Path(folder))
        return {name: load(issue(Path(folder), name)) for name in (*NAMES, DEALER)}


class Failed(Exception):
    """A party's error, with its traceback; ``kind`` is the name of the error's class."""

    def __init__(self, name: str, kind: str, text: str) -> None:
        self.name, self.kind = name, kind
        super().__init__(f"{name}: {text}")


def run(
    function: Callable[..., Any],
    *arguments: Any,
    parties: int = 2,
    precision_bits: int = 16,
    seed: int | None = None,
    link: LinkSettings = LinkSettings(),  # noqa: B008  (frozen)
    timeout: float = 60.0,
) -> list[Any]:
    """``function(session, *arguments)`` at each of so many compute parties; what they return, by rank.

    The first error of a party is raised as ``Failed``. ``seed`` makes all roots seeded (not private).
    """
    outcomes = run_all(
        function, *arguments, parties=parties, precision_bits=precision_bits, seed=seed, link=link, timeout=timeout
    )
    for outcome in (*outcomes[1:], outcomes[0]):
        if isinstance(outcome, Failed):
            raise outcome
    return outcomes[1:]


def run_all(
    function: Callable[..., Any],
    *arguments: Any,
    parties: int = 2,
    precision_bits: int = 16,
    seed: int | None = None,
    link: LinkSettings = LinkSettings(),  # noqa: B008  (frozen)
    timeout: float = 60.0,
) -> list[Any]:
    """As ``run``, but errors are returned in place of results, and the dealer's outcome comes first."""
    names = [DEALER, *NAMES[:parties]]
    pipes = {name: _context.Pipe() for name in names}
    settings = (precision_bits, seed, link, timeout)
    processes = {
        name: _context.Process(
            target=_main, args=(name, names, credentials()[name], settings, pipes[name][1], function, arguments)
        )
        for name in names
    }
    try:
        for name in names:
            processes[name].start()
            pipes[name][1].close()
        addresses = {name: pipes[name][0].recv() for name in names}
        for name in names:
            pipes[name][0].send({peer: address for peer, address in addresses.items() if peer != name})
        outcomes = [_outcome(name, pipes[name][0], timeout) for name in names]
        for process in processes.values():
            process.join(10)
        return outcomes
    finally:
        for process in processes.values():
            if process.is_alive():
                process.kill()


def _outcome(name: str, pipe: Connection, timeout: float) -> Any:
    if not pipe.poll(2 * timeout):
        return Failed(name, "TimeoutError", f"no result within {2 * timeout:g} s")
    try:
        outcome = pipe.recv()
    except EOFError:
        return Failed(name, "EOFError", "the process died")
    return Failed(name, *outcome[1:]) if outcome[0] == "failed" else outcome[1]


def _main(
    name: str,
    names: Sequence[str],
    own: Credentials,
    settings: tuple[int, int | None, LinkSettings, float],
    pipe: Connection,
    function: Callable[..., Any],
    arguments: Sequence[Any],
) -> None:
    from secure_fair.mpc.dealer import serve
    from secure_fair.mpc.session import Session

    torch.set_num_threads(1)
    precision_bits, seed, link, timeout = settings
    root = None if seed is None else Root.seeded(seed)
    network = Network(own, timeout=timeout, link=link)
    try:
        pipe.send(network.address)
        network.connect(pipe.recv(), {"engine": "1"})
        if name == DEALER:
            serve(network, names[1:], root=root)
            result = None
        else:
            session = Session.open(network, parties=names[1:], dealer=DEALER, precision_bits=precision_bits, root=root)
            result = function(session, *arguments)
            session.close()
        pipe.send(("done", result))
        network.close()
    except Exception as error:
        pipe.send(("failed", type(error).__name__, f"{error}\n{traceback.format_exc()}"))
        network.abort(str(error))
