"""The part of an exact method's reduction of the gap that noise leaves, by pair of task and attribute, and over pairs.

A pair's part is a ratio of means over its seeds, not a mean of ratios: of one seed the exact reduction may be next to
nothing. Draws of noise of one seed count once, by their mean.
"""

from __future__ import annotations

import math
import statistics
from collections.abc import Callable, Iterable, Sequence

from secure_fair.report.columns import GAPS, RunRow, method_label, one_run
from secure_fair.report.differences import BASELINE, Point, asked, measure_of, points
from secure_fair.report.intervals import LEVEL, TaskMean
from secure_fair.report.tables import Table

EXACT = "inf"
LEAST = 0.03  # of a gap: where exact releases take off less, a part of it says nothing
LEGEND = (
    f"kept: the reduction of DPD from {BASELINE} with noise, as a part of that with exact releases of the same seeds, "
    "with the least and the most that one seed of the pair keeps; Δ accuracy: with noise, less exact. All pairs: mean "
    f"and its {LEVEL:.0%} interval over pairs, of which some share people and are not independent. "
    f"Pairs whose gap falls by less than {LEAST:g} without noise have no part"
)

Triple = tuple[float, float, float]  # a gap or an accuracy at the baseline, with exact releases, and with noise


def kept_table(rows: Sequence[RunRow]) -> Table | None:
    """A line for each pair and one for all of them, by method, strength and epsilon; None where nothing can be told."""
    baselines = {one_run(row): row for row in rows if row["method"] == BASELINE}
    exact = {(*_form(row), *one_run(row)): row for row in rows if row["asked_epsilon"] == EXACT}
    noised = [row for row in rows if row["asked_epsilon"] not in ("", EXACT) and row[GAPS[0]]]
    noised = [row for row in noised if one_run(row) in baselines and (*_form(row), *one_run(row)) in exact]
    lines: list[tuple[str, ...]] = []
    for point, alike in points(noised).items():
        lines += _lines(point, _by_pair(alike, baselines, exact))
    header = ("method", "strength", "epsilon", "task", "attribute", "seeds", "kept", "least", "most", "Δ accuracy")
    return Table(header, tuple(lines)) if lines else None


def _form(row: RunRow) -> tuple[str, ...]:
    return method_label(row), row["strength"], row["components"]


def _by_pair(
    rows: Iterable[RunRow], baselines: dict[tuple[str, ...], RunRow], exact: dict[tuple[str, ...], RunRow]
) -> dict[tuple[str, str], dict[str, list[tuple[RunRow, RunRow, RunRow]]]]:
    """By task and attribute, then by seed: the runs of the baseline, without noise and with each draw of it."""
    pairs: dict[tuple[str, str], dict[str, list[tuple[RunRow, RunRow, RunRow]]]] = {}
    for row in rows:
        three = (baselines[one_run(row)], exact[(*_form(row), *one_run(row))], row)
        seeds = pairs.setdefault((row["scenario"], row["attribute"]), {})
        seeds.setdefault(row["seed"], []).append(three)
    return pairs


def _lines(
    point: Point, pairs: dict[tuple[str, str], dict[str, list[tuple[RunRow, RunRow, RunRow]]]]
) -> list[tuple[str, ...]]:
    label, strength, epsilon = point
    lines: list[tuple[str, ...]] = []
    parts: list[float] = []
    for pair, seeds in pairs.items():
        gaps = [_means(runs, measure_of(GAPS[0])) for runs in seeds.values()]
        part = _part(gaps)
        each = [one for one in (_part([gap]) for gap in gaps) if one is not None]
        changes = [after - without for _, without, after in (_means(r, measure_of("accuracy")) for r in seeds.values())]
        ends = (f"{min(each):.0%}", f"{max(each):.0%}") if each else ("-", "-")
        told = "-" if part is None else f"{part:.0%}"
        lines.append((label, strength, asked(epsilon), *pair, str(len(seeds)), told, *ends, f"{_mean(changes):+.3f}"))
        parts += [] if part is None else [part]
    if len(parts) > 1:
        found = TaskMean.of((str(place), "", part) for place, part in enumerate(parts))
        assert found is not None
        told = f"{found.mean:.0%} [{found.mean - found.beyond:.0%}, {found.mean + found.beyond:.0%}]"
        lines.append(
            (label, strength, asked(epsilon), "all", "-", "-", told, f"{min(parts):.0%}", f"{max(parts):.0%}", "-")
        )
    return lines


def _means(runs: Sequence[tuple[RunRow, RunRow, RunRow]], measure: Callable[[RunRow], float | None]) -> Triple:
    """The baseline's, the exact and the noised value of one seed; the latter a mean over draws."""
    before, without, _ = (measure(row) for row in runs[0])
    after = [measure(row) for _, _, row in runs]
    numbers = [math.nan if value is None else value for value in (before, without, *after)]
    return numbers[0], numbers[1], _mean(numbers[2:])


def _part(gaps: Sequence[Triple]) -> float | None:
    """Reduction with noise over that without; None where the latter is next to nothing."""
    before, without, after = (_mean(values) for values in zip(*gaps, strict=True))
    return (before - after) / (before - without) if before - without >= LEAST else None


def _mean(values: Sequence[float]) -> float:
    return statistics.fmean(values)
