"""The rows of a comparison: as CSV, with the setting that each method would choose, and which lie on the front."""

from __future__ import annotations

import csv
import io
import math
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass, fields

from secure_fair.bench.peers.parts import Score


@dataclass(frozen=True)
class PeerRow:
    """One method at one setting and seed.

    ``epsilon`` and ``mu`` of the attribute's releases: None where the method has the attributes in the clear, infinite
    where releases are exact. ``accuracy`` and ``gap`` are of the validation records with their attributes; ``told`` is
    the gap as the method's user knows it: the same where attributes are in the clear, else what the releases tell.
    """

    method: str
    setting: str
    seed: int
    epsilon: float | None
    mu: float | None
    attribute_given: bool
    accuracy: float
    gap: float
    told: float
    test: Score
    seconds: float

    @property
    def group(self) -> tuple[str, str]:
        """Method and setting: rows of several seeds that belong together."""
        return self.method, self.setting


SCORES = tuple(field.name for field in fields(Score))
COLUMNS = (
    *("method", "setting", "seed", "epsilon", "mu", "attribute_at_prediction", "chosen", "chosen_blindly", *SCORES),
    *("seconds", "validation_accuracy", "validation_gap", "told_gap"),
)


def chosen(rows: Iterable[PeerRow], target: float, *, blindly: bool = False) -> list[PeerRow]:
    """For each method and seed the setting of the highest accuracy on validation records whose gap there is ``target``
    at most, else the one of the least gap; ``blindly``: by the gap that the method's user is told. Nothing of test
    records enters."""

    def gap(row: PeerRow) -> float:
        return row.told if blindly else row.gap

    runs: dict[tuple[str, int], list[PeerRow]] = {}
    for row in rows:
        runs.setdefault((row.method, row.seed), []).append(row)
    found = []
    for settings in runs.values():
        within = [row for row in settings if gap(row) <= target]
        found.append(max(within, key=lambda row: row.accuracy) if within else min(settings, key=gap))
    return found


def front(points: Sequence[tuple[float, float]]) -> list[bool]:
    """Whether no other point (accuracy, gap) is at least as good in both and better in one."""
    return [
        not any(a >= accuracy and g <= gap and (a, g) != (accuracy, gap) for a, g in points) for accuracy, gap in points
    ]


def to_csv(rows: Sequence[PeerRow], target: float) -> str:
    """All rows as CSV, in their order."""
    text = io.StringIO(newline="")
    writer = csv.DictWriter(text, COLUMNS, lineterminator="\n")
    writer.writeheader()
    taken, blindly = (
        {(*row.group, row.seed) for row in chosen(rows, target, blindly=blindly)} for blindly in (False, True)
    )
    for row in rows:
        writer.writerow(
            {
                "method": row.method,
                "setting": row.setting,
                "seed": row.seed,
                "epsilon": _protection(row.epsilon),
                "mu": _protection(row.mu),
                "attribute_at_prediction": _yes(row.attribute_given),
                "chosen": _yes((*row.group, row.seed) in taken),
                "chosen_blindly": _yes((*row.group, row.seed) in blindly),
                **{name: _four(value) for name, value in asdict(row.test).items()},
                "seconds": f"{row.seconds:.2f}",
                "validation_accuracy": _four(row.accuracy),
                "validation_gap": _four(row.gap),
                "told_gap": _four(row.told),
            }
        )
    return text.getvalue()


def _yes(value: bool) -> str:
    return "yes" if value else "no"


def _protection(value: float | None) -> str:
    """Empty for attributes in the clear, "inf" for exact releases."""
    return "" if value is None else f"{value:.4g}"


def _four(value: float) -> str:
    return "" if math.isnan(value) else f"{value:.4f}"
