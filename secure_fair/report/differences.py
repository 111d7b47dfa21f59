"""Changes that a method makes to empirical risk minimisation, paired by task and seed, with confidence intervals."""

from __future__ import annotations

import math
import statistics
from collections.abc import Sequence
from dataclasses import dataclass

from scipy import stats

from secure_fair.report.columns import GAPS, SHORT, RunRow, method_label
from secure_fair.report.tables import Table

LEVEL = 0.95
BASELINE = "erm"
SHOWN = ("accuracy", "balanced_accuracy", GAPS[0], GAPS[1], GAPS[3])


@dataclass(frozen=True)
class Interval:
    """Mean of paired differences and the bounds of its t interval at ``LEVEL``; no bounds for a single pair."""

    mean: float
    low: float
    high: float

    @classmethod
    def of(cls, values: Sequence[float]) -> Interval | None:
        """The interval of these values; None where there are none."""
        if not values:
            return None
        mean = statistics.fmean(values)
        if len(values) == 1:
            return cls(mean, -math.inf, math.inf)
        half = stats.t.ppf((1 + LEVEL) / 2, len(values) - 1) * statistics.stdev(values) / math.sqrt(len(values))
        return cls(mean, mean - half, mean + half)

    def __str__(self) -> str:
        if math.isinf(self.low):
            return f"{self.mean:+.3f}"
        return f"{self.mean:+.3f} [{self.low:+.3f}, {self.high:+.3f}]"


def differences(rows: Sequence[RunRow]) -> Table | None:
    """One line per method, strength and epsilon: all tasks and seeds that the baseline was run with, too.

    The interval is that of the mean over these pairs; tasks differ, so it says how sure the mean over such tasks is.
    "tasks" counts those where the gap fell, and rose, beyond the interval over that task's seeds alone. None without a
    baseline, or without anything beside it.
    """
    baselines = {_pair(row): row for row in rows if row["method"] == BASELINE}
    together: dict[tuple[str, str, str], list[RunRow]] = {}
    for row in rows:
        if row["method"] != BASELINE and _pair(row) in baselines:
            together.setdefault((method_label(row), row["strength"], row["asked_epsilon"]), []).append(row)
    if not together:
        return None
    changes = (f"Δ {SHORT[name]}" for name in SHOWN)
    header = ("method", "strength", "epsilon", "pairs", *changes, "tasks: DP fell / rose")
    lines = []
    methods = list(dict.fromkeys(label for label, _, _ in together))
    order = sorted(together, key=lambda key: (methods.index(key[0]), float(key[1] or 0), float(key[2] or 0)))
    for label, strength, epsilon in order:
        alike = together[label, strength, epsilon]
        asked = "exact" if epsilon == "inf" else epsilon
        cells = [label, strength, asked, str(len(alike))]
        cells += [str(Interval.of(_changes(alike, baselines, name)) or "-") for name in SHOWN]
        lines.append((*cells, _tasks(alike, baselines)))
    return Table(header, tuple(lines))


def _pair(row: RunRow) -> tuple[str, ...]:
    return tuple(row[name] for name in ("scenario", "attribute", "seed", "epochs"))


def _changes(rows: Sequence[RunRow], baselines: dict[tuple[str, ...], RunRow], name: str) -> list[float]:
    """Differences of the metric from the baseline's, of every pair that has both."""
    pairs = [(row[name], baselines[_pair(row)][name]) for row in rows]
    return [float(value) - float(baseline) for value, baseline in pairs if value and baseline]


def _tasks(rows: Sequence[RunRow], baselines: dict[tuple[str, ...], RunRow]) -> str:
    """Count the tasks on which the demographic-parity gap fell and rose for sure."""
    fell = rose = 0
    tasks = {(row["scenario"], row["attribute"]) for row in rows}
    for task in tasks:
        alike = [row for row in rows if (row["scenario"], row["attribute"]) == task]
        interval = Interval.of(_changes(alike, baselines, GAPS[0]))
        fell += interval is not None and interval.high < 0
        rose += interval is not None and interval.low > 0
    return f"{fell} / {rose} of {len(tasks)}"
