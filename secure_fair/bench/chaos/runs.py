"""One run with its accidents, gone on with until it ends well, and looked at: results, ledgers, words, processes."""

from __future__ import annotations

import hashlib
import json
import random
import shutil
import signal
import time
from collections.abc import Iterator
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from secure_fair.bench.chaos.accidents import (
    ENDING,
    KINDS,
    LONG,
    MENDED,
    AccidentKind,
    Event,
    bring_back,
    strike,
    wrong_end,
)
from secure_fair.bench.chaos.clocks import LIBRARY
from secure_fair.bench.chaos.company import KEEPERS, ChaosTerms, Company, Grounds
from secure_fair.privacy.chain import verify

PATIENCE = 240.0  # seconds for one start of all parties
LONG_EVERY = 30  # of the runs, one has a line that is away for half a minute or a minute
SHAPES = {
    "mended": ChaosTerms(reconnect=15.0, timeout=15.0, epochs=16),
    "long": ChaosTerms(reconnect=75.0, timeout=15.0, epochs=16),
    "ending": ChaosTerms(reconnect=0.0, timeout=10.0, epochs=8),
}


@dataclass
class ChaosResult:
    """A run with its accidents, and all that was wrong about it."""

    number: int
    seed: int
    shape: str
    noised: bool
    events: list[Event]
    starts: int = 0
    moments: int = 0
    seconds: float = 0.0
    wrong: list[str] = field(default_factory=list)

    def line(self) -> str:
        """The result as a line of JSON."""
        return json.dumps(asdict(self))


def planned(number: int, seed: int) -> ChaosResult:
    """A run by its number: of which shape, and with which accidents."""
    chance = random.Random(f"{seed}-{number}")
    noised = number % 2 == 0
    if number % LONG_EVERY == 7:
        kind = list(LONG.values())[number // LONG_EVERY % 2]
        return ChaosResult(number, seed, "long", noised, [kind.event(chance, chance.uniform(0.2, 1.0))])
    shape = "mended" if chance.random() < 0.5 else "ending"
    count = chance.randint(8, 14) if shape == "mended" else chance.randint(4, 7)
    events = [_kind(chance, shape, place).event(chance, chance.uniform(0.05, 0.9)) for place in range(count)]
    return ChaosResult(number, seed, shape, noised, events)


def _kind(chance: random.Random, shape: str, place: int) -> AccidentKind:
    """A kind for the accident at this place. A run whose lines may come back is started once, with its first; one whose
    lines may not has to have begun before a party is kept from beginning."""
    kinds = (MENDED if shape == "mended" else ENDING).values()
    may_start = place == 0 if shape == "mended" else place > 0
    return chance.choice([kind for kind in kinds if may_start or not kind.at_start])


class Bench:
    """The place of all runs, and how they end where nobody disturbs them."""

    def __init__(self, folder: Path, kept: Path | None = None) -> None:
        """``kept``: where the folder of a run with something wrong goes."""
        self.folder, self.kept = folder, kept
        self.grounds = Grounds(folder / "grounds")
        self._references: dict[str, str] = {}

    def run(self, result: ChaosResult) -> ChaosResult:
        """Run it, and look at it; the ``result`` is filled in."""
        folder, began = self.folder / f"run-{result.number}", time.monotonic()
        with Company(self.grounds, folder, SHAPES[result.shape], noised=result.noised) as company:
            try:
                _go_through(company, result)
            except Exception as error:
                result.wrong.append(f"{type(error).__name__}: {error}")
            result.starts = company.starts
            if not result.wrong:
                self._look(company, result)
        result.seconds = round(time.monotonic() - began, 1)
        self._clear(folder, result)
        return result

    def _look(self, company: Company, result: ChaosResult) -> None:
        """Compare the model with that of a run which nobody has disturbed, or count what was paid for."""
        result.moments = _count(company, "auditor", "planned", "moment")
        most = company.terms.epochs + company.starts - 1  # a start may lose one answer
        if result.noised and not company.terms.epochs <= result.moments <= most:
            result.wrong.append(
                f"{result.moments} moments paid for {company.terms.epochs} epochs, {company.starts} starts"
            )
        if not result.noised and _model(company) != self.reference(result.shape):
            result.wrong.append("another model than without accidents")

    def reference(self, shape: str) -> str:
        """The model of an exact run of this shape that nobody disturbs."""
        if shape not in self._references:
            folder = self.folder / f"reference-{shape}"
            with Company(self.grounds, folder, SHAPES[shape], noised=False) as company:
                company.start()
                _wait(company)
                if any(end.code for end in company.ends().values()):
                    raise RuntimeError(f"a run that nobody disturbs has failed: {company.ends()}")
                self._references[shape] = _model(company)
            shutil.rmtree(folder)
        return self._references[shape]

    def _clear(self, folder: Path, result: ChaosResult) -> None:
        if result.wrong and self.kept is not None:
            self.kept.mkdir(parents=True, exist_ok=True)
            shutil.rmtree(self.kept / folder.name, ignore_errors=True)
            shutil.move(folder, self.kept / folder.name)
        shutil.rmtree(folder, ignore_errors=True)


def _go_through(company: Company, result: ChaosResult) -> None:
    """Start, strike and start again until all have ended well; whatever is wrong stops it."""
    waiting, before = list(result.events), b""
    while not result.wrong:
        first = company.starts == 0
        bring_back(company)
        struck, one = _strike_before(company, waiting), result.shape == "ending"
        company.start()
        struck += [] if struck and one else _strike_all(company, waiting, at_once=not first, one=one)
        _wait(company)
        ends = company.ends()
        _write_words(company)
        if not all(end.code == 0 for end in ends.values()):
            if not struck:
                result.wrong.append(
                    f"ended by itself: { {name: (end.code, end.said[-300:]) for name, end in ends.items()} }"
                )
            elif result.shape != "ending":
                result.wrong.append(
                    f"did not go on: { {name: (end.code, end.said[-300:]) for name, end in ends.items()} }"
                )
            else:
                result.wrong += wrong_end(struck[-1], ends, company.terms.timeout)
        result.wrong += [f"something of {name} still runs" for name in company.orphans()]
        bring_back(company)
        before = _check_ledgers(company, result, before)
        if all(ends[name].code == 0 for name in KEEPERS):  # a dealer that was away then has nothing to go on with
            return


def _strike_before(company: Company, waiting: list[Event]) -> list[Event]:
    """Let happen what comes next, where it strikes before a start; none where clocks cannot be set."""
    while waiting and KINDS[waiting[0].kind].at_start:
        event = waiting.pop(0)
        if LIBRARY is not None:
            strike(company, event)
            return [event]
    return []


def _strike_all(company: Company, waiting: list[Event], *, at_once: bool, one: bool) -> list[Event]:
    """Let accidents happen, each as long after the one before, or only ``one``; those that have.

    ``at_once``: the first may strike before the training has begun, as a run is gone on with.
    """
    struck: list[Event] = []
    since = time.monotonic() if at_once and waiting and int(waiting[0].after * 100) % 4 == 0 else None
    deadline = time.monotonic() + PATIENCE
    while waiting and not company.all_ended() and time.monotonic() < deadline and not (one and struck):
        time.sleep(0.01)
        if since is None:
            since = time.monotonic() if company.is_training() else None
        elif time.monotonic() > since + waiting[0].after:
            event = waiting.pop(0)
            strike(company, event)
            struck.append(event)
            since = time.monotonic()
    return struck


def _wait(company: Company) -> None:
    deadline = time.monotonic() + PATIENCE
    while not company.all_ended():
        time.sleep(0.02)
        if time.monotonic() > deadline:
            for name in company.addresses:
                company.signal(name, signal.SIGUSR1)  # where it hangs goes to its words
            time.sleep(1.0)
            _write_words(company)
            running = {name: company.said(name)[-300:] for name in company.addresses if company.runs(name)}
            raise TimeoutError(f"not ended after {PATIENCE:.0f} s: {running}")


def _check_ledgers(company: Company, result: ChaosResult, before: bytes) -> bytes:
    """Check that both chains hold, that nothing is gone from the auditor's, and that it has all that was received."""
    for name in ("auditor", "developer"):
        if (company.state(name) / "ledger" / "ledger.jsonl").exists():
            verify(company.state(name) / "ledger")
    content = _ledger(company, "auditor")
    if not content.startswith(before):
        result.wrong.append("the auditor's ledger lacks what it had before")
    paid = {entry["number"] for entry in _entries(company, "auditor") if entry["kind"] == "planned"}
    got = [entry["number"] for entry in _entries(company, "developer") if entry["kind"] == "received"]
    if not paid >= {*got} or len(got) != len({*got}):
        result.wrong.append(f"received {sorted(got)}, paid for {sorted(paid)}")
    return content


def _ledger(company: Company, name: str) -> bytes:
    """The whole lines of a party's ledger."""
    file = company.state(name) / "ledger" / "ledger.jsonl"
    content = file.read_bytes() if file.exists() else b""
    return content[: content.rfind(b"\n") + 1]


def _entries(company: Company, name: str) -> Iterator[dict[str, Any]]:
    return (json.loads(line) for line in _ledger(company, name).splitlines())


def _count(company: Company, name: str, kind: str, operation: str) -> int:
    return sum(entry["kind"] == kind and entry.get("operation") == operation for entry in _entries(company, name))


def _model(company: Company) -> str:
    """SHA-256 of the head and the adapter."""
    digest = hashlib.sha256()
    for file in ("head.safetensors", "adapter/adapter_model.safetensors"):
        digest.update((company.out("developer") / file).read_bytes())
    return digest.hexdigest()


def _write_words(company: Company) -> None:
    for name in company.addresses:
        with (company.folder / f"{name}.log").open("a") as log:
            log.write(f"--- start {company.starts}\n{company.said(name)}\n")
