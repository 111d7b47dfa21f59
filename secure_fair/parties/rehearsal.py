"""A developer, an auditor and a dealer in processes of this machine, over mutual TLS, for one function and no run.

The processes are forked: each is the program as it stands in this one. Whoever wants to know what parties can do to
each other, and neither a scenario nor a store, calls it: a review of the protocol does.
"""

from __future__ import annotations

import multiprocessing
import shutil
import tempfile
import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from multiprocessing.connection import Connection
from multiprocessing.process import BaseProcess
from pathlib import Path
from typing import Any

import torch

from secure_fair.errors import PartyLost, ProcessFailed, ProtocolError
from secure_fair.mpc.dealer import serve
from secure_fair.mpc.link import LinkSettings
from secure_fair.mpc.session import Session
from secure_fair.mpc.tls import fingerprint
from secure_fair.mpc.transport import Credentials, Network
from secure_fair.parties import identity

DEALER = "dealer"
COMPUTE = ("developer", "auditor")  # by rank
PATIENCE = 60.0  # seconds for the whole of it
MEETING = 20.0  # seconds in which two that know each other connect

Party = tuple[Callable[..., None], tuple[Any, ...]]  # what its process runs, and with what

_context = multiprocessing.get_context("fork")


def rehearse(
    function: Callable[..., Any],
    *arguments: Any,
    link: LinkSettings = LinkSettings(),  # noqa: B008 (frozen)
) -> list[Any]:
    """Return what ``function(session, *arguments)`` gives at the developer and at the auditor; it must be picklable.

    All lines are simulated as ``link`` says. Raises ``ProcessFailed`` where a party fails, or says nothing in time.
    """
    names = (*COMPUTE, DEALER)
    with tempfile.TemporaryDirectory(prefix="secure-fair-rehearsal-") as folder:
        own = _identities(Path(folder), names)
        with _started({name: (_main, (own[name], link, function, arguments)) for name in names}) as pipes:
            return _follow(pipes)


def meet(impostor: str, *, agreed: bool) -> bool:
    """Whether a developer connects with an ``impostor`` where it expects the auditor.

    The impostor has a key of its own, for which the same authority has signed this name; ``agreed``: the developer has
    the fingerprint of the auditor's certificate, as every party that is not simulated has.
    """
    developer, auditor = COMPUTE
    with tempfile.TemporaryDirectory(prefix="secure-fair-rehearsal-") as folder:
        own = _identities(Path(folder), COMPUTE)
        shutil.move(Path(folder) / auditor, Path(folder) / "honest")
        posing = identity.load(identity.issue_for_simulation(Path(folder), impostor, days=2))
        prints = {auditor: fingerprint(own[auditor].certificate)} if agreed else None
        parties: dict[str, Party] = {
            developer: (_connect, (own[developer], auditor, prints)),
            auditor: (_connect, (posing, developer, None)),
        }
        with _started(parties) as pipes:
            return all(_follow(pipes))


@contextmanager
def _started(parties: Mapping[str, Party]) -> Iterator[dict[str, Connection]]:
    """Processes that run these functions with a pipe to here as the last argument, and their ends of the pipes."""
    processes: list[BaseProcess] = []
    pipes = {name: _context.Pipe() for name in parties}
    try:
        for name, (target, arguments) in parties.items():
            party = _context.Process(target=target, args=(*arguments, pipes[name][1]), daemon=True)
            with warnings.catch_warnings():  # of threads that a fork leaves behind: the parties use none of them
                warnings.simplefilter("ignore", DeprecationWarning)
                party.start()
            processes.append(party)
            pipes[name][1].close()
        yield {name: near for name, (near, _) in pipes.items()}
    finally:
        for process in processes:
            process.join(5)
            if process.is_alive():
                process.kill()
            process.join()


def _identities(folder: Path, names: Sequence[str]) -> dict[str, Credentials]:
    identity.create_authority(folder)
    return {name: identity.load(identity.issue_for_simulation(folder, name, days=2)) for name in names}


def _follow(pipes: dict[str, Connection]) -> list[Any]:
    addresses = {name: _word(name, pipe) for name, pipe in pipes.items()}
    for name, pipe in pipes.items():
        pipe.send({peer: address for peer, address in addresses.items() if peer != name})
    return [_word(name, pipes[name]) for name in COMPUTE]


def _word(name: str, pipe: Connection) -> Any:
    """Hear what a process says; ProcessFailed where that is an error, or nothing."""
    if not pipe.poll(PATIENCE):
        raise ProcessFailed(f"{name} has said nothing for {PATIENCE:g} s: try again when the machine has less to do", 5)
    try:
        done, said = pipe.recv()
    except EOFError:
        raise ProcessFailed(f"the process of {name} has ended without a word", 1) from None
    if not done:
        raise ProcessFailed(f"{name}: {said}", 1)
    return said


def _connect(own: Credentials, peer: str, fingerprints: Mapping[str, str] | None, pipe: Connection) -> None:
    """One party that connects with one other, and says whether it did."""
    network = Network(own, timeout=MEETING)
    pipe.send((True, network.address))
    addresses = pipe.recv()
    try:
        network.connect({peer: addresses[peer]}, {"rehearsal": "1"}, fingerprints)
        pipe.send((True, True))
    except (ProtocolError, PartyLost):
        pipe.send((True, False))
    network.close()


def _main(
    own: Credentials, link: LinkSettings, function: Callable[..., Any], arguments: Sequence[Any], pipe: Connection
) -> None:
    torch.set_num_threads(1)
    network = Network(own, timeout=PATIENCE, link=link)
    try:
        pipe.send((True, network.address))
        network.connect(pipe.recv(), {"rehearsal": "1"})
        if own.name == DEALER:
            serve(network, COMPUTE)
        else:
            session = Session.open(network, parties=COMPUTE, dealer=DEALER)
            pipe.send((True, function(session, *arguments)))
            session.close()
        network.close()
    except Exception as error:
        pipe.send((False, f"{type(error).__name__}: {error}"))
        network.abort(str(error))
