"""The parties of a small run as processes of this machine, with a relay on each line, and what they leave behind.

Each is forked from a process that has imported the program once, and runs ``secure-fair party`` from there: a start of
all of them takes moments, and hundreds can be made.
"""

from __future__ import annotations

import faulthandler
import multiprocessing
import os
import runpy
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Mapping
from contextlib import ExitStack
from dataclasses import dataclass, field
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

from secure_fair.bench.chaos.clocks import environment
from secure_fair.bench.proxy import Proxy
from secure_fair.mpc.addresses import held_addresses
from secure_fair.parties import identity
from secure_fair.parties.roster import Roster

NAMES = ("dealer", "auditor", "developer")
KEEPERS = ("auditor", "developer")  # who has a state
LINES = tuple((of, to) for of in NAMES for to in NAMES if of != to)
PRELOADED = ["secure_fair.parties.auditor", "secure_fair.parties.developer", "secure_fair.parties.training"]
ROSTER = "parties.toml"
WAIT = 25.0  # seconds for all to come
VALID_DAYS = 400  # of the certificates
SCENARIO = """name = "chaos"
seed = 5
[data]
dataset = "faces"
target = "wavy_hair"
sensitive = ["male"]
records = 100
correlation = 0.5
image_size = 16
[lora]
rank = 2
last_blocks = 1
[train]
epochs = {epochs}
batch_size = 40
device = "cpu"
precision = "fp32"
[method]
name = "parity"
[link]
reconnect = {reconnect}
{privacy}"""
NOISED = "[privacy]\nepsilon = 3.0\nreserve_releases = 12\n"
POLICIES = {True: "epsilon = 3.0\nminimum_batch = 8\n", False: "allow_exact = true\nminimum_batch = 8\n"}

_context = multiprocessing.get_context("forkserver")


@dataclass(frozen=True)
class ChaosTerms:
    """The settings of a run: how long a broken line and a silent peer are waited for (seconds), and how long it is."""

    reconnect: float
    timeout: float
    epochs: int


class Grounds:
    """The stores and identities that all runs have in common, below ``folder``."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.stores = folder / "stores"
        self.identities = folder / "identities"
        folder.mkdir(parents=True, exist_ok=True)
        scenario = folder / "prepare.toml"
        scenario.write_text(SCENARIO.format(epochs=1, reconnect=0, privacy=""))
        command = [sys.executable, "-m", "secure_fair", "data", "prepare", "together", str(scenario)]
        subprocess.run([*command, "--out", str(self.stores)], check=True, capture_output=True)
        identity.create_authority(self.identities)
        for name in NAMES:
            own = identity.request(self.identities, name)
            signed = identity.sign(self.identities, name, own / identity.REQUEST_FILE, days=VALID_DAYS)
            identity.accept(own, signed)
        Roster.collect([self.identities / name for name in NAMES]).write(self.identities / ROSTER)


@dataclass(frozen=True)
class PartyEnding:
    """How a party ended: its exit code (negative: the signal that killed it), when (monotonic), what it said; and
    since when it had waited for the others."""

    code: int
    at: float
    said: str
    came: float


@dataclass
class _Process:
    process: Any
    log: bytearray = field(default_factory=bytearray)
    came: float = 0.0
    ended: float | None = None


class Company:
    """All parties of one run in a folder; a context that leaves nobody running."""

    def __init__(self, grounds: Grounds, folder: Path, terms: ChaosTerms, *, noised: bool) -> None:
        self.grounds, self.folder, self.terms, self.noised = grounds, folder, terms, noised
        folder.mkdir(parents=True)
        privacy = NOISED if noised else ""
        text = SCENARIO.format(epochs=terms.epochs, reconnect=terms.reconnect, privacy=privacy)
        (folder / "scenario.toml").write_text(text)
        (folder / "policy.toml").write_text(POLICIES[noised])
        self.starts = 0
        self.lines: dict[tuple[str, str], Proxy] = {}
        self.addresses: dict[str, str] = {}
        self.clocks: dict[str, float] = {}  # by how many days each is ahead of the time, where one is
        self._running: dict[str, _Process] = {}
        self._ways = ExitStack()
        self._places = ExitStack()

    def __enter__(self) -> Company:
        self.lines = {line: self._ways.enter_context(Proxy()) for line in LINES}
        return self

    def __exit__(self, *error: object) -> None:
        self.kill_all()
        self._places.close()
        self._ways.close()

    def start(self) -> None:
        """Start every party; from the second time on they go on with the run."""
        self._places.close()
        free = self._places.enter_context(held_addresses(len(NAMES)))
        self.addresses = dict(zip(NAMES, free, strict=True))
        for (_, to), line in self.lines.items():
            line.target = self.addresses[to]
        self._running = {name: self._started(name) for name in NAMES}
        self.starts += 1

    def _started(self, name: str) -> _Process:
        heard, said = _context.Pipe(duplex=False)
        process = _context.Process(
            target=_run_program, args=(self.command(name), said, self.clocks.get(name)), daemon=True
        )
        process.start()
        said.close()
        running = _Process(process)
        threading.Thread(target=_listen, args=(heard, running), daemon=True).start()
        return running

    def command(self, name: str) -> list[str]:
        """The command line of one party, without the program's name."""
        line = ["party", name, "--scenario", str(self.folder / "scenario.toml")]
        line += ["--parties", str(self.grounds.identities / ROSTER), "--identity", str(self.grounds.identities / name)]
        line += ["--timeout", str(self.terms.timeout), "--wait", str(self.wait)]
        line += ["--listen", self.addresses[name], "--out", str(self.out(name))]
        for (of, to), relay in self.lines.items():
            line += ["--peer", f"{to}={relay.address}"] if of == name else []
        if name in KEEPERS:
            line += ["--store", str(self.grounds.stores / name), "--state", str(self.state(name))]
            line += [] if self.starts else ["--new-state"]
        if name == "auditor":
            line += ["--policy", str(self.folder / "policy.toml")]
        return [*line, "--resume"] if self.starts else line

    @property
    def wait(self) -> float:
        """Seconds for all to come: one with another clock is no fork, and has everything to import. Where lines may
        come back it is to come."""
        return WAIT if self.terms.reconnect == 0 else 4 * WAIT

    def out(self, name: str) -> Path:
        """Where a party writes."""
        return self.folder / "out" / name

    def state(self, name: str) -> Path:
        """Where a party keeps its ledger and budgets."""
        return self.folder / "state" / name

    def said(self, name: str) -> str:
        """All that a party has said since it was started last."""
        return self._running[name].log.decode(errors="replace")

    def pid(self, name: str) -> int:
        """The process of a party."""
        return int(self._running[name].process.pid)

    def runs(self, name: str) -> bool:
        """Whether a party has not ended."""
        return self._running[name].process.exitcode is None

    def signal(self, name: str, number: signal.Signals) -> None:
        """Send one party a signal."""
        if self.runs(name):
            os.kill(self.pid(name), number)

    def epochs(self) -> int:
        """Whole epochs so far."""
        rounds = self.out("developer") / "rounds.jsonl"
        return len(rounds.read_text().splitlines()) if rounds.exists() else 0

    def is_training(self) -> bool:
        """Whether the developer has begun to train since it was started."""
        return "training: " in self.said("developer")

    def all_ended(self) -> bool:
        """Whether every party has ended; notes when each did."""
        for one in self._running.values():
            if one.ended is None and one.process.exitcode is not None:
                one.ended = time.monotonic()
        return all(one.ended is not None for one in self._running.values())

    def ends(self) -> Mapping[str, PartyEnding]:
        """How all have ended."""
        return {
            name: PartyEnding(int(one.process.exitcode), one.ended or 0.0, self.said(name), one.came)
            for name, one in self._running.items()
        }

    def orphans(self) -> list[str]:
        """Parties of whose processes something still runs, though they have ended."""
        return [name for name in self._running if _group_runs(self.pid(name))]

    def kill_all(self) -> None:
        """Leave nobody running."""
        for one in self._running.values():
            if one.process.exitcode is None:
                one.process.kill()
            one.process.join()


def _run_program(arguments: list[str], said: Connection, days: float | None) -> None:
    """Be a party: what it says goes to ``said``. With ``days``, its clock is ahead by so many."""
    os.setpgrp()
    for descriptor in (1, 2):
        os.dup2(said.fileno(), descriptor)
    said.close()
    if days is not None:  # a clock is that of a whole process, from its beginning
        changed = {**os.environ, **environment(f"+{round(days * 86_400)}"), "OMP_NUM_THREADS": "1"}
        os.execve(sys.executable, [sys.executable, "-m", "secure_fair", *arguments], changed)
    faulthandler.register(signal.SIGUSR1)
    import torch

    torch.set_num_threads(1)
    sys.argv = ["secure-fair", *arguments]
    runpy.run_module("secure_fair", run_name="__main__")


def _listen(heard: Connection, running: _Process) -> None:
    with heard:
        while content := os.read(heard.fileno(), 1 << 16):
            running.log += content
            if not running.came and b"connecting" in running.log:
                running.came = time.monotonic()


def _group_runs(group: int) -> bool:
    try:
        os.killpg(group, 0)
    except ProcessLookupError:
        return False
    return True


def preload() -> None:
    """Have all parties forked from one process that has imported the program; call it before the first is started."""
    _context.set_forkserver_preload(PRELOADED)
