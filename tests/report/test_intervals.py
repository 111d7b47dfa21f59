"""Intervals over tasks: they cover as often as they say, where an interval over all pairs does not."""

from __future__ import annotations

import math
import random
import statistics

import pytest
from scipy import stats

from secure_fair.report.intervals import FEW, TaskMean, caution

TRUE = 0.2
SEEDS = 3
REPEATS = 1000


def experiment(
    chance: random.Random, tasks: int, task_spread: float, seed_spread: float
) -> list[tuple[str, str, float]]:
    """Values of all tasks and seeds around ``TRUE``."""
    found = []
    for task in range(tasks):
        centre = TRUE + chance.gauss(0, task_spread)
        found += [(str(task), str(seed), centre + chance.gauss(0, seed_spread)) for seed in range(SEEDS)]
    return found


def covers_over_pairs(values: list[tuple[str, str, float]]) -> bool:
    """Whether the t interval that takes every pair of task and seed for independent holds the truth."""
    pairs = [value for _, _, value in values]
    half = stats.t.ppf(0.975, len(pairs) - 1) * statistics.stdev(pairs) / math.sqrt(len(pairs))
    return abs(statistics.fmean(pairs) - TRUE) <= half


@pytest.mark.parametrize("tasks", [3, 4, 8])
def test_the_interval_for_tasks_of_this_kind_covers_where_one_over_pairs_does_not(tasks: int) -> None:
    chance = random.Random(tasks)
    drawn = [experiment(chance, tasks, 0.04, 0.02) for _ in range(REPEATS)]
    found = [TaskMean.of(values) for values in drawn]
    covered = statistics.fmean(e is not None and abs(e.mean - TRUE) <= e.beyond for e in found)
    assert covered == pytest.approx(0.95, abs=0.02)
    assert statistics.fmean(map(covers_over_pairs, drawn)) < 0.80


def test_the_interval_for_these_tasks_covers_their_own_mean_whatever_the_tasks_are() -> None:
    chance = random.Random(1)
    hits = 0
    for _ in range(REPEATS):
        centres = [chance.gauss(TRUE, 5.0) for _ in range(3)]
        values = [(str(t), str(s), c + chance.gauss(0, 0.1)) for t, c in enumerate(centres) for s in range(SEEDS)]
        found = TaskMean.of(values)
        assert found is not None
        hits += abs(found.mean - statistics.fmean(centres)) <= found.here
    assert hits / REPEATS == pytest.approx(0.95, abs=0.02)


def test_tasks_of_unequal_variance_are_covered_at_least_as_often() -> None:
    chance = random.Random(2)
    hits = 0
    for _ in range(REPEATS):
        spreads = (0.01, 0.01, 0.01, 0.2)
        found = TaskMean.of((str(t), "0", TRUE + chance.gauss(0, spread)) for t, spread in enumerate(spreads))
        assert found is not None
        hits += abs(found.mean - TRUE) <= found.beyond
    assert hits / REPEATS >= 0.94


def test_what_is_missing_is_not_made_up() -> None:
    one = TaskMean.of([("t", "0", 0.1)])
    assert one is not None
    assert (one.here, one.beyond, one.text()) == (math.inf, math.inf, "+0.100")
    several_seeds = TaskMean.of([("t", "0", 0.1), ("t", "1", 0.3)])
    assert several_seeds is not None
    assert several_seeds.text() == "+0.200 ± 1.271"
    several_tasks = TaskMean.of([("t", "0", 0.1), ("u", "0", 0.3)])
    assert several_tasks is not None
    assert several_tasks.text() == "+0.200 (± 1.271)"
    assert TaskMean.of([]) is None


def test_attributes_of_one_trained_model_count_once() -> None:
    """Two values of a task and seed are one observation: to repeat them makes nothing surer."""
    once = [("t", "0", 0.1), ("t", "1", 0.2), ("u", "0", 0.4), ("u", "1", 0.3)]
    assert TaskMean.of(once * 2) == TaskMean.of(once)


def test_few_tasks_are_told() -> None:
    assert "One independent task" in caution(1)
    assert "3 independent tasks are few" in caution(3)
    assert caution(FEW) == ""
