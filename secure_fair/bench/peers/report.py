"""The page of a comparison: the chosen settings, then every setting, as means over the seeds."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

from secure_fair.bench.peers.rows import PeerRow, chosen, front
from secure_fair.report.settings import Spread
from secure_fair.report.tables import Table

SCORES = {
    "accuracy": "accuracy",
    "balanced_accuracy": "balanced",
    "demographic_parity": "DPD",
    "equalized_odds": "EOD",
    "by_chance": "DPD by chance",
}
BLINDLY = (
    "(The same methods as a developer without attributes would set them: by the gap of mean predictions that the "
    "releases tell, which is not yet the gap of decisions.)"
)
HEADER = ("method", "epsilon", "needs attribute", "setting", *SCORES.values(), "seconds")


@dataclass(frozen=True)
class PeersReport:
    """All rows of a comparison, the gap that its settings are ``chosen`` for, and the versions that gave them."""

    rows: Sequence[PeerRow]
    target: float
    versions: Sequence[str]

    def text(self) -> str:
        """The chosen settings, for the terminal."""
        return "\n".join([self._chosen().text(), self._about(), "", self._blindly().text(), BLINDLY])

    def page(self) -> str:
        """Everything as Markdown."""
        return "\n\n".join(
            [
                f"Settings chosen for a gap of {self.target:g}:",
                self._chosen().markdown(),
                self._about(),
                self._blindly().markdown(),
                BLINDLY,
                "Every setting, the most accurate first:",
                self._all().markdown(),
                'Front, by accuracy and DPD: "all" where no other line is better, "no attribute" where none is '
                "that needs no attribute of those who are judged.",
                f"Versions: {', '.join(self.versions)}.",
                "",
            ]
        )

    def tree(self) -> dict[str, Any]:
        """A tree for ``--format json``."""
        found: dict[str, Any] = {"target_gap": self.target, "versions": list(self.versions)}
        for name, table in (("chosen", self._chosen()), ("chosen_blindly", self._blindly())):
            found[name] = [dict(zip(table.header, line, strict=True)) for line in table.rows]
        return found

    def _chosen(self) -> Table:
        """A line per method: its chosen rows of all seeds together."""
        groups = _grouped((row.method, row) for row in chosen(self.rows, self.target))
        return Table(HEADER, tuple(_line(rows) for rows in groups.values()))

    def _blindly(self) -> Table:
        """The same of those methods alone whose user has no attributes, by what releases tell."""
        rows = [row for row in self.rows if row.epsilon is not None]
        groups = _grouped((row.method, row) for row in chosen(rows, self.target, blindly=True))
        return Table(HEADER, tuple(_line(rows) for rows in groups.values()))

    def _all(self) -> Table:
        """A line per method and setting, and whether it lies on the front."""
        groups = sorted(_grouped((row.group, row) for row in self.rows).values(), key=lambda rows: -_mean(rows)[0])
        everybody = dict(zip((rows[0].group for rows in groups), front([_mean(rows) for rows in groups]), strict=True))
        blind = [rows for rows in groups if not rows[0].attribute_given]
        without = dict(zip((rows[0].group for rows in blind), front([_mean(rows) for rows in blind]), strict=True))
        lines = []
        for rows in groups:
            group = rows[0].group
            where = "all" if everybody[group] else "no attribute" if without.get(group) else "-"
            lines.append((*_line(rows), where))
        return Table((*HEADER, "front"), tuple(lines))

    def _about(self) -> str:
        return (
            "(DPD, EOD: gaps between groups on test records, mean ± standard deviation over the seeds. Of each method "
            f"the setting is taken that is most accurate on the validation records with a DPD there of "
            f"{self.target:g} at most. clear: attributes in the clear; exact: by exact releases.)"
        )


def _grouped(pairs: Iterable[tuple[Any, PeerRow]]) -> dict[Any, list[PeerRow]]:
    found: dict[Any, list[PeerRow]] = {}
    for key, row in pairs:
        found.setdefault(key, []).append(row)
    return found


def _mean(rows: Sequence[PeerRow]) -> tuple[float, float]:
    """Accuracy and gap."""
    count = len(rows)
    return sum(row.test.accuracy for row in rows) / count, sum(row.test.demographic_parity for row in rows) / count


def _line(rows: Sequence[PeerRow]) -> tuple[str, ...]:
    first = rows[0]
    protection = "clear" if first.epsilon is None else "exact" if math.isinf(first.epsilon) else f"{first.epsilon:.3g}"
    settings = ", ".join(dict.fromkeys(row.setting for row in rows))
    numbers = [str(Spread.of([getattr(row.test, name) for row in rows])) for name in SCORES]
    seconds = f"{sum(row.seconds for row in rows) / len(rows):.1f}"
    return (first.method, protection, "yes" if first.attribute_given else "no", settings, *numbers, seconds)
