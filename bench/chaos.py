"""Seeded accidents in small runs: parties killed or stopped, lines reset or cut; do the runs end, and as they should?

    python -m bench.chaos --events 24 --seed 1 --out docs/reliability.md

Every party is a process of its own (`secure-fair party`), every line goes through a relay. A run is gone on with
(`--resume`) until it ends well; its model is then compared with that of a run which nobody has disturbed.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import os
import random
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path

from bench.proxy import Proxy
from parties import identity

NAMES = ("dealer", "auditor", "developer")
KINDS = ("kill", "stop", "reset", "cut")
STOPPED = 3.0  # seconds of a stop
CUT = 4.0  # seconds of a cut
A_RUN = 4  # accidents in one run, at most
PATIENCE = 240.0  # seconds for one start of all parties
RECONNECT, TIMEOUT = 10, 20
SCENARIO = """name = "chaos"
seed = 5
[data]
dataset = "faces"
target = "wavy_hair"
sensitive = ["male"]
records = 200
correlation = 0.5
image_size = 32
[lora]
rank = 4
last_blocks = 1
[train]
epochs = 12
batch_size = 40
device = "cpu"
precision = "fp32"
[method]
name = "parity"
[link]
reconnect = {reconnect}
{privacy}"""
NOISED = "[privacy]\nepsilon = 3.0\nreserve_releases = 8\n"
EPOCHS = 12


@dataclass
class Event:
    """One accident: ``victim`` is a party, or a line "of -> to"."""

    kind: str
    victim: str
    after: float  # seconds after the training has begun, or the event before
    outcome: str = "came too late"


@dataclass
class Result:
    """A run with its accidents: how often it was started again, and whether it ended as it should."""

    number: int
    noised: bool
    events: list[Event]
    restarts: int = 0
    seconds: float = 0.0
    verdict: str = ""
    released: int = 0


@dataclass
class Run:
    """The parties of one scenario in a folder, with a relay on each line."""

    folder: Path
    stores: Path
    noised: bool
    starts: int = 0
    running: dict[str, subprocess.Popen[bytes]] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.folder.mkdir(parents=True)
        text = SCENARIO.format(reconnect=RECONNECT, privacy=NOISED if self.noised else "")
        (self.folder / "s.toml").write_text(text)
        identity.create_authority(self.folder / "ids")
        for name in NAMES:
            identity.issue_for_simulation(self.folder / "ids", name, days=2)

    def start(self, lines: dict[tuple[str, str], Proxy]) -> None:
        """Start every party; from the second time on they go on with the run."""
        listen = {name: f"127.0.0.1:{_free_port()}" for name in NAMES}
        for (_, to), line in lines.items():
            line.target = listen[to]
        for name in NAMES:
            with (self.folder / f"{name}.log").open("ab") as log:
                self.running[name] = subprocess.Popen(
                    self.command(name, listen[name], lines), stdout=log, stderr=log, env={**os.environ, **_THREADS}
                )
        self.starts += 1

    def command(self, name: str, listen: str, lines: dict[tuple[str, str], Proxy]) -> list[str]:
        """The command line of one party."""
        line = [sys.executable, "-m", "scenarios.cli", "party", name, "--simulated", "--timeout", str(TIMEOUT)]
        line += [
            "--wait",
            "60",
            "--scenario",
            str(self.folder / "s.toml"),
            "--identity",
            str(self.folder / "ids" / name),
        ]
        line += ["--listen", listen, "--out", str(self.folder / "out" / name)]
        for (of, to), relay in lines.items():
            line += ["--peer", f"{to}={relay.address}"] if of == name else []
        if name != "dealer":
            line += ["--store", str(self.stores / name), "--state", str(self.folder / "state" / name)]
        return [*line, "--resume"] if self.starts else line

    def epochs(self) -> int:
        """Whole epochs so far."""
        rounds = self.folder / "out" / "developer" / "rounds.jsonl"
        return len(rounds.read_text().splitlines()) if rounds.exists() else 0

    def ended(self) -> bool:
        """Whether every party has ended."""
        return all(process.poll() is not None for process in self.running.values())

    def codes(self) -> dict[str, int]:
        """Exit codes of all parties."""
        return {name: int(process.wait()) for name, process in self.running.items()}

    def end(self) -> None:
        """Leave nobody running."""
        for process in self.running.values():
            if process.poll() is None:
                process.send_signal(signal.SIGCONT)
                process.kill()
            process.wait()


_THREADS = {"OMP_NUM_THREADS": "1"}


def chaos(events: int, seed: int) -> list[Result]:
    """Runs with so many accidents in all, every second one with noise."""
    chance = random.Random(seed)
    results: list[Result] = []
    with tempfile.TemporaryDirectory(prefix="secure-fair-chaos-") as folder:
        place = Path(folder)
        stores = _prepare(place)
        reference = _undisturbed(place, stores)
        left = events
        while left:
            planned = [_event(chance) for _ in range(min(left, chance.randint(1, A_RUN)))]
            left -= len(planned)
            number = len(results) + 1
            results.append(_disturbed(place / f"run-{number}", stores, Result(number, number % 2 == 0, planned)))
            _judge(results[-1], place / f"run-{number}", reference)
            print(_row(results[-1]), file=sys.stderr, flush=True)
            shutil.rmtree(place / f"run-{number}")
    return results


def _event(chance: random.Random) -> Event:
    kind = chance.choice(KINDS)
    pairs = [(of, to) for of in NAMES for to in NAMES if of != to]
    victim = chance.choice(NAMES) if kind in ("kill", "stop") else " -> ".join(chance.choice(pairs))
    return Event(kind, victim, chance.uniform(0.2, 4.0))


def _prepare(place: Path) -> Path:
    (place / "prepare.toml").write_text(SCENARIO.format(reconnect=RECONNECT, privacy=""))
    command = [sys.executable, "-m", "scenarios.cli", "data", "prepare", str(place / "prepare.toml")]
    subprocess.run([*command, "--out", str(place / "stores")], check=True, capture_output=True)
    return place / "stores"


def _undisturbed(place: Path, stores: Path) -> str:
    result = _disturbed(place / "run-0", stores, Result(0, False, []))
    if result.restarts:
        raise RuntimeError("a run that nobody has disturbed did not end well")
    return _model(place / "run-0")


def _disturbed(folder: Path, stores: Path, result: Result) -> Result:
    """Run until it ends well, with the accidents one after the other, each once the training goes on."""
    began, run, waiting = time.monotonic(), Run(folder, stores, result.noised), list(result.events)
    with ExitStack() as stack:
        lines = {(of, to): stack.enter_context(Proxy()) for of in NAMES for to in NAMES if of != to}
        stack.callback(run.end)
        while True:
            run.start(lines)
            _go(run, lines, waiting)
            if set(run.codes().values()) == {0} or run.starts > len(result.events):
                break
        result.verdict = "ended" if set(run.codes().values()) == {0} else f"failed: {run.codes()}"
    result.restarts, result.seconds = run.starts - 1, time.monotonic() - began
    return result


def _go(run: Run, lines: dict[tuple[str, str], Proxy], waiting: list[Event]) -> None:
    """One start of all parties, until they have ended."""
    deadline, since = time.monotonic() + PATIENCE, None
    while not run.ended():
        time.sleep(0.02)
        now = time.monotonic()
        if now > deadline:
            run.end()
        if since is None and _is_training(run):
            since = now
        if waiting and since is not None and now > since + waiting[0].after:
            _strike(run, lines, waiting.pop(0))
            since = time.monotonic()


def _is_training(run: Run) -> bool:
    """Whether the developer has begun to train since it was started last."""
    return "training: " in (run.folder / "developer.log").read_text().rpartition("connecting")[2]


def _strike(run: Run, lines: dict[tuple[str, str], Proxy], event: Event) -> None:
    before = run.epochs()
    event.outcome = f"in epoch {before + 1}" if before < EPOCHS else "after the last epoch"
    if event.kind in ("reset", "cut"):
        of, _, to = event.victim.partition(" -> ")
        line = lines[of, to]
        line.reset() if event.kind == "reset" else line.cut(CUT)
        return
    process = run.running[event.victim]
    if process.poll() is not None:
        event.outcome = "it had ended"
        return
    if event.kind == "kill":
        process.kill()
        return
    process.send_signal(signal.SIGSTOP)
    time.sleep(STOPPED)
    process.send_signal(signal.SIGCONT)


def _judge(result: Result, folder: Path, reference: str) -> None:
    """Compare the model with the undisturbed one, or count the releases of a noised run."""
    ledger = folder / "state" / "auditor" / "ledger" / "ledger.jsonl"
    entries = [json.loads(line) for line in ledger.read_text().splitlines()]
    result.released = sum(one["kind"] == "planned" and one["operation"] == "moment" for one in entries)
    if result.verdict != "ended":
        return
    if result.noised:
        kills = sum(event.kind == "kill" for event in result.events)
        good = result.released <= EPOCHS + kills
        result.verdict = "ended, nothing paid twice" if good else f"ended, {result.released} moments paid"
    else:
        result.verdict = "the same model" if _model(folder) == reference else "another model"


def _model(folder: Path) -> str:
    """SHA-256 of the head and the adapter."""
    digest = hashlib.sha256()
    for file in ("head.safetensors", "adapter/adapter_model.safetensors"):
        digest.update((folder / "out" / "developer" / file).read_bytes())
    return digest.hexdigest()


def _free_port() -> int:
    with socket.socket() as one:
        one.bind(("127.0.0.1", 0))
        return int(one.getsockname()[1])


def _row(result: Result) -> str:
    told = "; ".join(f"{event.kind} {event.victim} ({event.outcome})" for event in result.events)
    kind = "noised" if result.noised else "exact"
    return (
        f"| {result.number} | {kind} | {told} | {result.restarts} | {result.released} of {EPOCHS} | "
        f"{result.seconds:.0f} | {result.verdict} |"
    )


def page(results: Sequence[Result], events: int, seed: int) -> str:
    """The table as Markdown."""
    well = sum(result.verdict in ("the same model", "ended, nothing paid twice") for result in results)
    struck = [event for result in results for event in result.events if event.outcome.startswith(("in epoch", "after"))]
    kinds = ", ".join(f"{sum(event.kind == kind for event in struck)} {kind}" for kind in KINDS)
    rows = "\n".join(map(_row, results))
    return f"""# Reliability

Made by `python -m bench.chaos --events {events} --seed {seed} --out docs/reliability.md`. Small runs of
{EPOCHS} epochs, three parties as processes of one machine, a relay on each of the six lines,
`link.reconnect = {RECONNECT}`, `--timeout {TIMEOUT}`. Accidents at random: a party is killed (SIGKILL), or stopped for
{STOPPED:.0f} s; a line is reset, or cut for {CUT:.0f} s. A run whose party was killed is started again with `--resume`,
all parties of it. *the same model*: with exact releases head and adapter are, bit by bit, those of a run that nobody
disturbed. *nothing paid twice*: with noise no more moments were paid for than epochs and kills.

**{well} of {len(results)} runs ended as they should, with {len(struck)} accidents that struck ({kinds}).**

| run | releases | accidents | started again | moments paid | seconds | end |
| --- | --- | --- | --- | --- | --- | --- |
{rows}

What it does not show: machines that lose their disks, parties that lie (`tests/parties/test_resume.py` has those),
several auditors, other methods (`tests/learning/test_carried.py` has all, in one process), and time: the machine was
busy.
"""


def main() -> None:
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--events", type=int, default=24, help="accidents in all")
    parser.add_argument("--seed", type=int, default=1, help="of the accidents")
    parser.add_argument("--out", type=Path, help="where the page goes; standard output otherwise")
    given = parser.parse_args()
    text = page(chaos(given.events, given.seed), given.events, given.seed)
    if given.out is None:
        print(text)
    else:
        given.out.write_text(text)


if __name__ == "__main__":
    main()
