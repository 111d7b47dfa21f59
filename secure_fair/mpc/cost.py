"""The cost of every operation: rounds, bytes, seconds, online and at the dealer."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, fields, replace


@dataclass(frozen=True)
class OperationCost:
    """Sums over all calls, as this party sees them. ``seconds`` is wall time, waiting for peers and dealer included.

    ``bytes_sent`` and ``bytes_received`` are online, between compute parties; what goes to and from the dealer has its
    own counts, and ``dealer_seconds`` of the ``seconds`` were spent waiting for it.
    """

    calls: int = 0
    rounds: int = 0
    bytes_sent: int = 0
    bytes_received: int = 0
    seconds: float = 0.0
    dealer_messages: int = 0
    dealer_bytes_sent: int = 0
    dealer_bytes_received: int = 0
    dealer_seconds: float = 0.0

    def __add__(self, other: OperationCost) -> OperationCost:
        return OperationCost(**{f.name: getattr(self, f.name) + getattr(other, f.name) for f in fields(self)})

    def __sub__(self, other: OperationCost) -> OperationCost:
        return OperationCost(**{f.name: getattr(self, f.name) - getattr(other, f.name) for f in fields(self)})


class Meter:
    """Cost per operation. An operation inside another is part of the outer one.

    What goes to and from the dealer between two operations was asked for ahead, and is counted towards the first.
    """

    def __init__(self, read: Callable[[], OperationCost]) -> None:
        """``read`` returns the running totals."""
        self._read = read
        self._costs: dict[str, OperationCost] = {}
        self._depth = 0
        self._last: tuple[str, OperationCost] | None = None  # operation that ended last, and the totals then

    @contextmanager
    def operation(self, name: str) -> Iterator[None]:
        """Counts everything until the block ends, also by an error, towards ``name``."""
        if self._depth:
            yield
            return
        self._settle()
        before = self._read()
        self._depth += 1
        try:
            yield
        finally:
            self._depth -= 1
            after = self._read()
            self._costs[name] = self._costs.get(name, OperationCost()) + replace(after - before, calls=1)
            self._last = (name, after)

    def summary(self) -> dict[str, OperationCost]:
        """Cost so far by operation, in the order of their first calls."""
        self._settle()
        return dict(self._costs)

    def _settle(self) -> None:
        """Count the dealer's traffic since the last operation; nobody has waited for it."""
        if self._last is None or self._depth:
            return
        name, then = self._last
        now = self._read()
        since = now - then
        self._costs[name] += OperationCost(
            dealer_messages=since.dealer_messages,
            dealer_bytes_sent=since.dealer_bytes_sent,
            dealer_bytes_received=since.dealer_bytes_received,
        )
        self._last = (name, now)
