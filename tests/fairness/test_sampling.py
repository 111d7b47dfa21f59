"""Intervals of metrics hold the truth at least as often as they say, and are no wider than they need to be."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import stats

from secure_fair.fairness import metrics, sampling

RECORDS, AUDITS = 600, 1500


def chances(selected: list[float], right: float) -> np.ndarray:
    """Chances (2, 2, groups) of each cell: labels are balanced, groups alike in size; ``selected`` is the rate of class
    1 that each group gets, ``right`` how much likelier a record of class 1 is to get it."""
    rates = np.array(selected)
    by_label = np.stack([rates - right / 2, rates + right / 2])  # of prediction 1
    return np.stack([1 - by_label, by_label], axis=1) / (2 * len(selected))


def coverage(cells: np.ndarray) -> dict[str, float]:
    """How often the interval of each metric holds its true value, in drawn audits."""
    truth = metrics.fairness(cells * 1e9, tuple("abcdef"[: cells.shape[2]]))
    generator = np.random.default_rng(0)
    held = dict.fromkeys(sampling.gap_intervals(cells * RECORDS), 0)
    for draw in generator.multinomial(RECORDS, cells.ravel(), size=AUDITS):
        for name, interval in sampling.gap_intervals(draw.reshape(cells.shape).astype(float)).items():
            assert interval is not None
            held[name] += interval[0] - 1e-9 <= truth[name] <= interval[1] + 1e-9
    return {name: count / AUDITS for name, count in held.items()}


@pytest.mark.parametrize(
    ("selected", "right"), [([0.5, 0.5], 0.6), ([0.3, 0.6], 0.3), ([0.5, 0.5, 0.5, 0.5], 0.6), ([0.2, 0.4, 0.7], 0.2)]
)
def test_intervals_hold_the_truth_as_often_as_they_say(selected: list[float], right: float) -> None:
    """Also where no group differs, which a bootstrap of the largest difference never finds."""
    for name, share in coverage(chances(selected, right)).items():
        assert share > sampling.LEVEL - 3 * np.sqrt(sampling.LEVEL * (1 - sampling.LEVEL) / AUDITS), name


def test_an_interval_of_two_groups_is_not_wider_than_it_needs_to_be() -> None:
    """Twice the standard error of a difference, within a tenth: one that is always [0, 1] holds everything too."""
    counts = chances([0.3, 0.6], 0.3) * 2000
    low, high = sampling.gap_intervals(counts)["demographic_parity_difference"] or (0, 1)
    error = np.sqrt(0.3 * 0.7 / 1000 + 0.6 * 0.4 / 1000)
    assert high - low == pytest.approx(2 * 1.96 * error, rel=0.1)


def test_rates_of_a_group_have_the_intervals_of_their_own_records() -> None:
    counts = np.array([[[30.0, 5], [10, 0]], [[8, 0], [52, 0]]])  # labels, predictions, groups
    first, second = sampling.group_intervals(counts, ("a", "b")).values()
    table = metrics.group_table(counts, ("a", "b"))["a"]
    for rate, records in (
        ("accuracy", 100),
        ("selection_rate", 100),
        ("true_positive_rate", 60),
        ("false_positive_rate", 40),
    ):
        expected = stats.binomtest(round(table[rate] * records), records).proportion_ci(0.95, method="wilson")
        assert first[rate] == pytest.approx([expected.low, expected.high])
    assert sorted(second) == ["accuracy", "false_positive_rate", "selection_rate"]  # nobody of "b" is of class 1
    assert sampling.group_intervals(counts, ("a", "b"), minimum=10)["b"] == {}


def test_no_rate_lies_beyond_its_interval() -> None:
    """A figure draws from the one to the other; by rounding alone, rates of 0 and 1 did, of some numbers of records."""
    records = np.arange(1.0, 3000.0)
    for hits in (np.zeros_like(records), records):
        low, high = sampling.wilson(hits, records, 0.95)
        assert (low <= hits / records).all()
        assert (high >= hits / records).all()


def test_wilson_is_scipys() -> None:
    hits, records = np.array([0.0, 3, 50, 100]), np.array([7.0, 9, 100, 100])
    for k, n, low, high in zip(hits, records, *sampling.wilson(hits, records, 0.9), strict=True):
        expected = stats.binomtest(int(k), int(n)).proportion_ci(0.9, method="wilson")
        assert (low, high) == pytest.approx((expected.low, expected.high))


def test_a_difference_is_newcombes() -> None:
    """The worked example (a) of his table II: 56/70 and 48/80, method 10."""
    assert sampling.difference((56, 70), (48, 80), 0.95) == pytest.approx((0.0524, 0.3339), abs=5e-5)


def test_utility_lies_in_its_intervals() -> None:
    counts = chances([0.3, 0.6], 0.3) * 500
    found = sampling.utility_intervals(counts)
    for name, value in (
        ("accuracy", metrics.accuracy(counts)),
        ("balanced_accuracy", metrics.balanced_accuracy(counts)),
    ):
        low, high = found[name] or (1, 0)
        assert low < value < high  # type: ignore[operator]
        assert high - low < 0.1
    assert sampling.utility_intervals(np.zeros((2, 2, 2))) == {"accuracy": None, "balanced_accuracy": None}


def test_what_is_undefined_has_no_interval() -> None:
    counts = np.zeros((2, 2, 2))
    counts[:, :, 0] = 20
    counts[0, :, 1] = 20  # the second group has no record of class 1
    found = sampling.gap_intervals(counts)
    assert found["equalized_odds_difference"] is None
    assert found["demographic_parity_difference"] is not None
    assert sampling.gap_intervals(counts, minimum=50)["demographic_parity_difference"] is None
    assert metrics.fairness(counts, ("a", "b"))["equalized_odds_difference"] is None
