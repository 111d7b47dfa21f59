"""Spot checks of a sweep: some of its plain runs are repeated in secure mode, and the results compared."""

from __future__ import annotations

import csv
import math
import random
import statistics
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Literal

from scipy import stats

from secure_fair.report.columns import CHECKED, CHECKED_COLUMNS, CHECKS, RUNS, SETTING_COLUMNS, RunRow
from secure_fair.scenarios.grid import GridRun, cell
from secure_fair.scenarios.progress import Reporter
from secure_fair.scenarios.sweep import (
    COLUMNS,
    Lines,
    PreparedStores,
    number,
    rows_of,
    setting_columns,
    still_to_do,
    work_off,
)

CHECK_COLUMNS = (*CHECKED_COLUMNS, "revision")

# with exact releases the modes differ by fixed-point error alone, which may turn a prediction on the edge
EXACT_AGREEMENT = 0.98
LEVEL = 0.99  # of the prediction intervals that a noised run must lie in, all metrics together


def check(runs: Sequence[GridRun], out: Path, report: Reporter, *, count: int) -> None:
    """Run ``count`` of the runs that release something, drawn at random, in secure mode; ``out/checks.csv`` tells."""
    table = Lines(out / CHECKS, CHECK_COLUMNS)
    # by a fixed seed, so that a restart draws the same
    releasing = [run for run in runs if run.scenario.method.release]
    drawn = random.Random(len(runs)).sample(releasing, min(count, len(releasing)))
    missing = still_to_do(table, drawn, "secure checks", report)
    swept = Lines(out / RUNS, COLUMNS).rows()

    def finished(run: GridRun, rows: list[RunRow]) -> None:
        judged = [judge(row, swept) for row in rows]
        table.append(judged)
        report.stage(f"  {run.label}: {', '.join(row['verdict'] for row in judged)}")

    work_off(missing, run_in_both_modes, finished, report, jobs=1)


def run_in_both_modes(run: GridRun, folder: Path, report: Reporter) -> list[RunRow]:
    """The run in plain and in secure mode on the same stores; a line per attribute, without the verdict."""
    prepared = PreparedStores.of(run.scenario, folder, report)
    began = time.perf_counter()
    plain, plain_predictions = _run(run, "plain", prepared, folder, report)
    secure, secure_predictions = _run(run, "secure", prepared, folder, report)
    same = statistics.fmean(secure_predictions[id_] == value for id_, value in plain_predictions.items())
    seconds = cell(round(time.perf_counter() - began, 1))
    return [
        {
            **setting_columns(run),
            "training_records": theirs["training_records"],
            "test_records": theirs["test_records"],
            "attribute": theirs["attribute"],
            "releases": {"0": "none", "inf": "exact"}.get(theirs["epsilon"], "noised"),
            "same_predictions": f"{same:.4f}",
            **{f"plain_{name}": ours[name] for name in CHECKED},
            **{f"secure_{name}": theirs[name] for name in CHECKED},
            "seconds": seconds,
        }
        for ours, theirs in zip(plain, secure, strict=True)
    ]


def _run(
    run: GridRun, mode: Literal["plain", "secure"], prepared: PreparedStores, folder: Path, report: Reporter
) -> tuple[list[RunRow], dict[str, str]]:
    """Lines of the run in this mode, and its predictions by record."""
    secure = run.scenario.secure.model_copy(update={"mode": mode})
    moved = GridRun(run.scenario.model_copy(update={"secure": secure}), run.settings)
    with tempfile.TemporaryDirectory(dir=folder) as out:
        rows = rows_of(moved, prepared, Path(out), report)
        with (Path(out) / "developer" / "predictions.csv").open(newline="") as file:
            return rows, {row["id"]: row["prediction"] for row in csv.DictReader(file)}


def judge(row: RunRow, swept: Sequence[RunRow]) -> RunRow:
    """The line with its verdict.

    With exact releases, or none, both runs must predict the same, up to fixed-point error. Noised ones differ by their
    draws: the secure run must lie in the prediction interval of the sweep's plain runs of this setting, whose mean and
    standard deviation over the seeds take the place of the one plain run. Two or three runs predict little, and let
    pass much: what shows that the arithmetic is the same are the exact runs. Fewer than two say nothing.
    """
    if row["releases"] != "noised":
        agrees = float(row["same_predictions"]) >= EXACT_AGREEMENT
        return row | {"verdict": "agrees" if agrees else "DISAGREES"}
    columns = (*SETTING_COLUMNS, "attribute")
    alike = [other for other in swept if all(other[name] == row.get(name, "") for name in columns)]
    result, inside = dict(row), []
    for name in CHECKED:
        values = [float(other[name]) for other in alike if other[name]]
        if len(values) < 2 or not row[f"secure_{name}"]:
            continue
        mean = statistics.fmean(values)
        # few seeds may lie close by chance: the sampling error of a share of the test records is the least spread
        spread = max(statistics.stdev(values), 0.5 / math.sqrt(float(row["test_records"])))
        result |= {f"plain_{name}": number(mean), f"spread_{name}": number(spread)}
        quantile = stats.t.ppf(1 - (1 - LEVEL) / (2 * len(CHECKED)), len(values) - 1)
        reach = quantile * spread * math.sqrt(1 + 1 / len(values))
        inside.append(abs(float(row[f"secure_{name}"]) - mean) <= reach)
    if not inside:
        return result | {"verdict": "not judged: fewer than two plain runs"}
    return result | {"verdict": f"{'within' if all(inside) else 'OUTSIDE'} the {LEVEL:.0%} interval"}
