"""Pareto fronts over balanced accuracy, gap and attacker's advantage, and how much of the way they cover.

Of a run only three numbers count here: the demographic-parity gap, the balanced accuracy and the attacker's advantage
(``secure_fair.report.advantage``). A setting is dominated where another is as good in all three and better in one.
"""

from __future__ import annotations

import statistics
from collections.abc import Iterable, Mapping, Sequence

from secure_fair.report.advantage import advantage_of
from secure_fair.report.columns import FLOORS, GAPS, RunRow, independent_task
from secure_fair.report.differences import BASELINE, Point, asked, measure_of, points
from secure_fair.report.intervals import TaskMean
from secure_fair.report.tables import Table

LOSS = 0.10  # of balanced accuracy, at which nothing is won
HYPERVOLUME = (
    f"hypervolume as a share of the box between the point of no gap at the balanced accuracy of {BASELINE} and the "
    f"reference: the gap of {BASELINE} (its mean over the task's seeds) at {LOSS:.2f} less of balanced accuracy; with "
    "all epsilons together also an attacker's advantage of 1. Every seed has a front of its own; 0: nothing is won"
)
FRONT = (
    "settings that no other dominates, by means over seeds; of so many seeds with this setting the same holds in the "
    "front of that seed alone"
)

Vector = tuple[float, ...]


def hypervolume(vectors: Iterable[Vector], reference: Vector) -> float:
    """The volume between the vectors and the reference, in units of the coordinates, all of which are to be small.

    By slices along the last coordinate: While, Hingston, Barone and Huband 2006, "A faster algorithm for calculating
    hypervolume". A vector that is no better than the reference in some coordinate adds nothing.
    """
    inside = sorted(
        (v for v in vectors if all(x < bound for x, bound in zip(v, reference, strict=True))), key=lambda v: v[-1]
    )
    if not inside:
        return 0.0
    if len(reference) == 1:
        return reference[0] - inside[0][0]
    ends = [v[-1] for v in inside[1:]] + [reference[-1]]
    return sum(
        (end - v[-1]) * hypervolume([w[:-1] for w in inside[: place + 1]], reference[:-1])
        for place, (v, end) in enumerate(zip(inside, ends, strict=True))
        if end > v[-1]
    )


def dominated(vector: Vector, others: Iterable[Vector]) -> bool:
    """Whether another vector is as small in every coordinate and smaller in one."""
    return any(all(o <= x for o, x in zip(other, vector, strict=True)) and other != vector for other in others)


def hypervolume_table(rows: Sequence[RunRow]) -> Table | None:
    """One line per method and epsilon over its strengths, and one over all its epsilons; None without a baseline."""
    references = _references(rows)
    judged = [row for row in rows if row["release"] and _task(row) in references]
    by_method: dict[str, dict[str, list[RunRow]]] = {}
    for (label, _, epsilon), alike in points(judged).items():
        by_method.setdefault(label, {}).setdefault(epsilon, []).extend(alike)
    lines = []
    for label, by_epsilon in by_method.items():
        for epsilon, alike in by_epsilon.items():
            lines.append((label, asked(epsilon), *_share(alike, references, private=False)))
        if len(by_epsilon) > 1:
            everything = [row for alike in by_epsilon.values() for row in alike]
            lines.append((label, "all", *_share(everything, references, private=True)))
    return Table(("method", "epsilon", "strengths", "tasks", "runs", "share"), tuple(lines)) if lines else None


def front_table(rows: Sequence[RunRow]) -> Table:
    """One line per setting that is on the front of its task and attribute."""
    floors = any(row.get(FLOORS[GAPS[0]]) for row in rows)
    header = ["task", "attribute", "method", "strength", "epsilon", "advantage", "balanced", "DPD"]
    header += ["DPD by chance"] * floors + ["on the seeds' fronts"]
    lines = []
    for (task, attribute), here in _by_task(rows).items():
        seeds = {seed: _vectors([row for row in here if row["seed"] == seed]) for seed in {row["seed"] for row in here}}
        means = _vectors(here)
        for point, vector in means.items():
            if dominated(vector, means.values()):
                continue
            held = [vectors for vectors in seeds.values() if point in vectors]
            kept = sum(not dominated(vectors[point], vectors.values()) for vectors in held)
            gap, loss, advantage = vector
            cells = [task, attribute, point[0], point[1] or "-", asked(point[2]), f"{advantage:.3f}", f"{-loss:.3f}"]
            cells += [f"{gap:.3f}", *([_floor(here, point)] if floors else []), f"{kept} of {len(held)}"]
            lines.append(tuple(cells))
    return Table(tuple(header), tuple(lines))


def _floor(rows: Sequence[RunRow], point: Point) -> str:
    known = [row[FLOORS[GAPS[0]]] for row in points(rows)[point] if row.get(FLOORS[GAPS[0]])]
    return f"{statistics.fmean(map(float, known)):.3f}" if known else "-"


def _vectors(rows: Sequence[RunRow]) -> dict[Point, Vector]:
    """Gap, minus balanced accuracy and advantage of every point, as means over its runs; none for undefined ones."""
    found: dict[Point, Vector] = {}
    for point, alike in points(rows).items():
        known = [pair for row in alike if (pair := _gap_and_accuracy(row)) is not None]
        if known:
            gap, accuracy = (statistics.fmean(column) for column in zip(*known, strict=True))
            found[point] = (gap, -accuracy, advantage_of(alike[0]))
    return found


def _by_task(rows: Sequence[RunRow]) -> dict[tuple[str, str], list[RunRow]]:
    together: dict[tuple[str, str], list[RunRow]] = {}
    for row in rows:
        together.setdefault((row["scenario"], row["attribute"]), []).append(row)
    return together


def _task(row: Mapping[str, str]) -> tuple[str, str, str]:
    return row["scenario"], row["attribute"], row["epochs"]


def _gap_and_accuracy(row: Mapping[str, str]) -> tuple[float, float] | None:
    gap, accuracy = measure_of(GAPS[0])(row), measure_of("balanced_accuracy")(row)
    return None if gap is None or accuracy is None else (gap, accuracy)


def _references(rows: Sequence[RunRow]) -> dict[tuple[str, str, str], tuple[float, float]]:
    """Mean gap and balanced accuracy of the baseline, by task; only where there is a gap to reduce."""
    together: dict[tuple[str, str, str], list[tuple[float, float]]] = {}
    for row in rows:
        pair = _gap_and_accuracy(row)
        if row["method"] == BASELINE and pair is not None:
            together.setdefault(_task(row), []).append(pair)
    means = {task: tuple(map(statistics.fmean, zip(*pairs, strict=True))) for task, pairs in together.items()}
    return {task: (gap, accuracy) for task, (gap, accuracy) in means.items() if gap > 0}


def _share(
    rows: Sequence[RunRow], references: Mapping[tuple[str, str, str], tuple[float, float]], *, private: bool
) -> tuple[str, ...]:
    """Strengths, tasks, runs and the estimate of the hypervolume; with the advantage as a third coordinate."""
    fronts: dict[tuple[tuple[str, str, str], str, str], list[Vector]] = {}
    for row in rows:
        task, pair = _task(row), _gap_and_accuracy(row)
        front = fronts.setdefault((task, independent_task(row), row["seed"]), [])
        if pair is not None:
            gap, accuracy = references[task]
            loss = max(0.0, (accuracy - pair[1]) / LOSS)  # nothing is gained by more than the baseline has
            front.append((pair[0] / gap, loss, *((advantage_of(row),) if private else ())))
    reference = (1.0,) * (3 if private else 2)
    shares = [(task, seed, hypervolume(front, reference)) for (_, task, seed), front in fronts.items()]
    estimate = TaskMean.of(shares)
    assert estimate is not None  # there is a row
    strengths = ", ".join(sorted({row["strength"] for row in rows}, key=float))
    return strengths, str(estimate.tasks), str(len(rows)), estimate.text(".3f")
