"""Differences from the baseline: pairs of one task and seed, tasks that count once, gaps above chance."""

from __future__ import annotations

from collections.abc import Sequence

from secure_fair.report.columns import FLOORS, GAPS, RunRow
from secure_fair.report.differences import differences
from tests.report.rows import row


def lines(rows: Sequence[RunRow]) -> list[dict[str, str]]:
    table = differences(rows)
    assert table is not None
    return [dict(zip(table.header, cells, strict=True)) for cells in table.rows]


def test_a_pair_is_of_one_task_and_seed() -> None:
    """The seeds differ far more than the method changes; in pairs that does not matter."""
    rows = [row("erm", seed, 0.1 * seed, task=task) for seed in range(4) for task in "st"]
    rows += [row("parity", seed, 0.1 * seed - 0.05 - 0.001 * seed, task=task) for seed in range(4) for task in "st"]
    rows += [row("parity", 9, 5.0)]  # has no baseline
    (line,) = lines(rows)
    assert line["method"] == "parity (moments)"
    assert (line["epsilon"], line["tasks"], line["runs"]) == ("exact", "2", "8")
    assert line["Δ DPD"].startswith("-0.05")
    assert line["tasks: DPD fell / rose"] == "2 / 0 of 2"
    assert line["Δ EOD"] == "-"  # nothing is known of it


def test_attributes_of_one_data_set_and_target_are_one_task() -> None:
    rows = [
        row(m, s, g, task="age", attribute=a)
        for a in ("gender", "race")
        for m, g in (("erm", 0.3), ("parity", 0.1))
        for s in (0, 1)
    ]
    (line,) = lines(rows)
    assert (line["tasks"], line["runs"]) == ("1", "4")
    assert "(" not in line["Δ DPD"]  # of other tasks nothing is known
    assert line["tasks: DPD fell / rose"] == "2 / 0 of 2"


def test_lines_stand_in_the_order_of_method_strength_and_epsilon() -> None:
    rows = [row("erm", 0, 0.3)]
    rows += [row("parity", 0, 0.1, asked_epsilon=epsilon) for epsilon in ("inf", "0.3", "3", "1")]
    assert [line["epsilon"] for line in lines(rows)] == ["0.3", "1", "3", "exact"]


def test_a_reduction_of_what_is_chance_anyway_is_none_above_chance() -> None:
    """Of five groups even a fair model shows a gap; one that falls with its floor has become no fairer."""
    floor = FLOORS[GAPS[0]]
    rows = [row("erm", 0, 0.25, **{floor: "0.10"}), row("parity", 0, 0.20, **{floor: "0.05"})]
    (line,) = lines(rows)
    assert (line["Δ DPD"], line["Δ DPD above chance"]) == ("-0.050", "+0.000")
    (without,) = lines([row("erm", 0, 0.25), row("parity", 0, 0.20)])
    assert "Δ DPD above chance" not in without


def test_without_a_baseline_there_is_nothing_to_compare_with() -> None:
    assert differences([row("parity", 0, 0.1)]) is None
    assert differences([row("erm", 0, 0.1)]) is None
