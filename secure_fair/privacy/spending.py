"""The spending of every person on every attribute, in all runs of one auditor: a ledger's entries, added up."""

from __future__ import annotations

from collections.abc import Callable, Hashable, Iterable, Sequence
from typing import Any, TypeVar

import numpy as np

from secure_fair.errors import UsageError
from secure_fair.privacy.entries import charge_of, is_training, paying

_Key = TypeVar("_Key", bound=Hashable)


class Spending:
    """Sums by person and attribute. People have rows, in the order in which they were first met; a record that is
    enrolled without its person has one of its own.

    What is trained on a person's record, picture and all, is told apart: its adjacency is adding or removing the record
    with every attribute, so trainings add up whichever attribute they were for, and count for each attribute.
    """

    def __init__(
        self,
        entries: Iterable[dict[str, Any]],
        ids_of: Callable[[str], Sequence[str]],
        persons_of: Callable[[str], Sequence[str | None]] = lambda name: [],
    ) -> None:
        """Add up a ledger's entries; ``ids_of`` gives the ids of an enrolled table by its name, ``persons_of`` those
        whose records they are by the name of that list."""
        self._ids_of = ids_of
        self._people: dict[str, int] = {}  # by person, or by record without one
        self._person_of: dict[str, str] = {}  # by record
        self._tables: dict[str, np.ndarray] = {}
        self._totals: dict[str, np.ndarray] = {}  # by attribute: mu^2, epsilon and delta, float64 (3, people)
        self._trained: dict[None, np.ndarray] = {}  # by trainings on records: the same three, over all attributes
        self._charged: dict[tuple[str, str], np.ndarray] = {}  # by attribute and operation: bool (1, people)
        for entry in entries:
            if entry["kind"] == "planned":
                self.add_entry(entry)
            elif entry["kind"] == "table":
                persons = persons_of(entry["persons"]) if "persons" in entry else None
                self.enrol(ids_of(entry["table"]), persons)

    @property
    def attributes(self) -> list[str]:
        """The attributes that anything was spent on."""
        return sorted({attribute for attribute, _ in self._charged})

    @property
    def everybody(self) -> np.ndarray:
        """The rows of all who were ever met, int64."""
        return np.arange(len(self._people))

    def add_entry(self, entry: dict[str, Any]) -> None:
        """Charge the people of a planned entry."""
        rows, training = self.rows_of_table(entry["table"]), is_training(entry)
        paid = paying(entry, len(rows))
        cost = charge_of(entry).times(paid.times)
        self.add(entry["attribute"], entry["operation"], rows[paid.places], cost, training=training)

    def rows_of_table(self, name: str) -> np.ndarray:
        """The rows of the people of an enrolled table, in its order."""
        if name not in self._tables:
            self._tables[name] = self.rows(self._ids_of(name))
        return self._tables[name]

    def enrol(self, ids: Sequence[str], persons: Sequence[str | None] | None = None) -> np.ndarray:
        """The rows of those whose records these are, new ones added: int64 (n,).

        UsageError where a record was enrolled as another's: a person's budget would begin anew.
        """
        for name, person in zip(ids, persons or [None] * len(ids), strict=True):
            key = _key(name, person)
            if self._person_of.setdefault(name, key) != key:
                before = "by itself" if self._person_of[name] == name else "as another person's"
                raise UsageError(
                    f"record {name[:8]}... was enrolled {before} in an earlier run of this state: its budget would "
                    "begin anew; prepare the stores with the same column of persons and the same join key as then"
                )
        return self.rows(ids)

    def rows(self, ids: Sequence[str]) -> np.ndarray:
        """The rows of those whose records these are, int64 (n,); a record that was never enrolled gets one."""
        return np.array([self._people.setdefault(name, len(self._people)) for name in self.names(ids)], dtype=np.int64)

    def names(self, ids: Sequence[str]) -> list[str]:
        """The names of those whose records these are: a record's own where nobody else's was ever told."""
        return [self._person_of.get(name, name) for name in ids]

    def add(
        self, attribute: str, operation: str, rows: np.ndarray, cost: np.ndarray, *, training: bool = False
    ) -> None:
        """Charge people, none of them twice in ``rows``, for a release or for a ``training`` on their records.

        ``cost``: of each, mu^2, epsilon and delta, float64 (3, n).
        """
        self._grown(self._charged, (attribute, operation), np.zeros((1, 0), dtype=bool))[0, rows] = True
        if training:
            self._grown(self._trained, None, np.zeros((3, 0)))[:, rows] += cost
        else:
            self._grown(self._totals, attribute, np.zeros((3, 0)))[:, rows] += cost

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


def _key(record: str, person: str | None) -> str:
    """The name under which a record's spending is kept."""
    return record if person is None else f"person {person}"
