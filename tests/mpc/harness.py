"""Runs a function at every compute party, each in its own process with a dealer beside them, over the real network.

The processes are forked from a server that has imported the engine once. The function stands at module level::

    def party(session, n): ...
    results = run(party, 5, parties=2)        # party(session, 5) at each; results by rank

The parties of ``run`` stay for the next test that needs as many of them, with their session, until one of them fails.
"""

from __future__ import annotations

import atexit
import multiprocessing
import pickle
import tempfile
import traceback
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import lru_cache
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

import torch

from secure_fair.mpc.transport import Credentials, LinkSettings, Network
from secure_fair.randomness import KeySource

NAMES = ("developer", "auditor", "second", "third", "fourth")
DEALER = "dealer"

_context = multiprocessing.get_context("forkserver")


@lru_cache(maxsize=1)
def credentials() -> dict[str, Credentials]:
    """Certificates of every name used here, issued by one authority."""
    from secure_fair.parties.identity import create_authority, issue_for_simulation, load

    with tempfile.TemporaryDirectory() as folder:
        create_authority(Path(folder))
        return {name: load(issue_for_simulation(Path(folder), name)) for name in (*NAMES, DEALER)}


class Failed(Exception):
    """A party's error, with its traceback; ``kind`` is the name of the error's class."""

    def __init__(self, name: str, kind: str, text: str) -> None:
        self.name, self.kind = name, kind
        super().__init__(f"{name}: {text}")


@dataclass(frozen=True)
class Settings:
    """Of a group of parties. ``seed`` makes all roots seeded (not private)."""

    parties: int = 2
    precision_bits: int = 16
    seed: int | None = None
    link: LinkSettings = field(default_factory=LinkSettings)
    timeout: float = 60.0


class World:
    """So many compute parties and a dealer, connected, with open sessions."""

    def __init__(self, settings: Settings) -> None:
        self.settings = settings
        self.names = [DEALER, *NAMES[: settings.parties]]
        pairs = {name: _context.Pipe() for name in self.names}
        self._pipes = {name: pair[0] for name, pair in pairs.items()}
        self._processes = {
            name: _context.Process(
                target=_main, args=(name, self.names, credentials()[name], settings, pairs[name][1]), daemon=True
            )
            for name in self.names
        }
        for name in self.names:
            self._processes[name].start()
            pairs[name][1].close()
        addresses = {name: self._pipes[name].recv() for name in self.names}
        for name in self.names:
            self._pipes[name].send({peer: address for peer, address in addresses.items() if peer != name})

    def call(self, function: Callable[..., Any], arguments: Sequence[Any]) -> list[Any]:
        """What ``function(session, *arguments)`` returns at each party, or how it failed, by rank."""
        for name in self.names[1:]:
            self._pipes[name].send_bytes(pickle.dumps((function, arguments)))
        return [self._outcome(name) for name in self.names[1:]]

    def end(self) -> Any:
        """Closes the sessions; the dealer's outcome: None, or how it failed."""
        for name in self.names[1:]:
            try:
                self._pipes[name].send_bytes(b"")
            except BrokenPipeError:
                continue
        outcome = self._outcome(DEALER)
        for process in self._processes.values():
            process.join(10)
            if process.is_alive():
                process.kill()
        return outcome

    def _outcome(self, name: str) -> Any:
        if not self._pipes[name].poll(2 * self.settings.timeout):
            return Failed(name, "TimeoutError", f"no result within {2 * self.settings.timeout:g} s")
        try:
            outcome = pickle.loads(self._pipes[name].recv_bytes())
        except EOFError:
            return Failed(name, "EOFError", "the process died")
        return Failed(name, *outcome[1:]) if outcome[0] == "failed" else outcome[1]


_worlds: dict[Settings, World] = {}


@atexit.register
def _end_worlds() -> None:
    while _worlds:
        _worlds.popitem()[1].end()


def run(
    function: Callable[..., Any], *arguments: Any, parties: int = 2, precision_bits: int = 16, timeout: float = 60.0
) -> list[Any]:
    """``function(session, *arguments)`` at each of so many compute parties; what they return, by rank.

    The first error of a party is raised as ``Failed``.
    """
    settings = Settings(parties, precision_bits, timeout=timeout)
    if settings not in _worlds:
        _worlds[settings] = World(settings)
    outcomes = _worlds[settings].call(function, arguments)
    failures = [outcome for outcome in outcomes if isinstance(outcome, Failed)]
    if failures:
        _worlds.pop(settings).end()
        raise failures[0]
    return outcomes


def run_fresh(function: Callable[..., Any], *arguments: Any, settings: Settings = Settings()) -> list[Any]:
    """As ``run``, among parties of its own; errors are returned in place of results, and the dealer's comes last."""
    world = World(settings)
    outcomes = world.call(function, arguments)
    return [*outcomes, world.end()]


def _main(name: str, names: Sequence[str], own: Credentials, settings: Settings, pipe: Connection) -> None:
    from secure_fair.mpc.dealer import serve
    from secure_fair.mpc.session import Session

    torch.set_num_threads(1)
    source = None if settings.seed is None else KeySource.seeded(settings.seed)
    network = Network(own, timeout=settings.timeout, link=settings.link)
    try:
        pipe.send(network.address)
        network.connect(pipe.recv(), {"engine": "1"})
        if name == DEALER:
            serve(network, names[1:], source=source)
            pipe.send_bytes(pickle.dumps(("done", None)))
        else:
            session = Session.open(
                network, parties=names[1:], dealer=DEALER, precision_bits=settings.precision_bits, source=source
            )
            while work := pipe.recv_bytes():
                function, arguments = pickle.loads(work)
                pipe.send_bytes(pickle.dumps(("done", function(session, *arguments))))
            session.close()
        network.close()
    except Exception as error:
        pipe.send_bytes(pickle.dumps(("failed", type(error).__name__, f"{error}\n{traceback.format_exc()}")))
        network.abort(str(error))
