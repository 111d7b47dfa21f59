"""Counts, the adversary's step and the comparison of many records, by this engine, CrypTen and, where it can, MPyC."""

from __future__ import annotations

import importlib.util
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from typing import Any

from secure_fair.bench.audits import cost_of_mpyc
from secure_fair.bench.cases import QUERY, STRATA
from secure_fair.bench.measure import MODES, measure

WIDTH = 32  # features of a record of the adversary
NUMBERS = {"counts": STRATA, "moment": QUERY, "adversary": WIDTH, "comparison": 1}  # of a record
MOST_NUMBERS = 1 << 22
"""Numbers that go in: CrypTen's adversary has some twenty copies of them at 8 bytes, at each of two parties."""
MPYC_ROWS = 100_000
MPYC = "MPyC, 3 parties"
GROUPS = 2
REPEAT = 5  # times are medians of so many


@dataclass(frozen=True)
class SizeRow:
    """One operation on so many ``rows`` by one engine; rounds None where they are not counted."""

    operation: str
    rows: int
    engine: str
    rounds: float | None
    bytes: float
    milliseconds: float

    def tree(self) -> dict[str, Any]:
        """The row for JSON."""
        return asdict(self)


def measure_sizes(rows: Sequence[int], follow: Callable[[str], None]) -> list[SizeRow]:
    """Each operation on each number of rows, as far as memory allows; ``follow`` hears what is measured."""
    found = []
    for count in rows:
        follow(f"counts, a moment, the adversary and comparisons of {count:,} records")
        names = [name for name, numbers in NUMBERS.items() if count * numbers <= MOST_NUMBERS]
        measured = measure(2, count, WIDTH, REPEAT, names=names) if names else []
        found += [
            SizeRow(row.operation, count, MODES[row.mode], row.rounds, row.bytes, row.milliseconds)
            for row in measured
            if row.mode != "first"
        ]
        if has_mpyc() and count <= MPYC_ROWS:
            found += [_by_mpyc("counts", count), _by_mpyc("moment", count)]
    return sorted(found, key=lambda row: (list(NUMBERS).index(row.operation), row.rows))


def has_mpyc() -> bool:
    """Whether MPyC is installed here."""
    return importlib.util.find_spec("mpyc") is not None


def _by_mpyc(operation: str, rows: int) -> SizeRow:
    """By three parties with Shamir's shares, of the same columns."""
    cost = cost_of_mpyc(rows, GROUPS, NUMBERS[operation], operation)
    return SizeRow(operation, rows, MPYC, None, cost["by_all"], 1000 * cost["seconds"])
