"""Differences from the baseline: pairs of one task and seed, and intervals that cover as often as they say."""

from __future__ import annotations

import math
import random

import pytest

from scenarios.sweep import COLUMNS
from secure_fair.report.columns import GAPS, RunRow
from secure_fair.report.differences import Interval, differences


def row(method: str, seed: int, gap: float, *, task: str = "s", **values: str) -> RunRow:
    given = {"scenario": task, "attribute": "a", "method": method, "seed": str(seed), "epochs": "4", "accuracy": "0.8"}
    if method != "erm":
        given |= {"release": "moments", "strength": "3", "asked_epsilon": "inf"}
    return dict.fromkeys(COLUMNS, "") | given | {GAPS[0]: str(gap)} | values


def test_a_pair_is_of_one_task_and_seed() -> None:
    """The seeds differ far more than the method changes; in pairs that does not matter."""
    rows = [row("erm", seed, 0.1 * seed, task=task) for seed in range(4) for task in "st"]
    rows += [row("parity", seed, 0.1 * seed - 0.05 - 0.001 * seed, task=task) for seed in range(4) for task in "st"]
    rows += [row("parity", 9, 5.0)]  # has no baseline
    table = differences(rows)
    assert table is not None
    (line,) = (dict(zip(table.header, cells, strict=True)) for cells in table.rows)
    assert line["method"] == "parity (moments)"
    assert (line["epsilon"], line["pairs"]) == ("exact", "8")
    assert line["Δ DP"].startswith("-0.05")
    assert line["tasks: DP fell / rose"] == "2 / 0 of 2"
    assert line["Δ EO"] == "-"  # nothing is known of it


def test_lines_stand_in_the_order_of_method_strength_and_epsilon() -> None:
    rows = [row("erm", 0, 0.3)]
    rows += [row("parity", 0, 0.1, asked_epsilon=epsilon) for epsilon in ("inf", "0.3", "3", "1")]
    table = differences(rows)
    assert table is not None
    assert [cells[2] for cells in table.rows] == ["0.3", "1", "3", "exact"]


def test_without_a_baseline_there_is_nothing_to_compare_with() -> None:
    assert differences([row("parity", 0, 0.1)]) is None
    assert differences([row("erm", 0, 0.1)]) is None


def test_the_interval_covers_the_mean_as_often_as_it_says() -> None:
    chance = random.Random(0)
    hits = 0
    for _ in range(2000):
        found = Interval.of([chance.gauss(0.2, 0.1) for _ in range(3)])
        assert found is not None
        hits += found.low <= 0.2 <= found.high
    assert hits / 2000 == pytest.approx(0.95, abs=0.02)


def test_a_single_pair_has_no_interval() -> None:
    found = Interval.of([0.1])
    assert found is not None
    assert math.isinf(found.high)
    assert str(found) == "+0.100"
    assert Interval.of([]) is None
