"""Strangers who only connect do not end a run: 1,100 of them at a party with few file descriptors."""

from __future__ import annotations

import contextlib
import multiprocessing
import os
import pickle
import resource
import socket
from multiprocessing.connection import Connection
from pathlib import Path

import pytest

from secure_fair.errors import UsageError
from secure_fair.mpc import doors
from tests.mpc.harness import credentials

STRANGERS, DESCRIPTORS, TURNS = 1100, doors.MAX_CONNECTIONS + doors.OWN_DESCRIPTORS, 30

_context = multiprocessing.get_context("forkserver")


def party(name: str, pipe: Connection, folder: Path, closed: bool) -> None:
    """One of two that talk and write down, in a process of its own. ``closed``: whether its doors are."""
    from secure_fair.mpc import transport
    from secure_fair.privacy.ledger import Ledger

    if not closed:
        transport._SERVER_OPTIONS = [option for option in transport._SERVER_OPTIONS if option not in doors.OPTIONS]
    if name == "auditor":
        resource.setrlimit(resource.RLIMIT_NOFILE, (DESCRIPTORS, DESCRIPTORS))
    network = transport.Network(pickle.loads(pipe.recv_bytes()), timeout=20)
    pipe.send(network.address)
    ((peer, address),) = ((peer, address) for peer, address in pipe.recv().items() if peer != name)
    ledger = Ledger(folder / name, name)
    network.connect({peer: address}, {})
    pipe.send("connected")
    pipe.recv()
    try:
        for turn in range(TURNS):
            network.send(peer, "talk", b"hello")
            network.receive(peer, "talk", limit=5)
            ledger.start(f"run {turn}")
        pipe.send(f"{len(os.listdir('/proc/self/fd')) < DESCRIPTORS}")
        pipe.recv()
        network.close()
    except Exception as error:
        pipe.send(f"{type(error).__name__}: {error}")
        os._exit(1)


def crowd(stack: contextlib.ExitStack, host: str, port: int) -> int:
    """Connect, and say nothing."""
    for _ in range(STRANGERS):
        stranger = stack.enter_context(socket.socket())
        stranger.settimeout(0.5)
        with contextlib.suppress(OSError):
            stranger.connect((host, port))
    return STRANGERS


@pytest.mark.parametrize("closed", [True, False], ids=["as it is", "without a bound"])
def test_strangers_do_not_end_a_run(tmp_path: Path, closed: bool) -> None:
    pipes, processes = {}, []
    for name in ("developer", "auditor"):
        pipes[name], far = _context.Pipe()
        processes.append(_context.Process(target=party, args=(name, far, tmp_path, closed), daemon=True))
        processes[-1].start()
        pipes[name].send_bytes(pickle.dumps(credentials()[name]))
    with contextlib.ExitStack() as stack:
        addresses = {name: pipe.recv() for name, pipe in pipes.items()}
        for pipe in pipes.values():
            pipe.send(addresses)
        assert [pipe.recv() for pipe in pipes.values()] == ["connected"] * 2
        host, _, port = addresses["auditor"].rpartition(":")
        crowd(stack, host, int(port))
        for pipe in pipes.values():
            pipe.send("go on")
        ended = {name: pipe.recv() if pipe.poll(60) else "nothing" for name, pipe in pipes.items()}
        for pipe in pipes.values():
            with contextlib.suppress(OSError):
                pipe.send("leave")
    for process in processes:
        process.join(10)
        process.kill()
    if closed:
        assert ended == {"developer": "True", "auditor": "True"}
    else:
        assert "Too many open files" in ended["auditor"]


def test_too_few_descriptors_are_one_message(monkeypatch: pytest.MonkeyPatch) -> None:
    made: list[tuple[int, int]] = []
    monkeypatch.setattr(resource, "setrlimit", lambda _, limits: made.append(limits))
    for soft, hard in ((20_000, 20_000), (DESCRIPTORS, DESCRIPTORS), (resource.RLIM_INFINITY, resource.RLIM_INFINITY)):
        monkeypatch.setattr(resource, "getrlimit", lambda _, soft=soft, hard=hard: (soft, hard))
        doors.make_room()
    assert made == []
    monkeypatch.setattr(resource, "getrlimit", lambda _: (50, 4096))
    doors.make_room()
    assert made == [(DESCRIPTORS, 4096)]
    monkeypatch.setattr(resource, "getrlimit", lambda _: (50, 60))
    with pytest.raises(UsageError, match=f"ulimit -n {DESCRIPTORS}"):
        doors.make_room()
