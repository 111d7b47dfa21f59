"""The parties of a tiny scenario as processes of this machine, each through the command line of `secure-fair party`.

They are forked from a server that has imported the program once, so that a company of them starts in moments. A test
may give a party another entry than the program's: a function at module level that takes the command line.
"""

from __future__ import annotations

import multiprocessing
import os
import signal
import time
from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager, ExitStack
from dataclasses import dataclass, field
from pathlib import Path
from types import TracebackType
from typing import Any

from secure_fair.mpc.addresses import held_addresses
from secure_fair.parties import identity
from secure_fair.parties.roster import Roster
from secure_fair.scenarios import assemble
from secure_fair.scenarios.audit_terms import AuditTerms
from secure_fair.scenarios.people import People, load
from secure_fair.scenarios.processes import Job
from secure_fair.scenarios.progress import LineReporter
from secure_fair.scenarios.schema import Scenario

ROSTER = "parties.toml"

# two attributes of the same people, and each held by another auditor
BOTH = {"sensitive": ["male", "young"], "intersections": [["male", "young"]]}
APART = [{"name": "registry", "attributes": ["male"]}, {"name": "clinic", "attributes": ["young"]}]

Entry = Callable[[list[str]], None]

_context = multiprocessing.get_context("forkserver")


def tiny(weights: Path, **sections: Mapping[str, Any]) -> Scenario:
    """A scenario of 400 drawn portraits of 16 x 16 pixels; ``sections`` change or add keys, table by table."""
    tree: dict[str, Any] = {
        "name": "tiny",
        "seed": 3,
        "data": {
            "dataset": "faces",
            "target": "wavy_hair",
            "sensitive": ["male"],
            "records": 400,
            "correlation": 0.5,
            "image_size": 16,
            "split": {"developer": 0.5, "auditor": 0.25, "test": 0.25},
        },
        "backbone": {"weights": str(weights)},
        "lora": {"rank": 4, "last_blocks": 2},
        "train": {"epochs": 2, "batch_size": 40, "precision": "fp32", "device": "cpu"},
        "method": {"name": "parity"},
        "secure": {"mode": "secure"},
    }
    for name, section in sections.items():
        another = "dataset" in section  # which brings all its keys
        tree[name] = dict(section) if another else {**tree.get(name, {}), **section}
    return Scenario.parse(tree)


def write_stores(scenario: Scenario, folder: Path) -> People:
    """Every party's store below ``folder``; who of the data set is whose record."""
    people = People(scenario, load(scenario, LineReporter()))
    people.write_stores(folder)
    return people


def names_of(scenario: Scenario | AuditTerms) -> list[str]:
    """All parties, the dealer first."""
    auditors = scenario.auditors if isinstance(scenario, AuditTerms) else scenario.secure.auditors
    return [assemble.DEALER, *(auditor.name for auditor in auditors), assemble.DEVELOPER]


def program(arguments: list[str]) -> None:
    """The program itself."""
    from secure_fair.scenarios.cli.main import main

    main(arguments)


def make_identities(folder: Path, names: list[str], *, simulated: bool) -> None:
    """Give every party its folder, below ``folder``; without simulation by request, signature, answer and agreement."""
    identity.create_authority(folder)
    for name in names:
        if simulated:
            identity.issue_for_simulation(folder, name, days=2)
        else:
            sign_own(folder, identity.request(folder, name))
    if not simulated:
        Roster.collect([folder / name for name in names]).write(folder / ROSTER)


def sign_own(authority: Path, folder: Path, *, again: bool = False) -> None:
    """Have the authority sign the request of the party in ``folder``, which accepts the answer."""
    name = folder.name
    identity.accept(folder, identity.sign(authority, name, folder / identity.REQUEST_FILE, days=2, again=again))


@dataclass(frozen=True)
class Ended:
    """How a party ended: its exit code (negative: the signal that killed it), when, and all that it wrote."""

    code: int
    at: float  # time.monotonic()
    said: str


@dataclass
class Company(AbstractContextManager["Company"]):
    """Started when entered; whoever still runs when it is left is killed. In place of a scenario it may have the terms
    of an audit, with ``policies``, a file for each auditor.

    ``stores`` has a folder per party. Everything that the parties write is below ``folder``. ``entries``: who
    runs something else than the program. ``addresses``: where the parties reach each other, and ``listen`` where one of
    them listens if not there; free ports of this machine by default. Parties that are not ``simulated`` make their own
    keys, and accept nobody but the holders of the certificates that they have agreed on; their auditors have a file
    with this ``policy``, none where it is empty. ``states``: kept across companies where it is given; ``resume``: they
    go on with the run that they have of it.
    """

    scenario: Scenario | AuditTerms
    stores: Path
    folder: Path
    timeout: float = 60.0
    entries: Mapping[str, Entry] = field(default_factory=dict)
    addresses: Mapping[str, str] = field(default_factory=dict)
    listen: Mapping[str, str] = field(default_factory=dict)
    simulated: bool = True
    policy: str = "allow_exact = true"
    states: Path | None = None
    policies: Mapping[str, Path] = field(default_factory=dict)
    resume: bool = False

    def __enter__(self) -> Company:
        self.names = names_of(self.scenario)
        self.folder.mkdir(parents=True, exist_ok=True)
        make_identities(self.folder / "identities", self.names, simulated=self.simulated)
        (self.folder / "scenario.toml").write_text(self.scenario.to_toml())
        self._places = ExitStack()
        if not self.addresses:
            free = self._places.enter_context(held_addresses(len(self.names)))
            self.addresses = dict(zip(self.names, free, strict=True))
        self._ends: dict[str, float] = {}
        for name in self.names:
            self.log(name).touch()
        self._processes = {
            name: _context.Process(
                target=_go,
                args=(self.entries.get(name, program), self.command_line(name), str(self.log(name))),
                daemon=True,
            )
            for name in self.names
        }
        for process in self._processes.values():
            process.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        for process in self._processes.values():
            if process.is_alive():
                process.kill()
            process.join()
        self._places.close()

    def command_line(self, name: str) -> list[str]:
        """What follows ``secure-fair`` on the command line of a party."""
        role = name if name in (assemble.DEVELOPER, assemble.DEALER) else "auditor"
        option = "--audit" if isinstance(self.scenario, AuditTerms) else "--scenario"
        line = ["party", role, option, str(self.folder / "scenario.toml")]
        line += ["--simulated"] if self.simulated else ["--parties", str(self.folder / "identities" / ROSTER)]
        line += ["--identity", str(self.folder / "identities" / name)]
        line += ["--listen", self.listen.get(name, self.addresses[name])]
        line += ["--resume"] if self.resume else []
        line += ["--out", str(self.out(name)), "--timeout", str(self.timeout)]
        for peer, address in self.addresses.items():
            if peer != name:
                line += ["--peer", f"{peer}={address}"]
        if role != assemble.DEALER:
            state = (self.states or self.folder / "states") / name
            line += ["--store", str(self.stores / name), "--state", str(state)]
            line += [] if self.simulated or state.exists() else ["--new-state"]
        if name in self.policies:
            line += ["--policy", str(self.policies[name])]
        elif role == "auditor" and self.policy and not self.simulated:
            file = self.folder / f"{name}-policy.toml"
            file.write_text(self.policy)
            line += ["--policy", str(file)]
        return line

    def out(self, name: str) -> Path:
        """Where a party writes."""
        return Job("", tuple(self.names[1:-1]), self.stores, self.folder).folder(name)

    def log(self, name: str) -> Path:
        """What a party says on stdout and stderr."""
        return self.folder / f"{name}.log"

    def signal(self, name: str, number: signal.Signals) -> float:
        """Send a signal to one party; returns when."""
        pid = self._processes[name].pid
        assert pid is not None
        os.kill(pid, number)
        return time.monotonic()

    def wait(self, seconds: float, without: str | None = None) -> dict[str, Ended]:
        """Wait until all parties but ``without`` have ended; an AssertionError names those that did not in time."""
        deadline = time.monotonic() + seconds
        wanted = {name: process for name, process in self._processes.items() if name != without}
        while wanted.keys() - self._ends.keys():
            for name in wanted.keys() - self._ends.keys():
                if wanted[name].exitcode is not None:
                    self._ends[name] = time.monotonic()
            late = wanted.keys() - self._ends.keys()
            if late and time.monotonic() > deadline:
                said = {name: self.log(name).read_text()[-400:] for name in self.names}
                raise AssertionError(f"not ended within {seconds} s: {sorted(late)}; {said}")
            time.sleep(0.02)
        return {
            name: Ended(int(process.exitcode or 0), self._ends[name], self.log(name).read_text())
            for name, process in wanted.items()
        }

    def succeed(self, seconds: float = 100.0) -> None:
        """Wait for the end of all parties; an AssertionError says what went wrong."""
        ends = self.wait(seconds)
        failed = {name: (end.code, end.said[-2000:]) for name, end in ends.items() if end.code != 0}
        assert failed == {}, failed


def ended_company(
    scenario: Scenario, folder: Path, entries: Mapping[str, Entry] | None = None, seconds: float = 100.0
) -> tuple[Company, dict[str, Ended]]:
    """A company below ``folder`` with stores of its own, written unless they are there, and how its parties ended."""
    if not (folder / "stores").exists():
        write_stores(scenario, folder / "stores")
    with Company(scenario, folder / "stores", folder / "company", entries=entries or {}) as company:
        return company, company.wait(seconds)


def with_policy(text: str, arguments: list[str]) -> None:
    """An auditor with a policy of its own."""
    folder = Path(arguments[arguments.index("--state") + 1])
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "policy.toml").write_text(text)
    program([*arguments, "--policy", str(folder / "policy.toml")])


def _go(entry: Entry, arguments: list[str], log: str) -> None:
    descriptor = os.open(log, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o644)
    os.dup2(descriptor, 1)
    os.dup2(descriptor, 2)
    os.close(descriptor)
    import torch

    torch.set_num_threads(1)
    entry(arguments)
