"""Settings of a sweep: mean and spread of every metric over the runs that differ in the seed alone."""

from __future__ import annotations

import statistics
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from secure_fair.report.columns import FLOORS, METRICS, SETTING_COLUMNS, RunRow, method_label


@dataclass(frozen=True)
class Spread:
    """Mean and sample standard deviation over runs; the latter is None for a single run."""

    mean: float
    deviation: float | None

    @classmethod
    def of(cls, values: Sequence[float]) -> Spread | None:
        """The spread of these values; None where there are none."""
        if not values:
            return None
        return cls(statistics.fmean(values), statistics.stdev(values) if len(values) > 1 else None)

    def __str__(self) -> str:
        return f"{self.mean:.3f}" + ("" if self.deviation is None else f" ± {self.deviation:.3f}")


@dataclass(frozen=True)
class Setting:
    """All runs that differ in nothing but the seed, for one attribute. ``epsilon`` is the largest one reported.

    ``metrics`` are of all runs, with the gaps by chance; ``working`` are of those that did not collapse.
    """

    columns: Mapping[str, str]
    attribute: str
    runs: int
    metrics: Mapping[str, Spread | None]
    working: Mapping[str, Spread | None]
    epsilon: float | None
    collapsed: int
    diverged: int

    @classmethod
    def of(cls, rows: Sequence[RunRow]) -> Setting:
        """The setting of rows that belong together."""
        epsilons = [float(row["epsilon"]) for row in rows if row["epsilon"]]
        fullest = max(rows, key=lambda row: row["training_records"] != "")
        return cls(
            columns={name: fullest[name] for name in SETTING_COLUMNS},
            attribute=rows[0]["attribute"],
            runs=len(rows),
            metrics=_spreads(rows),
            working=_spreads([row for row in rows if row["status"] == "ok"]),
            epsilon=max(epsilons) if epsilons else None,
            collapsed=sum(row["status"] == "collapsed" for row in rows),
            diverged=sum(row["status"] == "diverged" for row in rows),
        )

    @property
    def method(self) -> str:
        """The method with its release, and what else tells its form."""
        return method_label(self.columns)

    @property
    def panel(self) -> tuple[str, str]:
        """Task and attribute, within which settings are compared."""
        return self.columns["scenario"], self.attribute

    @property
    def asked(self) -> float | None:
        """The epsilon asked for, infinite for exact releases; None where nothing is released."""
        return float(self.columns["asked_epsilon"]) if self.columns["asked_epsilon"] else None

    @property
    def trouble(self) -> str:
        """The numbers of runs that came to nothing, in words."""
        found = {"collapsed": self.collapsed, "diverged": self.diverged}
        return ", ".join(f"{count} {what}" for what, count in found.items() if count)


def told_apart(settings: Sequence[Setting]) -> dict[int, str]:
    """By ``id``, what tells a setting from others of its method, its epsilon aside: strength and epochs, or nothing."""
    found = {}
    for setting in settings:
        alike = [other.columns for other in settings if other.method == setting.method]
        words = [
            form.format(setting.columns[name])
            for name, form in (("strength", "{}"), ("epochs", "{} epochs"))
            if len({columns[name] for columns in alike}) > 1
        ]
        found[id(setting)] = ", ".join(words)
    return found


def _spreads(rows: Sequence[RunRow]) -> dict[str, Spread | None]:
    names = (*METRICS, *FLOORS.values())
    return {name: Spread.of([float(row[name]) for row in rows if row.get(name)]) for name in names}


def group_settings(rows: Sequence[RunRow]) -> list[Setting]:
    """The settings of a sweep's rows, task by task, each task's in the order of method, strength and epsilon."""
    together: dict[tuple[str, ...], list[RunRow]] = {}
    for row in rows:
        # a diverged run was never told its number of records
        names = (name for name in SETTING_COLUMNS if name not in ("training_records", "test_records"))
        together.setdefault((*(row[name] for name in names), row["attribute"]), []).append(row)
    first_seen = {name: list(dict.fromkeys(row[name] for row in rows)) for name in ("scenario", "attribute", "method")}

    def place(setting: Setting) -> tuple[Any, ...]:
        columns = {**setting.columns, "attribute": setting.attribute}
        seen = (order.index(columns[name]) for name, order in first_seen.items())
        return *seen, columns["release"], float(columns["strength"] or 0), setting.asked or 0

    return sorted(map(Setting.of, together.values()), key=place)
