"""Tables of a sweep: its settings and its spot checks for people, and every metric of every setting as CSV."""

from __future__ import annotations

import csv
import io
import math
from collections.abc import Sequence

from secure_fair.report.columns import CHECKED, FLOORS, METRICS, SETTING_COLUMNS, SHORT, RunRow
from secure_fair.report.settings import Setting
from secure_fair.report.tables import Table


def settings_table(settings: Sequence[Setting]) -> Table:
    """One row per setting: mean ± standard deviation over the seeds; each gap beside what chance alone would show."""
    strengths = len({setting.columns["strength"] for setting in settings if setting.columns["strength"]}) > 1
    several_epochs = len({setting.columns["epochs"] for setting in settings}) > 1
    header = ["task", "attribute", "method"]
    header += ["strength"] * strengths + ["epochs"] * several_epochs
    shown = _shown(settings)
    header += ["epsilon", "runs", *shown.values(), "remarks"]
    rows = []
    for setting in settings:
        cells = [*setting.panel, setting.method]
        cells += [setting.columns["strength"] or "-"] * strengths + [setting.columns["epochs"]] * several_epochs
        cells += [_epsilon(setting), str(setting.runs)]
        cells += [str(setting.metrics[name] or "-") for name in shown]
        rows.append((*cells, setting.trouble or "-"))
    return Table(tuple(header), tuple(rows))


def _shown(settings: Sequence[Setting]) -> dict[str, str]:
    """Metrics and their short names; the gaps by chance where the sweep has them."""
    found: dict[str, str] = {}
    for name, short in SHORT.items():
        found[name] = short
        floor = FLOORS.get(name, "")
        if floor and any(setting.metrics[floor] for setting in settings):
            found[floor] = f"{short} by chance"
    return found


def checks_table(rows: Sequence[RunRow]) -> Table:
    """The spot checks in secure mode: plain and secure metrics side by side."""
    facts = ("scenario", "settings", "seed", "attribute", "releases", "same_predictions")
    header = (
        "task",
        *facts[1:-1],
        "same predictions",
        *(f"{SHORT[name]} plain / secure" for name in CHECKED),
        "verdict",
    )
    body = []
    for row in rows:
        pairs = (f"{_three(row[f'plain_{name}'])} / {_three(row[f'secure_{name}'])}" for name in CHECKED)
        body.append((*(row[name] for name in facts), *pairs, row["verdict"]))
    return Table(header, tuple(body))


def summary_csv(settings: Sequence[Setting]) -> str:
    """Every metric's mean and standard deviation per setting, as CSV."""
    text = io.StringIO(newline="")
    writer = csv.writer(text, lineterminator="\n")
    names = (*METRICS, *FLOORS.values())
    columns = [f"{name}_{what}" for name in names for what in ("mean", "sd")]
    writer.writerow([*SETTING_COLUMNS, "attribute", "runs", "epsilon", "collapsed", "diverged", *columns])
    for setting in settings:
        numbers: list[float | None] = []
        for name in names:
            spread = setting.metrics[name]
            numbers += [None, None] if spread is None else [spread.mean, spread.deviation]
        facts = [setting.attribute, setting.runs, setting.epsilon, setting.collapsed, setting.diverged]
        cells = ["" if value is None else f"{value:.4f}" for value in numbers]
        writer.writerow([*(setting.columns[name] for name in SETTING_COLUMNS), *facts, *cells])
    return text.getvalue()


def _epsilon(setting: Setting) -> str:
    if setting.epsilon is None:
        return "-"
    return "exact" if math.isinf(setting.epsilon) else f"{setting.epsilon:.3g}"


def _three(value: str) -> str:
    return f"{float(value):.3f}" if value else "-"
