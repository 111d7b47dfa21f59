"""The kinds of accidents: how each strikes a run, and how the parties must end where the run does not go on.

A run whose lines may come back (``MENDED``) is to go on through its accidents to the result of one that nobody
disturbed. In one whose lines may not (``ENDING``) each is to end all parties soon, naming the cause.
"""

from __future__ import annotations

import contextlib
import os
import random
import resource
import signal
import socket
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from secure_fair.bench.chaos.company import KEEPERS, LINES, NAMES, VALID_DAYS, WAIT, Company, PartyEnding

USAGE, REFUSED, LOST, INTERRUPTED = 2, 4, 5, 130
SOON = 5.0  # seconds beyond the silence limit within which all have ended
EARLY = "before the training"
STRANGERS = 2_000


@dataclass
class Event:
    """One accident: ``victim`` is a party, or a line "of -> to"; ``after`` (seconds) what came before it."""

    kind: str
    victim: str
    after: float
    seconds: float = 0.0
    days: float = 0.0  # by which a clock is ahead
    struck: str = ""  # when; empty: the run had ended before
    at: float = field(default=0.0, repr=False)  # monotonic

    @property
    def ends(self) -> tuple[str, ...]:
        """The parties of the line, or the one party."""
        return tuple(self.victim.split(" -> "))


@dataclass(frozen=True)
class AccidentKind:
    """A kind of accident: whom it may strike, for how long (seconds, the least and the most), and by what."""

    name: str
    on: tuple[str, ...]
    strike: Callable[[Company, Event], None]
    lasts: tuple[float, float] = (0.0, 0.0)
    codes: frozenset[int] = frozenset({LOST})  # of those who are left, where the run ends
    own: frozenset[int] = frozenset()  # of the victim
    days: tuple[float, float] = (0.0, 0.0)  # by which a clock is ahead: it strikes before a start
    later: bool = False  # nobody notices before the victim does, which then ends by itself

    def event(self, chance: random.Random, after: float) -> Event:
        """One of this kind, at random."""
        victim, seconds = chance.choice(self.on), round(chance.uniform(*self.lasts), 2)
        days = round(chance.uniform(*self.days), 3) if self.at_start else 0.0
        return Event(self.name, victim, round(after, 2), seconds, days)

    @property
    def at_start(self) -> bool:
        """Whether it strikes before a party is started."""
        return self.days != (0.0, 0.0)


# on a line


def _reset(company: Company, event: Event) -> None:
    company.lines[_line(event)].reset()


def _cut(company: Company, event: Event) -> None:
    company.lines[_line(event)].cut(event.seconds)


def _hold(company: Company, event: Event) -> None:
    company.lines[_line(event)].hold(event.seconds)


def _swallow(company: Company, event: Event) -> None:
    """The connections of now stay and pass nothing any more; a new one does."""
    company.lines[_line(event)].swallow()


def _flip(company: Company, event: Event) -> None:
    company.lines[_line(event)].flip()


def _line(event: Event) -> tuple[str, str]:
    of, to = event.ends
    return of, to


# at a party


def _kill(company: Company, event: Event) -> None:
    company.signal(event.victim, signal.SIGKILL)


def _term(company: Company, event: Event) -> None:
    company.signal(event.victim, signal.SIGTERM)


def _stop(company: Company, event: Event) -> None:
    company.signal(event.victim, signal.SIGSTOP)
    threading.Timer(event.seconds, company.signal, (event.victim, signal.SIGCONT)).start()


def _set_clock(company: Company, event: Event) -> None:
    company.clocks[event.victim] = event.days


def _fill(company: Company, event: Event) -> None:
    """No file of the party's grows any more, as on a full disk."""
    with contextlib.suppress(ProcessLookupError):
        _, hard = resource.prlimit(company.pid(event.victim), resource.RLIMIT_FSIZE)
        resource.prlimit(company.pid(event.victim), resource.RLIMIT_FSIZE, (1, hard))


def _take_away(company: Company, event: Event) -> None:
    """A file stands where the party's folder was, which is gone until the next start: a share that is not mounted."""
    folder = company.out(event.victim) if event.seconds < 0.5 else company.state(event.victim)
    with contextlib.suppress(OSError):
        folder.rename(away(folder))
        folder.touch()


def bring_back(company: Company) -> None:
    """Undo what lasts until a run is started again."""
    company.clocks.clear()
    for name in KEEPERS:
        for folder in (company.out(name), company.state(name)):
            if away(folder).exists():
                folder.unlink(missing_ok=True)
                away(folder).rename(folder)


def away(folder: Path) -> Path:
    """Where a folder is that was taken away."""
    return folder.with_name(f"{folder.name}.away")


def _garbage(company: Company, event: Event) -> None:
    """Bytes at random, at the party's port."""
    with contextlib.suppress(OSError), _called(company, event.victim) as stranger:
        for _ in range(8):
            stranger.sendall(os.urandom(4_000))


def _strangers(company: Company, event: Event) -> None:
    """So many connections at the party's port that say nothing, for as long as the accident lasts."""
    idle = []
    for _ in range(STRANGERS):
        with contextlib.suppress(OSError):
            idle.append(_called(company, event.victim))
    threading.Timer(event.seconds, _close, (idle,)).start()


def _close(connections: Sequence[socket.socket]) -> None:
    for one in connections:
        one.close()


def _called(company: Company, name: str) -> socket.socket:
    host, _, port = company.addresses[name].rpartition(":")
    return socket.create_connection((host, int(port)), timeout=2)


_lines = tuple(f"{of} -> {to}" for of, to in LINES)

MENDED = {
    kind.name: kind
    for kind in (
        AccidentKind("reset", _lines, _reset),
        AccidentKind("cut", _lines, _cut, (1.0, 4.0)),
        AccidentKind("silent line", _lines, _hold, (0.5, 3.0)),
        AccidentKind("dead line", _lines, _swallow),
        AccidentKind("changed byte", _lines, _flip),
        AccidentKind("stop and go on", NAMES, _stop, (0.2, 2.5)),
        AccidentKind("garbage", NAMES, _garbage),
        AccidentKind("2,000 strangers", NAMES, _strangers, (0.3, 1.0)),
        AccidentKind("another clock", NAMES, _set_clock, days=(0.001, 365.0)),
    )
}
LONG = {
    kind.name: kind
    for kind in (
        AccidentKind("cut of 30 s", _lines, _cut, (30, 30)),
        AccidentKind("cut of 60 s", _lines, _cut, (60, 60)),
    )
}
ENDING = {
    kind.name: kind
    for kind in (
        AccidentKind("kill", NAMES, _kill, own=frozenset({-signal.SIGKILL})),
        AccidentKind("told to end", NAMES, _term, own=frozenset({INTERRUPTED})),
        AccidentKind("freeze", NAMES, _stop, (13.0, 14.0), own=frozenset({REFUSED, LOST})),
        AccidentKind("line reset for good", _lines, _reset),
        AccidentKind("line cut for good", _lines, _cut, (3.0, 6.0)),
        AccidentKind("byte changed for good", _lines, _flip, codes=frozenset({REFUSED, LOST})),
        AccidentKind(
            "clock beyond the certificates",
            NAMES,
            _set_clock,
            own=frozenset({USAGE}),
            days=(VALID_DAYS + 1.0, VALID_DAYS + 365.0),
        ),
        AccidentKind("full disk", KEEPERS, _fill, own=frozenset({USAGE}), later=True),
        AccidentKind("folder gone", KEEPERS, _take_away, (0.0, 1.0), own=frozenset({USAGE}), later=True),
    )
}
KINDS = {**MENDED, **LONG, **ENDING}


def wrong_end(event: Event, ends: Mapping[str, PartyEnding], silence: float) -> list[str]:
    """All that is not as it should be in how the parties ended after the accident; ``silence``: seconds of it that are
    borne. One that has not come yet is waited for as long as all may take to come."""
    limit = max(silence, WAIT) if event.struck == EARLY else silence
    kind, found = KINDS[event.kind], []
    begun = ends[event.victim].at if kind.later else event.at
    for name, end in ends.items():
        told = [line for line in end.said.splitlines() if line.lower().startswith("error: ")]
        if end.code == 0:  # it had no more need of the others
            continue
        if end.at < event.at:
            found.append(f"{name} ended before, with {end.code}: {told}")
            continue
        own = name == event.victim and bool(kind.own)
        if own and event.struck == EARLY and event.kind == "told to end" and end.code == -signal.SIGTERM:
            continue  # it had not begun
        if end.code not in (kind.own if own else kind.codes):
            found.append(f"{name} ended with {end.code}: {end.said[-300:]}")
        late = end.at - max(begun, end.came) - limit - SOON - (event.seconds if own else 0.0)
        if late > 0:
            found.append(f"{name} ended {late:.1f} s too late")
        if end.code < 0:
            continue
        if len(told) != 1 or "Traceback" in end.said:
            found.append(f"{name} said {told}")
        elif not own and not any(one in told[0] for one in event.ends if one != name):
            found.append(f"{name} does not name {event.victim}: {told[0]}")
    codes = {end.code for name, end in ends.items() if name != event.victim and end.code}
    if len(codes) > 1 and not kind.own:
        found.append(f"they ended with different codes: {sorted(codes)}")
    return found


def strike(company: Company, event: Event) -> None:
    """Let it happen, and note when."""
    training = not KINDS[event.kind].at_start and company.is_training()
    event.struck = f"after {company.epochs()} epochs" if training else EARLY
    event.at = time.monotonic()
    KINDS[event.kind].strike(company, event)
