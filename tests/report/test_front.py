"""Fronts: hypervolumes of figures whose volume is known, and settings that stand on a front or below it."""

from __future__ import annotations

import random

import pytest

from secure_fair.report.front import dominated, front_table, hypervolume, hypervolume_table
from tests.report.rows import row


def test_hypervolume_is_the_volume_of_the_union_of_boxes() -> None:
    assert hypervolume([(0.0, 0.0)], (1.0, 1.0)) == 1.0
    assert hypervolume([(0.5, 0.0), (0.0, 0.5)], (1.0, 1.0)) == pytest.approx(0.75)
    assert hypervolume([(0.5, 0.5), (0.5, 0.5), (0.6, 0.7)], (1.0, 1.0)) == pytest.approx(0.25)
    assert hypervolume([(0.5, 0.0, 0.0), (0.0, 0.5, 0.5)], (1.0, 1.0, 1.0)) == pytest.approx(0.5 + 0.5 * 0.25)
    assert hypervolume([(0.1, 1.0), (2.0, 0.1)], (1.0, 1.0)) == 0.0  # no better than the reference in one
    assert hypervolume([], (1.0, 1.0)) == 0.0


def test_hypervolume_agrees_with_counting_random_points() -> None:
    chance = random.Random(0)
    vectors = [tuple(chance.random() for _ in range(3)) for _ in range(6)]
    darts = [tuple(chance.random() for _ in range(3)) for _ in range(20000)]
    hit = sum(any(all(x <= d for x, d in zip(v, dart, strict=True)) for v in vectors) for dart in darts)
    assert hypervolume(vectors, (1.0, 1.0, 1.0)) == pytest.approx(hit / len(darts), abs=0.015)


def test_equal_vectors_do_not_dominate_each_other() -> None:
    assert not dominated((0.1, 0.2), [(0.1, 0.2), (0.0, 0.3)])
    assert dominated((0.1, 0.2), [(0.1, 0.1)])


def test_the_share_is_of_the_way_from_the_baseline_to_no_gap() -> None:
    """Half the gap at half of the loss that is allowed covers a quarter; a worse setting beside it adds nothing."""
    rows = [row("erm", 0, 0.4), row("parity", 0, 0.2, balanced_accuracy="0.75")]
    rows += [row("parity", 0, 0.3, balanced_accuracy="0.74", strength="1")]
    rows += [row("odds", 0, 0.5), row("rr", 0, 0.0, balanced_accuracy="0.5")]
    table = hypervolume_table(rows)
    assert table is not None
    assert [(cells[0], cells[1], cells[2], cells[-1]) for cells in table.rows] == [
        ("parity (moments)", "exact", "1, 3", "0.250"),
        ("odds (moments)", "exact", "3", "0.000"),
        ("rr (attributes)", "exact", "3", "0.000"),
    ]
    assert hypervolume_table(rows[1:]) is None


def test_all_epsilons_together_count_the_attacker_s_advantage() -> None:
    """What is won without any privacy is nothing there."""
    rows = [row("erm", 0, 0.4), row("parity", 0, 0.0), row("parity", 0, 0.2, asked_epsilon="1")]
    table = hypervolume_table(rows)
    assert table is not None
    shares = {cells[1]: float(cells[-1]) for cells in table.rows}
    assert (shares["1"], shares["exact"]) == (0.5, 1.0)
    assert shares["all"] == pytest.approx(0.5 * (1 - 0.107), abs=1e-3)


def test_a_run_that_came_to_nothing_wins_nothing() -> None:
    rows = [row("erm", seed, 0.4) for seed in (0, 1)] + [row("parity", 0, 0.0)]
    rows += [row("parity", 1, 0.0, status="diverged", demographic_parity_difference="", balanced_accuracy="")]
    table = hypervolume_table(rows)
    assert table is not None
    assert table.rows[0][-1].startswith("0.500")


def test_the_front_names_what_nothing_dominates_and_on_how_many_seeds() -> None:
    rows = [row("erm", seed, 0.4) for seed in (0, 1)]
    rows += [row("parity", seed, 0.2, balanced_accuracy="0.78", asked_epsilon="1") for seed in (0, 1)]
    rows += [row("odds", seed, gap, balanced_accuracy="0.78", asked_epsilon="1") for seed, gap in ((0, 0.1), (1, 0.5))]
    table = front_table(rows)
    found = {cells[2]: dict(zip(table.header, cells, strict=True)) for cells in table.rows}
    assert set(found) == {"erm", "parity (moments)"}  # odds is dominated by the means, though not for seed 0
    assert found["parity (moments)"]["on the seeds' fronts"] == "1 of 2"
    assert found["parity (moments)"]["advantage"] == "0.107"
    assert found["erm"]["on the seeds' fronts"] == "2 of 2"
