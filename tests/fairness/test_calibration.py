"""Calibration in bins: the counts are fairlearn's, who is miscalibrated is found, and who is not is left alone."""

from __future__ import annotations

import fairlearn.metrics
import numpy as np
import pytest

from secure_fair.fairness.audits import SELECTION, AttributeAudit
from secure_fair.fairness.calibration import bins_of, calibration_table, observed, strata_of

BINS, GROUPS = 10, ("a", "b", "unknown")


def drawn(n: int, seed: int, shift: float = 0.0) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Scores, labels that come true as scored (in group b so much more often), and groups; some labels are unknown."""
    draw = np.random.default_rng(seed)
    scores, groups = np.round(draw.beta(2, 2, n), 3), draw.integers(0, 3, n)
    labels = (draw.random(n) < scores + shift * (groups == 1)).astype(np.int64)
    return scores, np.where(draw.random(n) < 0.1, 2, labels), groups


def audit_of(
    scores: np.ndarray, labels: np.ndarray, groups: np.ndarray, sigma: float = 0.0, seed: int = 0
) -> AttributeAudit:
    places, _ = bins_of(scores, BINS)
    strata, count = strata_of(places, labels, BINS)
    counts = np.zeros((count, len(GROUPS)))
    np.add.at(counts, (strata, groups), 1)
    counts += sigma * np.random.default_rng(seed).standard_normal(counts.shape)
    return AttributeAudit(counts, sigma, GROUPS, (True, True, False), len(scores))


def test_bins_are_quantiles_and_the_median_is_a_border() -> None:
    for scores in (np.random.default_rng(0).random(1000), np.repeat([0.1, 0.5, 0.5, 0.9], 5), np.zeros(7)):
        places, bins = bins_of(scores, BINS)
        assert np.array_equal(places >= BINS // 2, scores > np.median(scores))
        assert [one.records for one in bins] == np.bincount(places, minlength=BINS).tolist()
        for place, one in enumerate(bins):
            if one.records:
                inside = scores[places == place]
                assert (one.low, one.high, one.mean) == (inside.min(), inside.max(), pytest.approx(inside.mean()))
        order = np.argsort(scores, kind="stable")
        assert (np.diff(places[order]) >= 0).all()


def test_rates_of_every_bin_are_fairlearns() -> None:
    scores, labels, groups = drawn(4000, 1)
    audit = audit_of(scores, labels, groups)
    places, _ = bins_of(scores, BINS)
    for place, estimates in enumerate(observed(audit, BINS)):
        here = (places == place) & (labels < 2)
        frame = fairlearn.metrics.MetricFrame(
            metrics=fairlearn.metrics.selection_rate,
            y_true=labels[here],
            y_pred=labels[here],
            sensitive_features=groups[here],
        )
        assert [one.value for one in estimates] == pytest.approx(frame.by_group.tolist())


def test_the_scoring_rate_is_counted_from_the_same_strata() -> None:
    scores, labels, groups = drawn(4000, 1)
    rates = audit_of(scores, labels, groups).rate(SELECTION, sampling=False).value
    above = scores > np.median(scores)
    assert rates == pytest.approx([above[groups == group].mean() for group in range(3)])


@pytest.mark.parametrize("sigma", [0.0, 5.0])
def test_a_group_that_is_scored_too_low_is_found_and_no_other_accused(sigma: float) -> None:
    """In 60 audits each; all intervals of an audit hold together at 95 %, so that 3 may accuse somebody."""
    accused, found = 0, 0
    for seed in range(60):
        for shift in (0.0, 0.2):
            scores, labels, groups = drawn(6000, seed, shift)
            _, bins = bins_of(scores, BINS)
            table = calibration_table(audit_of(scores, labels, groups, sigma, seed), bins)
            wrong = [group["group"] for one in table for group in one["groups"] if group["calibrated"] is False]
            accused += "a" in wrong or (shift == 0 and "b" in wrong)
            found += shift > 0 and "b" in wrong
            assert {group["group"] for one in table for group in one["groups"]} == {"a", "b"}
    assert found == 60
    assert accused <= 9  # of 120, of which 6 are due; more are 1 in 12 at most


def test_an_empty_bin_says_nothing() -> None:
    labels, groups = np.arange(40) % 2, np.arange(40) % 3
    scores = np.repeat([0.2, 0.7], 20)
    _, bins = bins_of(scores, BINS)
    table = calibration_table(audit_of(scores, labels, groups), bins)
    empty = [one for one in table if one["scores"]["records"] == 0]
    assert len(empty) == 8
    assert {group["calibrated"] for one in empty for group in one["groups"]} == {None}
    assert {group["value"] for one in empty for group in one["groups"]} == {None}
