"""The standing of a ledger: what people have spent for life, what is left, which runs there were, what was opened.

It is read from the entries on disk, which need not be one's own, and changes nothing; a party may be running meanwhile.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from secure_fair.defaults import DELTA
from secure_fair.privacy.accounting import mixed_epsilon
from secure_fair.privacy.chain import ENTRIES as FILE
from secure_fair.privacy.chain import entries_of, ids_of, persons_of, torn_line
from secure_fair.privacy.entries import missed_numbers
from secure_fair.privacy.outlook import room
from secure_fair.privacy.policy import Policy
from secure_fair.privacy.recount import cost_of, groups_of
from secure_fair.privacy.rules import Rules
from secure_fair.privacy.spending import Spending

Entry = Mapping[str, Any]
_States = list[list[float]]  # mu^2, added epsilon and added delta of each person


@dataclass(frozen=True)
class Level:
    """So many ``people`` who have spent the same; ``epsilon`` None: something was opened exactly."""

    epsilon: float | None
    people: int


@dataclass(frozen=True)
class Spent:
    """The spending for life on one attribute, or on all together ("").

    ``people`` have paid anything, ``most`` and ``median`` are theirs (None: exact). ``limit`` is the policy's and
    ``left`` the epsilon of one more run that fits for everybody; None where there is no limit.
    """

    attribute: str
    people: int
    most: float | None
    median: float | None
    levels: tuple[Level, ...]
    limit: float | None
    left: float | None


@dataclass(frozen=True)
class Received:
    """All that a developer has been told about one attribute of one auditor's.

    ``most``: the epsilon of somebody who was in every release of it (None: exact). The developer's ledger has digests
    of sets of records alone, so that it cannot say who was. ``beyond``: operations whose cost receipts do not have.
    """

    auditor: str
    attribute: str
    releases: int
    most: float | None
    beyond: tuple[str, ...]


@dataclass(frozen=True)
class Missed:
    """Releases of one auditor's in one run that the developer heard of after a crash alone.

    It says that they never came. Their process may have had them, so whoever adds up counts them as told.
    """

    auditor: str
    run: str
    releases: int


@dataclass(frozen=True)
class RunStanding:
    """One run: when it began and when its last entry was written, how often it was started, what came of it."""

    run: str
    began: str
    last: str
    starts: int
    releases: int
    opened: int
    refused: int


@dataclass(frozen=True)
class OpeningTally:
    """The openings of one operation about one attribute: how many, how many numbers, how many of them exact."""

    auditor: str
    attribute: str
    operation: str
    releases: int
    numbers: int
    exact: int


@dataclass(frozen=True)
class Standing:
    """All of it. ``unit``: person, or record; ``enrolled``: how many of them; ``torn``: bytes of an unfinished line."""

    owner: str
    simulated: bool
    entries: int
    torn: int
    unit: str
    enrolled: int
    delta: float
    spent: tuple[Spent, ...]
    received: tuple[Received, ...]
    missed: tuple[Missed, ...]
    runs: tuple[RunStanding, ...]
    openings: tuple[OpeningTally, ...]

    def facts(self) -> dict[str, Any]:
        """The same as JSON-ready values."""
        return asdict(self)


def standing(directory: Path, rules: Rules, policy: Policy | None = None) -> Standing:
    """The standing of the ledger in this folder; DamagedFile where a line or a table is damaged.

    What is left is told under ``policy``; delta is the policy's, else that of the newest run's.
    """
    entries = list(entries_of(directory))
    first = entries[0] if entries else {}
    delta = policy.delta if policy is not None else _delta(entries)
    spending = Spending(entries, partial(ids_of, directory), partial(persons_of, directory))
    persons = any("persons" in entry for entry in entries)
    return Standing(
        owner=str(first.get("owner", "")),
        simulated=bool(first.get("simulated")),
        entries=len(entries),
        torn=len(torn_line(directory / FILE)),
        unit="person" if persons else "record",
        enrolled=len(spending.everybody),
        delta=delta,
        spent=tuple(_spent(spending, policy, delta)),
        received=tuple(_received(entries, rules, delta)),
        missed=tuple(_missed(entries)),
        runs=tuple(_runs(entries)),
        openings=tuple(_openings(entries)),
    )


def _delta(entries: Sequence[Entry]) -> float:
    policies = [entry["policy"] for entry in entries if entry["kind"] == "start" and "policy" in entry]
    return float(policies[-1].get("delta", DELTA)) if policies else DELTA


def _spent(spending: Spending, policy: Policy | None, delta: float) -> Iterator[Spent]:
    everybody, names = spending.everybody, spending.attributes
    limit = None if policy is None else policy.epsilon
    for name in names:
        yield _account(name, spending.of(name, everybody), limit, delta)
    total = None if policy is None else policy.total_epsilon
    if len(names) > 1 or total is not None:
        yield _account("", spending.over_attributes(everybody), total, delta)


def _account(name: str, sums: tuple[np.ndarray, np.ndarray, np.ndarray], limit: float | None, delta: float) -> Spent:
    states = np.stack(sums, axis=1)
    states = states[(states > 0).any(axis=1)]
    found, times = np.unique(states, axis=0, return_counts=True)
    pairs = sorted(zip(_epsilons(found.tolist(), delta), times.tolist(), strict=True))
    levels = [Level(_finite(epsilon), people) for epsilon, people in reversed(pairs)]
    half = np.repeat([epsilon for epsilon, _ in pairs], [people for _, people in pairs])
    median = float(half[(len(half) - 1) // 2]) if len(half) else 0.0  # the lower one: infinity has no middle
    return Spent(
        attribute=name,
        people=len(states),
        most=levels[0].epsilon if levels else 0.0,
        median=_finite(median),
        levels=tuple(levels),
        limit=limit,
        left=None if limit is None else room(sums, limit, delta),
    )


def _epsilons(states: _States, delta: float) -> list[float]:
    return [mixed_epsilon(math.sqrt(mu2), more, lost, delta) for mu2, more, lost in states]


def _finite(epsilon: float) -> float | None:
    return None if math.isinf(epsilon) else epsilon


def _received(entries: Sequence[Entry], rules: Rules, delta: float) -> Iterator[Received]:
    told = [entry for entry in entries if entry["kind"] == "received"]
    for auditor, attribute in dict.fromkeys((entry["auditor"], entry["attribute"]) for entry in told):
        about = [entry for entry in told if (entry["auditor"], entry["attribute"]) == (auditor, attribute)]
        known = [entry for entry in about if entry["operation"] in rules]
        groups = groups_of(known, rules)
        mu2 = sum(cost_of(entry, rules, groups) for entry in known)
        beyond = {entry["operation"] for entry in about if not _says_its_cost(entry["operation"], rules)}
        most = math.inf if math.isinf(mu2) else mixed_epsilon(math.sqrt(mu2), 0.0, 0.0, delta)
        yield Received(auditor, attribute, len(about), _finite(most), tuple(sorted(beyond)))


def _missed(entries: Sequence[Entry]) -> Iterator[Missed]:
    lost = Counter[tuple[str, str]]()
    for entry in entries:
        if entry["kind"] == "missed":
            lost[entry["auditor"], entry["run"]] += len(missed_numbers(dict(entry)))
    return (Missed(*which, count) for which, count in lost.items())


def _says_its_cost(operation: str, rules: Rules) -> bool:
    """Whether the noise in a receipt says what the release costs: not of answers at random, nor after a training."""
    rule = rules.get(operation)
    return rule is not None and not (rule.responds_at_random or rule.post_processing)


def _runs(entries: Sequence[Entry]) -> Iterator[RunStanding]:
    for name in dict.fromkeys(entry["run"] for entry in entries if "run" in entry):
        own = [entry for entry in entries if entry.get("run") == name]
        kinds = Counter(entry["kind"] for entry in own)
        told = kinds["received"] + sum(one.releases for one in _missed(own))
        yield RunStanding(
            run=name,
            began=own[0]["time"],
            last=own[-1]["time"],
            starts=kinds["start"],
            releases=kinds["planned"] + told,
            opened=kinds["opened"] + told,
            refused=kinds["refused"],
        )


def _openings(entries: Iterable[Entry]) -> Iterator[OpeningTally]:
    """By auditor, attribute and operation; what was planned counts, whether or not a crash came before its opening."""
    made = [entry for entry in entries if entry["kind"] in ("planned", "received")]
    for key in dict.fromkeys(map(_what, made)):
        own = [entry for entry in made if _what(entry) == key]
        numbers = sum(math.prod(entry["shape"]) for entry in own if entry["shape"])
        yield OpeningTally(*key, len(own), numbers, sum(entry["sigma"] is None for entry in own))


def _what(entry: Entry) -> tuple[str, str, str]:
    return entry["auditor"], entry["attribute"], entry["operation"]
