"""The soundness of a ledger's entries: what the chain cannot tell, for whoever writes it could write anything.

Every release has a run that was begun, a table and records that hash to what it says, people among those records who
pay no less than its noise costs, and a number of its own; what was opened was planned; and after every run nobody had
spent more than the policy in its start line allows.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from secure_fair.ids import Names
from secure_fair.privacy.accounting import mixed_epsilon
from secure_fair.privacy.chain import entries_of, ids_of, persons_of
from secure_fair.privacy.entries import Payers, charge_of, is_training, members, paying, records_hash
from secure_fair.privacy.recount import TOLERANCE, cost_of, groups_of
from secure_fair.privacy.rules import Rules
from secure_fair.privacy.spending import Spending
from secure_fair.privacy.tallies import distinct, first_places

Entry = dict[str, Any]


def unsound(directory: Path, rules: Rules) -> list[str]:
    """Everything that does not add up in a ledger whose chain holds, by the number of its entry."""
    check = Soundness(list(entries_of(directory)), rules, partial(ids_of, directory), partial(persons_of, directory))
    return list(check.problems())


class Soundness:
    """One walk through a ledger's entries, adding up what was spent."""

    def __init__(
        self,
        entries: Sequence[Entry],
        rules: Rules,
        ids: Callable[[str], Names],
        persons: Callable[[str], Names],
    ) -> None:
        """``ids`` and ``persons``: the lists that the ledger has kept, by their names."""
        self._entries = entries
        self._rules = rules
        self._persons = persons
        self._ids = ids
        self._spending = Spending([], ids, persons)
        self._enrolled: set[str] = set()
        self._policies: dict[str, Mapping[str, Any]] = {}  # by run that was started
        self._planned: dict[tuple[str, int], bool] = {}  # by run and number: whether it was opened

    def problems(self) -> Iterator[str]:
        """Say what is wrong, entry by entry."""
        run = ""
        for entry in self._entries:
            if entry["kind"] == "planned" and entry["run"] != run:
                yield from self._beyond(run)
                run = entry["run"]
            for problem in self._look_at(entry):
                yield f"entry {entry['entry']}: {problem}"
        yield from self._beyond(run)

    def _look_at(self, entry: Entry) -> Iterator[str]:
        match entry["kind"]:
            case "created" if entry["entry"] != 1:
                yield "a ledger is created once"
            case "start":
                self._policies[entry["run"]] = entry.get("policy", {})
            case "table":
                self._enrolled.add(entry["table"])
                self._spending.enrol(
                    self._ids(entry["table"]), self._persons(entry["persons"]) if "persons" in entry else None
                )
            case "planned":
                yield from self._release(entry)
            case "opened":
                known = self._planned.get((entry["run"], entry["number"]))
                if known is not False:
                    yield f"release {entry['number']} of {entry['run']} was opened {'twice' if known else 'unplanned'}"
                self._planned[entry["run"], entry["number"]] = True

    def _release(self, entry: Entry) -> Iterator[str]:
        name = f"release {entry['number']} of {entry['run']}"
        if entry["run"] not in self._policies:
            yield f"{name}: its run has no start line"
        if (entry["run"], entry["number"]) in self._planned:
            yield f"{name} was planned twice"
        self._planned[entry["run"], entry["number"]] = False
        if entry["table"] not in self._enrolled:
            yield f"{name}: its table of records was never enrolled"
            return
        yield from (f"{name}: {problem}" for problem in self._payment(entry))
        self._spending.add_entry(entry)

    def _payment(self, entry: Entry) -> Iterator[str]:
        rows = self._spending.rows_of_table(entry["table"])
        records, paid = members(entry, len(rows)), paying(entry, len(rows))
        if records_hash(entry["table"], records) != entry["records"] or len(records) != entry["count"]:
            yield "its records are not those of its digest"
        due = Payers.of(records, first_places(rows))
        place = np.searchsorted(due.places, paid.places).clip(max=max(len(due.places) - 1, 0))
        if len(paid.places) and (not len(due.places) or (due.places[place] != paid.places).any()):
            yield "somebody pays whose records it is not about"
        elif not is_training(entry) and (paid.times != due.times[place]).any():
            yield "somebody does not pay for each record"
        if is_training(entry):
            rule = self._rules.get(entry["operation"])
            if rule is None or rule.opened or rule.on_shares:
                yield f"it opens nothing, as if it were a training, and is a {entry['operation']}"
        elif entry["operation"] in self._rules:
            about = [one for one in self._entries if one["kind"] == "planned" and self._same(one, entry)]
            if charge_of(entry).mu2 < cost_of(entry, self._rules, groups_of(about, self._rules)) * (1 - TOLERANCE):
                yield "its charge is less than its noise costs"

    @staticmethod
    def _same(one: Entry, other: Entry) -> bool:
        """Whether two releases are about the same attribute in one run, and so about as many groups."""
        return bool(one["shape"]) and (one["run"], one["attribute"]) == (other["run"], other["attribute"])

    def _beyond(self, run: str) -> Iterator[str]:
        """Say of whom the policy of a run that has ended was not kept."""
        policy, everybody = self._policies.get(run, {}), self._spending.everybody
        sums = {("epsilon", name): self._spending.of(name, everybody) for name in self._spending.attributes}
        sums["total_epsilon", "all attributes"] = self._spending.over_attributes(everybody)
        for (key, name), (mu2, more, lost) in sums.items():
            limit = policy.get(key)
            if limit is None:
                continue
            states = distinct([mu2, more, lost])[0].tolist()
            most = max((mixed_epsilon(math.sqrt(m), e, d, policy["delta"]) for m, e, d in states), default=0.0)
            if most > limit * (1 + TOLERANCE):
                yield f"after {run}: {name} of somebody is at epsilon {most:.4g}, and its policy's {key} is {limit:g}"
