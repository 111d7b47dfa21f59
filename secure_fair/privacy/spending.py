"""The spending of every person on every attribute, in all runs of one auditor: a ledger's entries, added up."""

from __future__ import annotations

from collections.abc import Callable, Hashable, Iterable
from typing import Any, TypeVar

import numpy as np

from secure_fair.errors import UsageError
from secure_fair.ids import Ids, Names, Register, as_ids, as_text
from secure_fair.privacy.entries import charge_of, is_training, paying

_Key = TypeVar("_Key", bound=Hashable)
_UNTOLD, _ITSELF, _NO_ROW = -2, -1, -1


class Spending:
    """Sums by person and attribute. People have rows, in the order in which they were first met; a record that is
    enrolled without its person has one of its own.

    What is trained on a person's record, picture and all, is told apart: its adjacency is adding or removing the record
    with every attribute, so trainings add up whichever attribute they were for, and count for each attribute.
    """

    def __init__(
        self,
        entries: Iterable[dict[str, Any]],
        ids_of: Callable[[str], Names],
        persons_of: Callable[[str], Names] = lambda name: [],
    ) -> None:
        """Add up a ledger's entries; ``ids_of`` gives the ids of an enrolled table by its name, ``persons_of`` those
        whose records they are by the name of that list."""
        self._ids_of = ids_of
        self._count = 0  # people that have rows
        self._records, self._persons = Register(), Register()
        # by a record's number: its person's, or one of the two above; and the row that it has by itself
        self._whose, self._own = np.empty(0, dtype=np.int64), np.empty(0, dtype=np.int64)
        self._row_of = np.empty(0, dtype=np.int64)  # by a person's number
        self._tables: dict[str, np.ndarray] = {}
        self._totals: dict[str, np.ndarray] = {}  # by attribute: mu^2, epsilon and delta, float64 (3, people)
        self._trained: dict[None, np.ndarray] = {}  # by trainings on records: the same three, over all attributes
        self._charged: dict[tuple[str, str], np.ndarray] = {}  # by attribute and operation: bool (1, people)
        for entry in entries:
            if entry["kind"] == "planned":
                self.add_entry(entry)
            elif entry["kind"] == "table":
                persons = persons_of(entry["persons"]) if "persons" in entry else None
                self.note_table(entry["table"], self.enrol(ids_of(entry["table"]), persons))

    @property
    def attributes(self) -> list[str]:
        """The attributes that anything was spent on."""
        return sorted({attribute for attribute, _ in self._charged})

    @property
    def everybody(self) -> np.ndarray:
        """The rows of all who were ever met, int64."""
        return np.arange(self._count)

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

    def note_table(self, name: str, rows: np.ndarray) -> None:
        """Keep the rows of a table's people, as ``enrol`` gave them, under its name."""
        self._tables[name] = rows

    def enrol(self, ids: Names, persons: Names | None = None) -> np.ndarray:
        """The rows of those whose records these are, new ones added: int64 (n,).

        ``persons``: "" is nobody but the record itself. UsageError where a record was enrolled as another's: a person's
        budget would begin anew.
        """
        records = as_ids(ids)
        numbers, whose = self._numbers(records), self._persons_of(persons, len(records))
        before = self._whose[numbers]
        self._check_same(records, before, (before != _UNTOLD) & (before != whose))
        self._whose[numbers] = whose
        self._check_same(records, self._whose[numbers], self._whose[numbers] != whose)
        return self._rows_of(numbers)

    def rows(self, ids: Names) -> np.ndarray:
        """The rows of those whose records these are, int64 (n,); a record that was never enrolled gets one."""
        return self._rows_of(self._numbers(as_ids(ids)))

    def names(self, ids: Names) -> list[str]:
        """The names of those whose records these are: a record's own where nobody else's was ever told."""
        records, persons = as_ids(ids), as_text(self._persons.ids)
        whose = self._whose[self._numbers(records)].tolist()
        own = as_text(records)
        return [f"person {persons[person]}" if person >= 0 else own[place] for place, person in enumerate(whose)]

    def _persons_of(self, persons: Names | None, count: int) -> np.ndarray:
        """The numbers of persons, new ones added, int64 (n,); ``_ITSELF`` for none."""
        if persons is None:
            return np.full(count, _ITSELF, dtype=np.int64)
        named = as_ids(persons)
        if len(named) != count:
            raise ValueError(f"{count} records, {len(named)} persons: need one for each")
        whose = np.where(named == b"", _ITSELF, self._persons.add(named))
        self._row_of = _longer(self._row_of, len(self._persons), _NO_ROW)
        return whose

    def _numbers(self, ids: Ids) -> np.ndarray:
        """The numbers of records, new ones added."""
        numbers = self._records.add(ids)
        self._whose = _longer(self._whose, len(self._records), _UNTOLD)
        self._own = _longer(self._own, len(self._records), _NO_ROW)
        return numbers

    def _rows_of(self, numbers: np.ndarray) -> np.ndarray:
        """The rows of those whose records have these numbers; who has none gets one."""
        whose = self._whose[numbers]
        persons = whose >= 0
        rows = np.empty(len(numbers), dtype=np.int64)
        for table, chosen, keys in ((self._row_of, persons, whose), (self._own, ~persons, numbers)):
            wanted = keys[chosen]
            new = np.zeros(len(table), dtype=bool)
            new[wanted] = table[wanted] == _NO_ROW
            count = int(new.sum())
            table[new] = np.arange(self._count, self._count + count)
            self._count += count
            rows[chosen] = table[wanted]
        return rows

    def _check_same(self, ids: Ids, before: np.ndarray, wrong: np.ndarray) -> None:
        if wrong.any():
            place = int(np.argmax(wrong))
            how = "by itself" if before[place] == _ITSELF else "as another person's"
            raise UsageError(
                f"record {as_text(ids[place : place + 1])[0][:8]}... was enrolled {how} in an earlier run of this "
                "state: its budget would begin anew; prepare the stores with the same column of persons and the same "
                "join key as then"
            )

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
        """The sums of releases of one attribute alone, float64 (3, n); read-only where there was none."""
        if attribute not in self._totals:
            return np.broadcast_to(0.0, (3, len(rows)))
        return self._grown(self._totals, attribute, np.zeros((3, 0)))[:, rows]

    def trained(self, rows: np.ndarray) -> np.ndarray:
        """The sums of all trainings on people's records, float64 (3, n); read-only where there was none."""
        if not self._trained:
            return np.broadcast_to(0.0, (3, len(rows)))
        return self._grown(self._trained, None, np.zeros((3, 0)))[:, rows]

    def _grown(self, store: dict[_Key, np.ndarray], key: _Key, empty: np.ndarray) -> np.ndarray:
        """One array of a store, with a column for every person that was met since."""
        held = store.get(key, empty)
        missing = self._count - held.shape[1]
        if missing or key not in store:
            store[key] = held = np.pad(held, ((0, 0), (0, missing)))
        return held


def _longer(held: np.ndarray, length: int, filling: int) -> np.ndarray:
    """The array, filled up to this length."""
    return np.pad(held, (0, length - len(held)), constant_values=filling) if length > len(held) else held
