"""A run's tally at one gate: what it has released and spent so far, also in an earlier process that was interrupted."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from secure_fair.errors import UsageError
from secure_fair.privacy.ledger import Ledger, charge_of, members
from secure_fair.privacy.plan import Plan
from secure_fair.privacy.receipt import Charge
from secure_fair.privacy.rules import Rules


class Tally:
    """Sums over one run. ``held``: bool (n,), which of the enrolled records are this auditor's and pay here."""

    def __init__(self, plans: Mapping[str, Plan], rules: Rules, held: np.ndarray) -> None:
        self._plans = plans
        self._rules = rules
        self._held = held
        self._pools: dict[tuple[str, bool], np.ndarray] = {}
        self._responses: dict[str, np.ndarray] = {}
        self._evaluations: dict[str, np.ndarray] = {}
        self.releases: dict[str, int] = dict.fromkeys(plans, 0)
        self.paid: set[tuple[str, str]] = set()  # attribute and operation of everything accounted
        self.answered: set[str] = set()
        self.trained: dict[str, Charge] = {}  # by attribute: of trainings on the auditor's own records
        self.adapters: dict[tuple[str, str], Charge] = {}  # by attribute and digest: paid for in any run

    def pool(self, attribute: str, evaluation: bool) -> np.ndarray:
        """The mu^2 of each record in training or evaluation, float64 (n,)."""
        return self._pools.setdefault((attribute, evaluation), np.zeros(len(self._held)))

    def responses(self, attribute: str) -> np.ndarray:
        """The epsilon of each record's randomised response, float64 (n,)."""
        return self._responses.setdefault(attribute, np.zeros(len(self._held)))

    def evaluated(self, attribute: str) -> np.ndarray:
        """How often each record was in an opened evaluation, int64 (n,)."""
        return self._evaluations.setdefault(attribute, np.zeros(len(self._held), dtype=np.int64))

    def note(self, operation: str, attribute: str, records: np.ndarray, charge: Charge) -> None:
        """Add a release that is planned; it is spent, opened or not."""
        self.releases[attribute] = self.releases.get(attribute, 0) + 1
        self.paid.add((attribute, operation))
        records = records[self._held[records]]
        if charge.mu2:
            self.pool(attribute, self._plans[attribute].is_evaluation(operation))[records] += charge.mu2
        if self._rules[operation].responds_at_random:
            self.responses(attribute)[records] = charge.epsilon

    def note_training(self, operation: str, attribute: str, charge: Charge, adapter: str) -> None:
        """Add a training on the auditor's own records."""
        self.paid.add((attribute, operation))
        self.trained[attribute] = self.trained.get(attribute, Charge()) + charge
        if adapter:
            self.adapters[attribute, adapter] = charge

    def note_opened(self, operation: str, attribute: str, records: np.ndarray, query: str) -> None:
        """Remember which questions are answered; an interrupted one may be asked, and paid for, again."""
        if query:
            self.answered.add(query)
        if self._plans[attribute].is_evaluation(operation):
            self.evaluated(attribute)[records] += 1

    def replay(self, ledger: Ledger, run: str, table: str) -> None:
        """Take in what earlier processes have written down: of this run everything, of others the paid adapters.

        UsageError where the run was begun with another table of records.
        """
        for entry in ledger.entries():
            if entry["kind"] == "planned" and not entry["shape"] and entry["query"]:
                self.adapters[entry["attribute"], entry["query"]] = charge_of(entry)
        opened = {entry["number"] for entry in ledger.entries(run) if entry["kind"] == "opened"}
        for entry in ledger.entries(run):
            if entry["kind"] != "planned" or entry["attribute"] not in self._plans:
                continue
            if not entry["shape"]:
                self.note_training(entry["operation"], entry["attribute"], charge_of(entry), entry["query"])
                continue
            if entry["table"] != table:
                raise UsageError(f"run {run} was begun with another table of records; resume with the same one")
            records = members(entry, len(self._held))
            self.note(entry["operation"], entry["attribute"], records, charge_of(entry))
            if entry["number"] in opened:
                self.note_opened(entry["operation"], entry["attribute"], records, entry["query"])
