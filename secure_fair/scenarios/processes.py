"""The parties of a simulation as processes of this machine: started, followed, and ended whatever happens."""

from __future__ import annotations

import contextlib
import json
import queue
import shutil
import subprocess
import threading
import time
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, TextIO

from secure_fair.defaults import TIMEOUT
from secure_fair.errors import ProcessFailed
from secure_fair.files import open_private
from secure_fair.mpc.addresses import held_addresses
from secure_fair.parties import identity
from secure_fair.parties.checkpoints import RUNS
from secure_fair.parties.reports import REPORT
from secure_fair.scenarios import assemble
from secure_fair.scenarios.nursery import Forked, Nursery
from secure_fair.scenarios.progress import Reporter
from secure_fair.scenarios.schema import Scenario
from secure_fair.scenarios.temporary import temporary_folder

PATIENCE = 15.0  # seconds that the others have for leaving after one has failed


@dataclass(frozen=True)
class Job:
    """The work of a company of parties: the agreed text with the option that takes it, the auditors' names, every
    party's store.

    ``policies``: an auditor's own file. ``states``: where the parties' states are kept, by a folder for each; without
    it they begin anew below ``out``. ``resume``: the parties go on with the run that is kept there.
    """

    agreed: str
    auditors: tuple[str, ...]
    stores: Path
    out: Path
    option: str = "--scenario"
    policies: Mapping[str, Path] = field(default_factory=dict)
    states: Path | None = None
    resume: bool = False

    @property
    def names(self) -> list[str]:
        """All parties, the dealer first."""
        return [assemble.DEALER, *self.auditors, assemble.DEVELOPER]

    def folder(self, name: str) -> Path:
        """Where a party of this name writes."""
        return self.out / (name if name in (assemble.DEVELOPER, assemble.DEALER) else f"auditor-{name}")

    def state(self, name: str) -> Path:
        """Where a party keeps its state."""
        return self.folder(name) / "state" if self.states is None else self.states / name

    @property
    def ended(self) -> bool:
        """Whether developer and auditors have all written their results; the report is the last of them."""
        holders = [name for name in self.names if name != assemble.DEALER]
        return all((self.folder(name) / REPORT).is_file() for name in holders)


def job_of(scenario: Scenario, stores: Path, out: Path) -> Job:
    """The training of a scenario; it goes on where one in ``out`` has failed."""
    auditors = tuple(auditor.name for auditor in scenario.secure.auditors)
    job = Job(scenario.to_toml(), auditors, stores, out)
    if job.ended or any((job.state(assemble.DEVELOPER) / RUNS).glob("*")):
        return replace(job, resume=True)
    for name in job.names:  # nobody was told of the run yet
        shutil.rmtree(job.folder(name), ignore_errors=True)
    return job


def run_parties(job: Job, report: Reporter, nursery: Nursery) -> None:
    """Start dealer, auditors and developer, each with its own store, and wait until all are done; where they go on and
    had written all results before somebody failed, there is nothing left to do for them."""
    if job.resume and job.ended:
        report.stage("all parties had written their results: going on with those")
        _tidy(job)
        return
    names = job.names
    with held_addresses(len(names)) as free, temporary_folder("parties") as work:
        addresses = dict(zip(names, free, strict=True))
        identity.create_authority(work)
        for name in names:
            identity.issue_for_simulation(work, name, days=2)
        running: dict[str, Forked] = {}
        events: queue.Queue[tuple[str, dict[str, Any] | None]] = queue.Queue()
        try:
            for name in names:
                running[name] = nursery.start(arguments_of(name, job, addresses, work), name)
                log = job.folder(name) / "log.jsonl"
                threading.Thread(target=_read, args=(name, running[name].stderr, log, events), daemon=True).start()
            follow(running, events, report)
        finally:
            end(running)
    _tidy(job)


def _tidy(job: Job) -> None:
    if job.states is None:  # an auditor's is its account of what it has spent
        shutil.rmtree(job.state(assemble.DEVELOPER), ignore_errors=True)
        for name in job.names:
            shutil.rmtree(job.state(name) / RUNS, ignore_errors=True)


def arguments_of(name: str, job: Job, addresses: dict[str, str], work: Path) -> list[str]:
    """The arguments of one party as ``secure-fair party``, with nothing in its hands but its own folders; these are
    made."""
    role = name if name in (assemble.DEVELOPER, assemble.DEALER) else "auditor"
    folder = job.folder(name)
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    agreed = work / f"{name}.toml"
    agreed.write_text(job.agreed)
    given = ["party", role, "--format", "json"]
    given += [job.option, str(agreed), "--identity", str(work / name), "--out", str(folder)]
    given += ["--listen", addresses[name], "--timeout", str(TIMEOUT), "--simulated"]
    given += ["--resume"] if job.resume else []
    for peer, address in addresses.items():
        if peer != name:
            given += ["--peer", f"{peer}={address}"]
    if role != assemble.DEALER:
        given += ["--store", str(job.stores / name), "--state", str(job.state(name))]
    if name in job.policies:
        given += ["--policy", str(job.policies[name])]
    return given


def follow(
    running: dict[str, Forked],
    events: queue.Queue[tuple[str, dict[str, Any] | None]],
    report: Reporter,
) -> None:
    """Pass the developer's progress on until every party has ended; raise what the first failed party said."""
    open_streams = set(running)
    problems: dict[str, str] = {}
    deadline: float | None = None
    while open_streams:
        try:
            name, event = events.get(timeout=0.5)
        except queue.Empty:
            name, event = "", {}
        if event is None:
            open_streams.discard(name)
            if running[name].wait() != 0 and deadline is None:
                deadline = time.monotonic() + PATIENCE
        elif "problems" in event:
            problems[name] = "; ".join(event["problems"])
        elif name == assemble.DEVELOPER:
            pass_on(event, report)
        if deadline is not None and time.monotonic() > deadline:
            break
    failed = {name: code for name, process in running.items() if (code := process.poll()) not in (0, None)}
    if failed or open_streams:
        raise verdict(failed, problems)


def verdict(failed: dict[str, int], problems: dict[str, str]) -> ProcessFailed:
    """The error of the party that failed of its own, not of those that left because they lost it."""
    if not failed:
        return ProcessFailed("a party did not end in time", 5)
    killed = [name for name, code in failed.items() if code < 0]
    causes = [(name, code) for name, code in failed.items() if code > 0 and code != 5]
    if killed:
        return ProcessFailed(f"lost {killed[0]}: it was killed by signal {-failed[killed[0]]}", 5, killed[0])
    name, code = causes[0] if causes else next(iter(failed.items()))
    return ProcessFailed(f"{name}: {problems.get(name, f'ended with code {code}')}", code if code > 0 else 5, name)


def pass_on(event: dict[str, Any], report: Reporter) -> None:
    """One JSON event of the developer's to this program's own reporter."""
    fields = {key: value for key, value in event.items() if key != "event"}
    match event.get("event"):
        case "stage":
            report.stage(**fields)
        case "progress":
            report.progress(**fields)
        case "epoch":
            report.epoch(**fields)
        case "warning":
            report.warn(**fields)


def end(running: dict[str, Forked]) -> None:
    """Make sure that no party outlives the launcher."""
    for process in running.values():
        if process.poll() is None:
            process.terminate()
    for process in running.values():
        try:
            process.wait(timeout=5)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
        process.close()


def _read(name: str, stream: TextIO, log: Path, events: queue.Queue[tuple[str, dict[str, Any] | None]]) -> None:
    with open_private(log, "ab") as file:
        for line in stream:
            file.write(line.encode())
            file.flush()
            with contextlib.suppress(json.JSONDecodeError):
                event = json.loads(line)
                if isinstance(event, dict):
                    events.put((name, event))
    events.put((name, None))
