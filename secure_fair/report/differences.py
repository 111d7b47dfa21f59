"""Changes that a method makes to empirical risk minimisation, paired by task and seed, with confidence intervals."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence

from secure_fair.report.columns import FLOORS, GAPS, SHORT, RunRow, independent_task, method_label, one_run
from secure_fair.report.intervals import TaskMean
from secure_fair.report.tables import Table

BASELINE = "erm"
SHOWN = ("accuracy", "balanced_accuracy", GAPS[0], GAPS[1], GAPS[3])

Measure = Callable[[Mapping[str, str]], float | None]
Point = tuple[str, str, str]  # method, strength and asked epsilon


def differences(rows: Sequence[RunRow]) -> Table | None:
    """One line per method, strength and epsilon: all tasks and seeds that the baseline was run with, too.

    "above chance" are gaps less what the groups show when the attribute is dealt out at random (``null_floor`` of
    ``secure_fair.fairness.metrics``); shown where the rows have that. "fell / rose" counts the tasks where the gap did
    so beyond the interval over that task's seeds alone. None without a baseline, or without anything beside it.
    """
    baselines = {one_run(row): row for row in rows if row["method"] == BASELINE}
    together = points(row for row in rows if row["method"] != BASELINE and one_run(row) in baselines)
    if not together:
        return None
    measures = _measures(rows)
    header = ("method", "strength", "epsilon", "tasks", "runs", *measures, "tasks: DPD fell / rose")
    lines = []
    for (label, strength, epsilon), alike in together.items():
        pairs = [(row, baselines[one_run(row)]) for row in alike]
        found = [TaskMean.of(changes(pairs, measure)) for measure in measures.values()]
        tasks = len({independent_task(row) for row in alike})
        cells = [label, strength, asked(epsilon), str(tasks), str(len(alike))]
        cells += [estimate.text() if estimate else "-" for estimate in found]
        lines.append((*cells, _tasks(pairs)))
    return Table(header, tuple(lines))


def points(rows: Iterable[RunRow]) -> dict[Point, list[RunRow]]:
    """Rows of one method, strength and epsilon together, in this order; methods in the order of the rows."""
    together: dict[Point, list[RunRow]] = {}
    for row in rows:
        together.setdefault((method_label(row), row["strength"], row["asked_epsilon"]), []).append(row)
    methods = list(dict.fromkeys(label for label, _, _ in together))
    order = sorted(together, key=lambda point: (methods.index(point[0]), float(point[1] or 0), float(point[2] or 0)))
    return {point: together[point] for point in order}


def asked(epsilon: str) -> str:
    """An epsilon that was asked for, in words where it is none."""
    return {"inf": "exact", "": "-"}.get(epsilon, epsilon)


def measure_of(name: str) -> Measure:
    """Reads this metric of a row; None where it is undefined."""
    return lambda row: float(row[name]) if row.get(name) else None


def changes(
    pairs: Iterable[tuple[Mapping[str, str], Mapping[str, str]]], measure: Measure
) -> Iterator[tuple[str, str, float]]:
    """Task, seed and change of the measure from the second row to the first, for every pair that has both."""
    for row, baseline in pairs:
        value, before = measure(row), measure(baseline)
        if value is not None and before is not None:
            yield independent_task(row), row["seed"], value - before


def _measures(rows: Sequence[RunRow]) -> dict[str, Measure]:
    """Names of columns and what they measure: each gap also above chance, where that is known."""
    found: dict[str, Measure] = {}
    for name in SHOWN:
        found[f"Δ {SHORT[name]}"] = measure_of(name)
        if name in FLOORS and any(row.get(FLOORS[name]) for row in rows):
            found[f"Δ {SHORT[name]} above chance"] = _above_chance(name)
    return found


def _above_chance(gap: str) -> Measure:
    whole, floor = measure_of(gap), measure_of(FLOORS[gap])

    def above(row: Mapping[str, str]) -> float | None:
        value, chance = whole(row), floor(row)
        return None if value is None or chance is None else value - chance

    return above


def _tasks(pairs: Sequence[tuple[RunRow, RunRow]]) -> str:
    """Count the tasks and attributes on which the demographic-parity gap fell and rose for sure."""
    by_task: dict[tuple[str, str], list[tuple[RunRow, RunRow]]] = {}
    for row, baseline in pairs:
        by_task.setdefault((row["scenario"], row["attribute"]), []).append((row, baseline))
    found = [TaskMean.of(changes(alike, measure_of(GAPS[0]))) for alike in by_task.values()]
    fell, rose = (sum(e is not None and getattr(e, what) for e in found) for what in ("fell", "rose"))
    return f"{fell} / {rose} of {len(by_task)}"
