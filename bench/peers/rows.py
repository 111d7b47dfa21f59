"""The rows of a comparison: as CSV, with the setting that each method would choose, and which lie on the front."""

from __future__ import annotations

import csv
import io
import math
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass, fields

from bench.peers.parts import Score


@dataclass(frozen=True)
class Row:
    """One method at one setting and seed.

    ``epsilon`` and ``mu`` of the attribute's releases: None where the method has the attributes in the clear, infinite
    where releases are exact. ``known_accuracy`` and ``known_gap``: by which the method's user can choose a setting,
    for peers those of the validation records, for ours what their releases tell of the gap.
    """

    method: str
    setting: str
    seed: int
    epsilon: float | None
    mu: float | None
    attribute_given: bool
    known_accuracy: float
    known_gap: float
    test: Score
    seconds: float

    @property
    def group(self) -> tuple[str, str]:
        """Method and setting: rows of several seeds that belong together."""
        return self.method, self.setting


SCORES = tuple(field.name for field in fields(Score))
COLUMNS = (
    *("method", "setting", "seed", "epsilon", "mu", "attribute_at_prediction", "chosen", *SCORES),
    *("seconds", "known_accuracy", "known_gap"),
)


def chosen(rows: Iterable[Row], target: float) -> list[Row]:
    """For each method and seed the most accurate setting whose gap is known to be ``target`` at most, else the one of
    the least gap. Nothing of test records enters."""
    runs: dict[tuple[str, int], list[Row]] = {}
    for row in rows:
        runs.setdefault((row.method, row.seed), []).append(row)
    found = []
    for settings in runs.values():
        within = [row for row in settings if row.known_gap <= target]
        if within:
            found.append(max(within, key=lambda row: row.known_accuracy))
        else:
            found.append(min(settings, key=lambda row: row.known_gap))
    return found


def front(points: Sequence[tuple[float, float]]) -> list[bool]:
    """Whether no other point (accuracy, gap) is at least as good in both and better in one."""
    return [
        not any(a >= accuracy and g <= gap and (a, g) != (accuracy, gap) for a, g in points) for accuracy, gap in points
    ]


def to_csv(rows: Sequence[Row], target: float) -> str:
    """All rows as CSV, in their order."""
    text = io.StringIO(newline="")
    writer = csv.DictWriter(text, COLUMNS, lineterminator="\n")
    writer.writeheader()
    taken = {(*row.group, row.seed) for row in chosen(rows, target)}
    for row in rows:
        writer.writerow(
            {
                "method": row.method,
                "setting": row.setting,
                "seed": row.seed,
                "epsilon": _protection(row.epsilon),
                "mu": _protection(row.mu),
                "attribute_at_prediction": "yes" if row.attribute_given else "no",
                "chosen": "yes" if (*row.group, row.seed) in taken else "no",
                **{name: _four(value) for name, value in asdict(row.test).items()},
                "seconds": f"{row.seconds:.2f}",
                "known_accuracy": _four(row.known_accuracy),
                "known_gap": _four(row.known_gap),
            }
        )
    return text.getvalue()


def _protection(value: float | None) -> str:
    """Empty for attributes in the clear, "inf" for exact releases."""
    return "" if value is None else f"{value:.4g}"


def _four(value: float) -> str:
    return "" if math.isnan(value) else f"{value:.4f}"
