"""The spending of every person on every attribute, in all runs of one auditor: its ledger, added up."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from secure_fair.privacy.receipt import Charge


class Spending:
    """Totals by attribute, a row a person; a person gets a row when it is first met."""

    def __init__(self) -> None:
        self._people: dict[str, int] = {}
        self._totals: dict[str, np.ndarray] = {}  # by attribute: mu^2, epsilon and delta (3, people)
        self._responded: dict[str, set[int]] = {}

    def rows(self, ids: Sequence[str]) -> np.ndarray:
        """The rows of people, new ones added: int64 (n,)."""
        return np.array([self._people.setdefault(name, len(self._people)) for name in ids], dtype=np.int64)

    def add(self, attribute: str, rows: np.ndarray, charge: Charge) -> None:
        """Charge people, none of them twice in ``rows``."""
        totals = self._held(attribute)
        for place, cost in enumerate((charge.mu2, charge.epsilon, charge.delta)):
            totals[place, rows] += cost

    def respond(self, attribute: str, rows: np.ndarray) -> None:
        """Note who has given a randomised response on the attribute: they never pay for it again."""
        self._responded.setdefault(attribute, set()).update(rows.tolist())

    def responded(self, attribute: str, rows: np.ndarray) -> np.ndarray:
        """Whether each has paid for a randomised response on the attribute already, in any run: bool (n,)."""
        paid = self._responded.get(attribute, set())
        return np.fromiter((row in paid for row in rows.tolist()), dtype=bool, count=len(rows))

    def of(self, attribute: str, rows: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """The people's totals on one attribute: mu^2, added epsilon, added delta, float64 (n,) each."""
        mu2, epsilon, delta = self._held(attribute)[:, rows]
        return mu2, epsilon, delta

    def over_attributes(self, rows: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """The people's totals on all their attributes together."""
        sums = np.zeros((3, len(rows)))
        for attribute in list(self._totals):
            sums += np.stack(self.of(attribute, rows))
        return sums[0], sums[1], sums[2]

    def _held(self, attribute: str) -> np.ndarray:
        held = self._totals.get(attribute, np.zeros((3, 0)))
        missing = len(self._people) - held.shape[1]
        if missing:
            held = self._totals[attribute] = np.concatenate([held, np.zeros((3, missing))], axis=1)
        return held
