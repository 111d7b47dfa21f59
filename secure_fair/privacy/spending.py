"""The spending of every person on every attribute, in all runs of one auditor: a ledger's entries, added up."""

from __future__ import annotations

from collections.abc import Callable, Hashable, Iterable, Sequence
from typing import Any, TypeVar

import numpy as np

from secure_fair.privacy.entries import Charge, charge_of, is_training, paying

_Key = TypeVar("_Key", bound=Hashable)


class Spending:
    """Sums by person and attribute. People have rows, in the order in which they were first met.

    What is trained on a person's record, picture and all, is told apart: its adjacency is adding or removing the record
    with every attribute, so trainings add up whichever attribute they were for, and count for each attribute.
    """

    def __init__(self, entries: Iterable[dict[str, Any]], ids_of: Callable[[str], Sequence[str]]) -> None:
        """Add up a ledger's entries; ``ids_of`` gives the ids of an enrolled table by its name."""
        self._ids_of = ids_of
        self._people: dict[str, int] = {}
        self._tables: dict[str, np.ndarray] = {}
        self._totals: dict[str, np.ndarray] = {}  # by attribute: mu^2, epsilon and delta, float64 (3, people)
        self._trained: dict[None, np.ndarray] = {}  # by trainings on records: the same three, over all attributes
        self._charged: dict[tuple[str, str], np.ndarray] = {}  # by attribute and operation: bool (1, people)
        for entry in entries:
            if entry["kind"] == "planned":
                self.add_entry(entry)

    def add_entry(self, entry: dict[str, Any]) -> None:
        """Charge the people of a planned entry."""
        rows, charge = self.rows_of_table(entry["table"]), charge_of(entry)
        paid = rows[paying(entry, len(rows))]
        self.add(entry["attribute"], entry["operation"], paid, charge, training=is_training(entry))

    def rows_of_table(self, name: str) -> np.ndarray:
        """The rows of the people of an enrolled table, in its order."""
        if name not in self._tables:
            self._tables[name] = self.rows(self._ids_of(name))
        return self._tables[name]

    def rows(self, ids: Sequence[str]) -> np.ndarray:
        """The rows of people, new ones added: int64 (n,)."""
        return np.array([self._people.setdefault(name, len(self._people)) for name in ids], dtype=np.int64)

    def add(self, attribute: str, operation: str, rows: np.ndarray, charge: Charge, *, training: bool = False) -> None:
        """Charge people, none of them twice in ``rows``, for a release or for a ``training`` on their records."""
        self._grown(self._charged, (attribute, operation), np.zeros((1, 0), dtype=bool))[0, rows] = True
        cost = np.array([charge.mu2, charge.epsilon, charge.delta])
        if training:
            self._grown(self._trained, None, np.zeros((3, 0)))[:, rows] += cost[:, None]
        else:
            self._grown(self._totals, attribute, np.zeros((3, 0)))[:, rows] += cost[:, None]

    def charged(self, attribute: str, operation: str, rows: np.ndarray) -> np.ndarray:
        """True for who was charged for this operation on the attribute already, in any run: bool (n,)."""
        return self._grown(self._charged, (attribute, operation), np.zeros((1, 0), dtype=bool))[0, rows]

    def of(self, attribute: str, rows: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """The sums of people on one attribute, with all trainings on their records: mu^2, added epsilon, added delta,
        float64 (n,) each."""
        mu2, epsilon, delta = self.released(attribute, rows) + self.trained(rows)
        return mu2, epsilon, delta

    def over_attributes(self, rows: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """The sums of people on all their attributes together."""
        sums = self.trained(rows)
        for attribute in list(self._totals):
            sums = sums + self.released(attribute, rows)
        return sums[0], sums[1], sums[2]

    def released(self, attribute: str, rows: np.ndarray) -> np.ndarray:
        """The sums of releases of one attribute alone, float64 (3, n)."""
        return self._grown(self._totals, attribute, np.zeros((3, 0)))[:, rows]

    def trained(self, rows: np.ndarray) -> np.ndarray:
        """The sums of all trainings on people's records, float64 (3, n)."""
        return self._grown(self._trained, None, np.zeros((3, 0)))[:, rows]

    def _grown(self, store: dict[_Key, np.ndarray], key: _Key, empty: np.ndarray) -> np.ndarray:
        """One array of a store, with a column for every person that was met since."""
        held = store.get(key, empty)
        missing = len(self._people) - held.shape[1]
        if missing or key not in store:
            store[key] = held = np.pad(held, ((0, 0), (0, missing)))
        return held
