"""Progress of long work, told while it goes on."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Protocol


class Progress(Protocol):
    """Where a party or the launcher says how far it is. No value that a party may not know goes through here."""

    def stage(self, name: str) -> None:
        """A new phase of the run begins."""

    def progress(self, name: str, done: int, total: int) -> None:
        """``done`` of ``total`` units of a piece of work are done; the time left is estimated from the rate."""

    def epoch(
        self,
        method: str,
        epoch: int,
        epochs: int,
        loss: float,
        accuracy: float,
        gaps: Mapping[str, float | None],
        seconds: float,
    ) -> None:
        """One epoch ended: mean loss, accuracy, and per attribute the gap as far as the developer knows it."""

    def outlook(self, lines: Sequence[str], facts: Mapping[str, Any]) -> None:
        """An auditor's releases to come and those of the past, in words and as values."""

    def done(self, text: str, facts: Mapping[str, Any]) -> None:
        """The party's part is over: what came of it and where its files are, in words and as values."""

    def warn(self, text: str) -> None:
        """Something the user must see; the run goes on."""
