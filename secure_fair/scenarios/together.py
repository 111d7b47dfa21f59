"""The privacy of a run and the methods that it compares together: they tell the developer about the same people."""

from __future__ import annotations

import json
import math
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from secure_fair.ids import Ids
from secure_fair.privacy.accounting import mixed_epsilon
from secure_fair.privacy.entries import Charge, is_training, paying
from secure_fair.privacy.gate import records_account
from secure_fair.privacy.spending import Spending
from secure_fair.privacy.tallies import distinct

Entry = dict[str, Any]


def entries_of(ledgers: Iterable[Path]) -> list[Entry]:
    """The entries of these extracts of ledgers."""
    return [json.loads(line) for file in ledgers for line in file.read_text().splitlines()]


def spent_together(folders: Sequence[Path], alone: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """The charges of all methods, added up per record: by attribute, and of every auditor's own records.

    ``folders``: the methods' own, each with its auditors' extracts, which are about the same people under the same ids;
    ``alone``: what their summaries say of each method's privacy. Attributes that several auditors hold have the account
    of the record that has spent most.
    """
    stated = [(name, account) for privacy in alone for name, account in privacy["attributes"].items()]
    deltas = {name: account["delta"] for name, account in stated}
    adjacencies = {name: account["adjacency"] for name, account in stated}
    releases: dict[str, int] = {}
    together: dict[str, Any] = {"attributes": {}, "records": {}}
    for auditor in sorted({path.parent.name for folder in folders for path in folder.glob("auditor-*/ledger.jsonl")}):
        ledgers = [folder / auditor / "ledger.jsonl" for folder in folders]
        planned = [entry for entry in entries_of(ledgers) if entry["kind"] == "planned"]
        people = PlannedPeople(planned)
        for attribute in sorted({entry["attribute"] for entry in planned if not is_training(entry)}):
            epsilon, before = people.epsilon(attribute, deltas[attribute]), together["attributes"].get(attribute, {})
            releases[attribute] = max(releases.get(attribute, 0), people.releases(attribute))
            together["attributes"][attribute] = {
                "epsilon": _worse(epsilon, before),
                "exact": _worse(epsilon, before) is None,
                "delta": deltas[attribute],
                "releases": releases[attribute],
                "adjacency": adjacencies[attribute],
            }
        trained = sorted({entry["attribute"] for entry in planned if is_training(entry)})
        if trained:
            account = records_account(people.trained(), trained)
            together["records"][auditor.removeprefix("auditor-")] = {", ".join(trained): account}
    return together


def _worse(epsilon: float, before: Mapping[str, Any]) -> float | None:
    """The larger epsilon of this one and that of an account; None where either is of exact releases."""
    if math.isinf(epsilon) or before.get("exact"):
        return None
    return max(epsilon, before.get("epsilon", 0.0))


class PlannedPeople:
    """The spending of one auditor's people in several runs, from planned entries alone."""

    def __init__(self, planned: Sequence[Entry]) -> None:
        """Take people by their table and place in it, for extracts have no ids; the same ids have one table's name."""
        self._planned = planned
        self._sizes: dict[str, int] = {}
        for entry in planned:
            places = paying(entry, None).places
            self._sizes[entry["table"]] = max(self._sizes.get(entry["table"], 0), int(places.max(initial=-1)) + 1)
        self._spending = Spending(planned, self._places)

    def epsilon(self, attribute: str, delta: float) -> float:
        """The epsilon, at ``delta``, of releases of the attribute to the person who has spent most; inf where exact."""
        states = distinct(self._spending.released(attribute, self._everybody))[0].tolist()
        return max((mixed_epsilon(math.sqrt(mu2), more, lost, delta) for mu2, more, lost in states), default=0.0)

    def trained(self) -> Charge:
        """The charge of all trainings on the record that was in most."""
        mu2, epsilon, delta = self._spending.trained(self._everybody)
        return Charge(float(mu2.max(initial=0.0)), float(epsilon.max(initial=0.0)), float(delta.max(initial=0.0)))

    def releases(self, attribute: str) -> int:
        """The number of releases of the attribute."""
        return sum(entry["attribute"] == attribute and not is_training(entry) for entry in self._planned)

    @property
    def _everybody(self) -> np.ndarray:
        return np.unique(np.concatenate([self._spending.rows_of_table(name) for name in self._sizes]))

    def _places(self, table: str) -> Ids:
        return np.strings.add(f"{table} ".encode(), np.arange(self._sizes[table]).astype("S8"))
