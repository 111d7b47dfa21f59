"""The words and the price of one release, as both sides write them down."""

from __future__ import annotations

import math
from dataclasses import dataclass


@dataclass(frozen=True)
class Receipt:
    """An entry about one release, alike on both sides; all of it is public between them.

    ``number`` counts the releases of one auditor in one run. ``records`` is the hash of the set of records
    (``records_hash``). ``sigma`` is in units of the opened value: None for an exact release, 0 for one that needs no
    noise. ``of``: the intersection that was asked for, where it was not ``attribute`` alone; older entries have none.
    """

    run: str
    number: int
    auditor: str
    operation: str
    attribute: str
    records: str
    count: int
    shape: tuple[int, ...]
    sigma: float | None
    of: str = ""


@dataclass(frozen=True)
class Charge:
    """The price of one release to each record in it: ``mu2`` of Gaussian DP (infinite when exact), (epsilon, delta)."""

    mu2: float = 0.0
    epsilon: float = 0.0
    delta: float = 0.0

    @property
    def exact(self) -> bool:
        return math.isinf(self.mu2) or math.isinf(self.epsilon)

    def __add__(self, other: Charge) -> Charge:
        return Charge(self.mu2 + other.mu2, self.epsilon + other.epsilon, self.delta + other.delta)
