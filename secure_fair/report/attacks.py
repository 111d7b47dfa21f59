"""The table of what was won by attacks on the runs of a sweep, beside accuracy and gap: mean and spread over seeds."""

from __future__ import annotations

import csv
from collections.abc import Sequence
from pathlib import Path

from secure_fair.errors import UsageError
from secure_fair.report.columns import RunRow, method_label
from secure_fair.report.settings import Spread
from secure_fair.report.tables import Table

FILE = "attacks.csv"
ALARMS = (0.01, 0.001)  # rates of false alarms at which hits are told


def hit_rate(alarms: float) -> str:
    """The column of hits at this rate of false alarms."""
    return f"hit_rate_{alarms:g}"


WON = ("records", "area", "area_ceiling", *map(hit_rate, ALARMS))
COLUMNS = (
    *("run", "scenario", "method", "release", "strength", "components", "asked_epsilon", "delta", "settings", "seed"),
    *("attribute", "accuracy", "demographic_parity_difference", *WON, "status", "revision"),
)


def read(file: Path) -> list[RunRow]:
    """The lines of a sweep's attacks."""
    with file.open(newline="", encoding="utf-8") as lines:
        reader = csv.DictReader(lines)
        if tuple(reader.fieldnames or ()) != COLUMNS:
            raise UsageError(
                f"{file}: is no table of attacks of this version; its columns must be {', '.join(COLUMNS)}"
            )
        return list(reader)


def table(rows: Sequence[RunRow]) -> Table:
    """A row for each setting, in the order of the lines."""
    settings: dict[tuple[str, ...], list[RunRow]] = {}
    for row in rows:
        if row["status"] != "diverged":
            key = (row["scenario"], row["attribute"], method_label(row), row["asked_epsilon"])
            settings.setdefault(key, []).append(row)
    header = ("task", "attribute", "method", "epsilon", "runs", "accuracy", "DPD", "attack AUC", "at most")
    body = []
    for (*names, epsilon), runs in settings.items():
        epsilon = {"": "-", "inf": "exact"}.get(epsilon, epsilon)
        told = [_spread(runs, name) for name in ("accuracy", "demographic_parity_difference", "area")]
        hits = [_spread(runs, hit_rate(alarms)) for alarms in ALARMS]
        most = f"{float(runs[0]['area_ceiling']):.3f}"
        body.append((*names, epsilon, str(len(runs)), *told, most, *hits))
    return Table((*header, *(f"TPR at {alarms:.1%} FPR" for alarms in ALARMS)), tuple(body))


def _spread(runs: Sequence[RunRow], name: str) -> str:
    return str(Spread.of([float(run[name]) for run in runs]))
