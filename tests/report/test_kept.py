"""How much of an exact reduction noise leaves: ratios of means, pairs that count once, draws that are no seeds."""

from __future__ import annotations

from collections.abc import Sequence

import pytest

from secure_fair.report.columns import RunRow
from secure_fair.report.kept import kept_table
from tests.report.rows import row


def lines(rows: Sequence[RunRow]) -> list[dict[str, str]]:
    table = kept_table(rows)
    assert table is not None
    return [dict(zip(table.header, cells, strict=True)) for cells in table.rows]


def seed(number: int, before: float, exact: float, *noised: float, task: str = "s") -> list[RunRow]:
    """The baseline, exact releases, and draws of noise at epsilon 1."""
    found = [row("erm", number, before, task=task), row("posthoc", number, exact, task=task)]
    return found + [row("posthoc", number, gap, task=task, asked_epsilon="1", accuracy="0.78") for gap in noised]


def test_a_part_is_a_ratio_of_means() -> None:
    """The second seed has next to no exact reduction: its own ratio would be -9."""
    (line,) = lines([*seed(0, 0.4, 0.2, 0.25), *seed(1, 0.31, 0.30, 0.40)])
    assert line["kept"] == f"{((0.4 - 0.25) + (0.31 - 0.40)) / (0.2 + 0.01):.0%}"
    assert (line["seeds"], line["least"], line["most"]) == ("2", "75%", "75%")
    assert line["Δ accuracy"] == "-0.020"


def test_draws_of_noise_count_once_for_their_seed() -> None:
    (line,) = lines([*seed(0, 0.4, 0.2, 0.2, 0.3, 0.3, 0.2), *seed(1, 0.4, 0.2, 0.2)])
    assert (line["kept"], line["least"], line["most"]) == ("88%", "75%", "100%")


def test_the_interval_is_over_pairs() -> None:
    rows = [*seed(0, 0.4, 0.2, 0.20), *seed(0, 0.4, 0.2, 0.24, task="t"), *seed(0, 0.4, 0.2, 0.28, task="u")]
    *pairs, whole = lines(rows)
    assert [line["kept"] for line in pairs] == ["100%", "80%", "60%"]
    half = 4.302653 * 0.2 / 3**0.5  # the t quantile of two degrees of freedom
    assert whole["kept"] == f"80% [{0.8 - half:.0%}, {0.8 + half:.0%}]"
    assert (whole["least"], whole["most"]) == ("60%", "100%")


def test_a_pair_without_a_reduction_has_no_part() -> None:
    *_, small, whole = lines(
        [*seed(0, 0.4, 0.2, 0.3), *seed(0, 0.4, 0.3, 0.3, task="t"), *seed(0, 0.1, 0.08, 0.0, task="u")]
    )
    assert (small["kept"], small["least"]) == ("-", "-")
    assert whole["kept"].startswith("75%")


@pytest.mark.parametrize(
    "rows",
    [
        seed(0, 0.4, 0.2),  # no noise
        [one for one in seed(0, 0.4, 0.2, 0.3) if one["method"] != "erm"],
        [one for one in seed(0, 0.4, 0.2, 0.3) if one["asked_epsilon"] != "inf"],
        [{**one, "components": "4"} if one["asked_epsilon"] == "1" else one for one in seed(0, 0.4, 0.2, 0.3)],
        [
            {**one, "demographic_parity_difference": ""} if one["asked_epsilon"] == "1" else one
            for one in seed(0, 1, 0, 1)
        ],
    ],
)
def test_without_all_three_there_is_no_table(rows: list[RunRow]) -> None:
    assert kept_table(rows) is None
