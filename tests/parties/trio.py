"""Developer, auditor and dealer, forked from three processes that stay, for tests that need many short runs.

In each run every fork calls ``main`` of its party (in ``secure_fair.parties``) as ``secure-fair party`` does, with
a new network over mutual TLS, a new session, a new state and ledger. In place of the training alone stand requests,
each for the same thing, so that the answers are draws from one distribution.
"""

from __future__ import annotations

import json
import multiprocessing
import os
import shutil
import signal
import time
import traceback
from collections.abc import Callable
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from functools import partial
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

import secure_fair.parties.auditor
import secure_fair.parties.dealer
import secure_fair.parties.developer
from secure_fair.data.store import AuditorStore, DeveloperStore
from secure_fair.errors import SecureFairError
from secure_fair.mpc.addresses import held_addresses
from secure_fair.mpc.authenticated import VerifiersCheck
from secure_fair.operations.common.ask import Ask
from secure_fair.operations.group_counts import indicators
from secure_fair.parties import identity
from secure_fair.parties.config import Endpoint, Folders
from secure_fair.parties.secure_auditors import SecureAuditors
from secure_fair.privacy import accounting
from secure_fair.scenarios import assemble
from secure_fair.scenarios.cli.options import UNEXPECTED
from secure_fair.scenarios.schema import Scenario
from secure_fair.scenarios.sweep import Quiet
from tests.mpc.values import unit_rows
from tests.parties.company import make_identities, tiny, write_stores
from tests.parties.deviations import Deviation, Tampering, deviate

NAMES = ("dealer", "auditor", "developer")
WIDTH = 3  # columns of a query, or strata
DELTA = 1e-5
EVALUATION = "evaluation_counts"

_context = multiprocessing.get_context("forkserver")


@dataclass(frozen=True)
class Job:
    """One run: so many requests, all deviating alike; ``checked``: whether the auditor heeds the proofs."""

    folder: Path
    stores: Path
    addresses: dict[str, str]
    operation: str
    deviation: Deviation | None
    turns: int
    checked: bool


@dataclass(frozen=True)
class Ended:
    """How a party ended: exit code and error as its command line tells them, in so many seconds.

    ``opened``: the values that the developer has got, a row each. ``tampered``: messages that it has changed.
    """

    code: int
    said: str = ""
    seconds: float = 0.0
    opened: np.ndarray = field(default_factory=lambda: np.zeros((0, WIDTH)))
    tampered: int = 0


@dataclass(frozen=True)
class Run:
    """How all parties ended, and mu of every release that the auditor has accounted."""

    ended: dict[str, Ended]
    accounted: list[float]

    @property
    def opened(self) -> np.ndarray:
        """The values that the developer has got, a row each."""
        return self.ended["developer"].opened


class Trio(AbstractContextManager["Trio"]):
    """The processes, started when entered. ``mu``: of each of at most ``most`` releases in a run."""

    def __init__(self, folder: Path, weights: Path, *, mu: float, most: int, timeout: float = 5.0) -> None:
        self.folder = folder
        epsilon = accounting.gaussian_epsilon(mu * most**0.5, DELTA)
        self.scenario = tiny(
            weights,
            data={"records": 160},
            train={"epochs": 1},
            privacy={
                "epsilon": epsilon,
                "evaluation_epsilon": epsilon,
                "delta": DELTA,
                "reserve_releases": most - 2,  # beyond the moment and the counts of training
            },
            policy={"minimum_batch": 8},
        )
        self.timeout = timeout

    def __enter__(self) -> Trio:
        make_identities(self.folder / "identities", list(NAMES), simulated=True)
        write_stores(self.scenario, self.folder / "stores")
        self._write_neighbours()
        self._start()
        return self

    def __exit__(self, *_: object) -> None:
        for process in self._processes.values():
            if process.is_alive():
                os.killpg(process.pid, signal.SIGKILL)  # and what it has forked
            process.join()

    def _start(self) -> None:
        tree, pipes = self.scenario.to_toml(), {name: _context.Pipe() for name in NAMES}
        self._pipes = {name: near for name, (near, _) in pipes.items()}
        self._processes = {
            name: _context.Process(
                target=_serve, args=(name, tree, self.folder / "identities", self.timeout, pipes[name][1]), daemon=True
            )
            for name in NAMES
        }
        for name in NAMES:
            self._processes[name].start()
            pipes[name][1].close()
        for pipe in self._pipes.values():
            pipe.recv()  # each has its group of processes

    def _write_neighbours(self) -> None:
        """Beside the auditor's store two others: in each one person's attribute is the other one, in either part."""
        developer = DeveloperStore.open(self.folder / "stores" / "developer")
        held = AuditorStore.open(self.folder / "stores" / "auditor")
        for operation, row in (("training", developer.training[0]), ("evaluation", developer.test[0])):
            name = developer.ids[row]
            code = int(held.codes("male", [name])[0])
            there = self.folder / "stores" / operation
            shutil.copytree(held.folder, there)
            table = there / "attributes.csv"
            table.write_text(table.read_text().replace(f"{name},{code}\n", f"{name},{1 - code}\n"))

    def run(
        self,
        operation: str,
        deviation: Deviation | None = None,
        *,
        turns: int,
        neighbour: bool = False,
        checked: bool = True,
    ) -> Run:
        """One run; an AssertionError names who has not ended within a minute and a second for each request.

        ``neighbour``: one person's attribute is the other one, of those that ``operation`` asks about.
        """
        folder = self.folder / "run"
        shutil.rmtree(folder, ignore_errors=True)
        other = "evaluation" if operation == EVALUATION else "training"
        stores = self.folder / "stores" / (other if neighbour else "auditor")
        with held_addresses(len(NAMES)) as free:
            addresses = dict(zip(NAMES, free, strict=True))
            job = Job(folder, stores, addresses, operation, deviation, turns, checked)
            for pipe in self._pipes.values():
                pipe.send(job)
            deadline = time.monotonic() + 60 + turns
            ended = {name: self._outcome(name, deadline, deviation) for name in NAMES}
        return Run(ended, accounted(folder / "auditor" / "state" / "ledger" / "ledger.jsonl"))

    def _outcome(self, name: str, deadline: float, deviation: Deviation | None) -> Ended:
        if not self._pipes[name].poll(max(0.0, deadline - time.monotonic())):
            self.__exit__()
            self._start()
            raise AssertionError(f"{name} has not ended in time; {deviation}")
        return self._pipes[name].recv()


def accounted(ledger: Path) -> list[float]:
    """mu of every release in an auditor's ledger."""
    lines = ledger.read_text().splitlines() if ledger.exists() else []
    return [entry["charge"]["mu2"] ** 0.5 for entry in map(json.loads, lines) if entry["kind"] == "planned"]


# --- at a party -------------------------------------------------------------------------------------------------------


def _serve(name: str, tree: str, identities: Path, timeout: float, pipe: Connection) -> None:
    os.setpgrp()
    torch.set_num_threads(1)
    (identities.parent / f"{name}.toml").write_text(tree)
    scenario = Scenario.load(str(identities.parent / f"{name}.toml"))
    credentials = identity.load(identities / name)
    pipe.send("ready")
    while True:
        job = pipe.recv()
        peers = {peer: address for peer, address in job.addresses.items() if peer != name}
        endpoint = assemble.endpoint(scenario, credentials, job.addresses[name], peers, timeout=timeout, simulated=True)
        child = os.fork()  # a process has room for one session
        if not child:
            pipe.send(_end_of(name, job, scenario, endpoint))
            os._exit(0)
        os.waitpid(child, 0)


@dataclass
class Seen:
    """What is left of a run at a party, however it ends."""

    opened: list[np.ndarray] = field(default_factory=list)
    tampering: Tampering | None = None


def _end_of(name: str, job: Job, scenario: Scenario, endpoint: Endpoint) -> Ended:
    """Play the party, and end as its command line would."""
    seen, began, code, said = Seen(), time.monotonic(), 0, ""
    with pytest.MonkeyPatch.context() as patch:
        try:
            _PLAY[name](job, scenario, endpoint, patch, seen)
        except SecureFairError as error:
            code, said = error.exit_code, str(error)
        except Exception:
            code, said = UNEXPECTED, traceback.format_exc()
    opened = np.stack(seen.opened) if seen.opened else np.zeros((0, WIDTH))
    return Ended(code, said, time.monotonic() - began, opened, seen.tampering.done if seen.tampering else 0)


def _folders(job: Job, name: str, store: Path) -> Folders:
    out = job.folder / name / "out"
    out.mkdir(parents=True)
    return Folders(store=store, out=out, state=job.folder / name / "state")


def _dealer(job: Job, scenario: Scenario, endpoint: Endpoint, patch: pytest.MonkeyPatch, seen: Seen) -> None:
    folders = _folders(job, "dealer", job.folder)
    secure_fair.parties.dealer.main(assemble.run_config(scenario), endpoint, folders, Quiet(None))


def _auditor(job: Job, scenario: Scenario, endpoint: Endpoint, patch: pytest.MonkeyPatch, seen: Seen) -> None:
    if not job.checked:
        patch.setattr(VerifiersCheck, "holds", lambda *_: True)
    policy = assemble.policy(scenario, None, simulated=True)
    folders = _folders(job, "auditor", job.stores)
    secure_fair.parties.auditor.main(assemble.run_config(scenario), endpoint, folders, policy, Quiet(None))


def _developer(job: Job, scenario: Scenario, endpoint: Endpoint, patch: pytest.MonkeyPatch, seen: Seen) -> None:
    if job.deviation is not None:
        seen.tampering = deviate(job.deviation, patch)
    patch.setattr(secure_fair.parties.developer, "develop", partial(_ask_on, job, seen))
    folders = _folders(job, "developer", job.folder.parent / "stores" / "developer")
    secure_fair.parties.developer.main(assemble.run_config(scenario), endpoint, folders, "run", Quiet(None))


def _ask_on(
    job: Job, seen: Seen, config: object, data: Any, auditors: SecureAuditors, *rest: object, **more: object
) -> None:
    """The requests, in place of the training. What is opened is taken whatever its size."""
    session = auditors.session
    session.receive_opening = partial(_whatever, session.receive_opening)  # type: ignore[method-assign]
    first, count = (len(data.training), len(data.test)) if job.operation == EVALUATION else (0, len(data.training))
    records = np.arange(first, first + count, dtype=np.int64)
    for _ in range(job.turns):
        if seen.tampering is not None:
            seen.tampering.begin("ask")
        query = unit_rows(count, WIDTH, 7) if job.operation == "moment" else indicators(torch.arange(count) % 3, WIDTH)
        wanted = Ask(operation=job.operation, attribute="male", width=WIDTH)
        seen.opened.append(auditors.release(wanted, records, [query]).values.numpy().ravel())
    if seen.tampering is not None:
        seen.tampering.begin("end")


def _whatever(receive: Any, shared: Any, *, bound: float) -> Any:
    return receive(shared, bound=2.0**64)


_PLAY: dict[str, Callable[[Job, Scenario, Endpoint, pytest.MonkeyPatch, Seen], None]] = {
    "dealer": _dealer,
    "auditor": _auditor,
    "developer": _developer,
}
