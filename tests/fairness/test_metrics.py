"""Metrics from counts against fairlearn and scikit-learn on the same predictions."""

from __future__ import annotations

import fairlearn.metrics as reference
import numpy as np
import pytest
import sklearn.metrics
from hypothesis import given, settings
from hypothesis import strategies as st

from secure_fair.fairness import metrics

PAIRS = [
    (metrics.demographic_parity_difference, reference.demographic_parity_difference),
    (metrics.equalized_odds_difference, reference.equalized_odds_difference),
    (metrics.true_positive_rate_difference, reference.true_positive_rate_difference),
    (metrics.false_positive_rate_difference, reference.false_positive_rate_difference),
]


@st.composite
def predictions(draw, classes=2, groups=4):
    """Labels, predictions and groups of 2 to 60 records (fairlearn does not take a single one)."""
    record = st.tuples(st.integers(0, classes - 1), st.integers(0, classes - 1), st.integers(0, groups - 1))
    return np.array(draw(st.lists(record, min_size=2, max_size=60))).T


@st.composite
def everywhere(draw, classes=2, groups=3):
    """The same with every class in every group, so that no rate is 0/0."""
    records = draw(predictions(classes, groups))
    y, g = (codes.ravel() for codes in np.meshgrid(range(classes), range(groups)))
    p = draw(st.lists(st.integers(0, classes - 1), min_size=len(y), max_size=len(y)))
    return np.concatenate([records, np.array([y, p, g])], axis=1)


def fairlearns_gaps(y, p, g):
    """What the functions of PAIRS are in fairlearn, of one frame for all: most of a call's time is its frame."""
    rates = [reference.selection_rate, reference.true_positive_rate, reference.false_positive_rate]
    frame = reference.MetricFrame(
        metrics={rate.__name__: rate for rate in rates}, y_true=y, y_pred=p, sensitive_features=g
    )
    selected, found, alarms = frame.difference(method="between_groups")[[rate.__name__ for rate in rates]]
    return [selected, max(found, alarms), found, alarms]


@settings(max_examples=60)
@given(everywhere())
def test_binary_gaps_equal_fairlearns(records):
    y, p, g = records
    counts = metrics.confusion_counts(y, p, g, (2, 3))
    assert [ours(counts) for ours, _ in PAIRS] == pytest.approx(fairlearns_gaps(y, p, g), abs=1e-12)


def test_one_frame_has_what_fairlearns_functions_say():
    y, p, g = [0, 1, 0, 1, 1, 0], [0, 1, 1, 1, 0, 0], [0, 0, 1, 1, 1, 0]
    expected = [theirs(y, p, sensitive_features=g) for _, theirs in PAIRS]
    assert fairlearns_gaps(np.array(y), np.array(p), np.array(g)) == pytest.approx(expected)
    assert len(set(expected)) > 1


@settings(max_examples=60)
@given(predictions())
def test_demographic_parity_equals_fairlearns_whatever_is_missing(records):
    y, p, g = records
    expected = reference.demographic_parity_difference(y, p, sensitive_features=g)
    ours = metrics.demographic_parity_difference(metrics.confusion_counts(y, p, g, (2, 4)))
    if len(np.unique(g)) > 1:
        assert ours == pytest.approx(expected, abs=1e-12)
    else:
        assert ours is None  # a single group has no gap; fairlearn says 0


@settings(max_examples=20)
@given(st.integers(3, 5).flatmap(lambda classes: everywhere(classes).map(lambda records: (classes, records))))
def test_multi_class_gaps_are_the_largest_of_fairlearns_one_against_rest(drawn):
    classes, (y, p, g) = drawn
    counts = metrics.confusion_counts(y, p, g, (classes, 3))
    expected = np.max([fairlearns_gaps(y == c, p == c, g) for c in range(classes)], axis=0)
    assert [ours(counts) for ours, _ in PAIRS] == pytest.approx(list(expected), abs=1e-12)


@settings(max_examples=60)
@given(predictions(classes=3))
def test_accuracies_equal_scikit_learns(records):
    y, p, g = records
    counts = metrics.confusion_counts(y, p, g, (3, 4))
    assert metrics.accuracy(counts) == pytest.approx(sklearn.metrics.accuracy_score(y, p))
    recall = [np.mean(p[y == c] == c) for c in np.unique(y)]
    assert metrics.balanced_accuracy(counts) == pytest.approx(np.mean(recall))
    by_group = [np.mean(y[g == group] == p[g == group]) for group in np.unique(g)]
    assert metrics.worst_group_accuracy(counts) == pytest.approx(min(by_group))


@settings(max_examples=60)
@given(predictions())
def test_group_table_equals_fairlearns_metric_frame(records):
    y, p, g = records
    frame = reference.MetricFrame(
        metrics={"selection_rate": reference.selection_rate, "records": reference.count},
        y_true=y,
        y_pred=p,
        sensitive_features=g,
    )
    table = metrics.group_table(metrics.confusion_counts(y, p, g, (2, 4)), ("a", "b", "c", "d"))
    for group, name in enumerate("abcd"):
        if group in frame.by_group.index:
            assert table[name]["records"] == frame.by_group.loc[group, "records"]
            assert table[name]["selection_rate"] == pytest.approx(frame.by_group.loc[group, "selection_rate"])
        else:
            assert table[name]["records"] == 0
            assert table[name]["selection_rate"] is None


def test_an_empty_group_takes_no_part():
    y, p, g = [0, 1, 0, 1], [0, 1, 1, 1], [0, 0, 2, 2]
    with_empty = metrics.confusion_counts(y, p, g, (2, 4))
    without = metrics.confusion_counts(y, p, [0, 0, 1, 1], (2, 2))
    for ours, theirs in PAIRS:
        assert ours(with_empty) == ours(without) == pytest.approx(theirs(y, p, sensitive_features=g))


def test_a_rate_without_records_is_undefined_where_fairlearn_takes_0():
    # group 0 has no positive record; both others find all of theirs
    y, p, g = [0, 0, 1, 0, 1, 0], [0, 0, 1, 0, 1, 0], [0, 0, 1, 1, 2, 2]
    counts = metrics.confusion_counts(y, p, g, (2, 3))
    assert reference.true_positive_rate_difference(y, p, sensitive_features=g) == 1.0
    assert metrics.true_positive_rate_difference(counts) == 0.0
    assert metrics.fairness(counts, ("a", "b", "c"))["groups"]["a"]["true_positive_rate"] is None


def test_one_class_leaves_the_odds_undefined_but_not_parity():
    y, p, g = [1, 1, 1, 1], [1, 0, 1, 1], [0, 0, 1, 1]
    counts = metrics.confusion_counts(y, p, g, (2, 2))
    assert metrics.demographic_parity_difference(counts) == 0.5
    assert metrics.true_positive_rate_difference(counts) == 0.5
    assert metrics.false_positive_rate_difference(counts) is None
    assert metrics.equalized_odds_difference(counts) is None


def test_a_single_group_has_no_gap():
    counts = metrics.confusion_counts([0, 1], [0, 1], [1, 1], (2, 3))
    assert metrics.demographic_parity_difference(counts) is None
    assert metrics.worst_group_accuracy(counts) == 1.0


def test_equal_predictions_have_no_gap():
    for constant in (0, 1):
        counts = metrics.confusion_counts([0, 1, 0, 1], [constant] * 4, [0, 0, 1, 1], (2, 2))
        assert [ours(counts) for ours, _ in PAIRS] == [0, 0, 0, 0]
        assert metrics.balanced_accuracy(counts) == 0.5


def test_no_records_at_all():
    counts = metrics.confusion_counts([], [], [], (2, 2))
    assert metrics.accuracy(counts) is None
    assert metrics.balanced_accuracy(counts) is None
    assert metrics.worst_group_accuracy(counts) is None


def test_codes_out_of_range_are_named():
    with pytest.raises(ValueError, match="groups 0 to 2: codes must lie between 0 and 1"):
        metrics.confusion_counts([0, 1], [0, 1], [0, 2], (2, 2))
    with pytest.raises(ValueError, match="2 labels, 1 predictions"):
        metrics.confusion_counts([0, 1], [0], [0, 0], (2, 2))


@settings(max_examples=60)
@given(st.integers(0, 2**32 - 1), st.floats(0, 200))
def test_noised_counts_give_rates_inside_their_bounds(seed, sigma):
    generator = np.random.default_rng(seed)
    exact = generator.integers(0, 50, (3, 3, 4))
    counts = metrics.clip_noised(exact + generator.normal(0, sigma, exact.shape))
    assert counts.min() >= 0
    for rates in (metrics.selection_rate(counts), metrics.true_positive_rate(counts), metrics.group_accuracy(counts)):
        known = rates[~np.isnan(rates)]
        assert ((known >= 0) & (known <= 1)).all()


def test_small_cells_are_suppressed_after_the_noise():
    # group c is tiny: 3.2 noised records in all, so whatever it shows is noise
    counts = np.array([[[40.0, 30, 1.1], [10, 20, -0.7]], [[10, 10, 0.9], [40, 40, 1.2]]])
    clipped = metrics.clip_noised(counts)
    summary = metrics.fairness(clipped, ("a", "b", "c"), minimum=10)
    assert summary["groups"]["c"] == {
        "records": None,
        "accuracy": None,
        "selection_rate": None,
        "true_positive_rate": None,
        "false_positive_rate": None,
    }
    two = metrics.fairness(clipped[:, :, :2], ("a", "b"))
    assert summary["demographic_parity_difference"] == two["demographic_parity_difference"] == pytest.approx(0.1)
    assert summary["worst_group_accuracy"] == two["worst_group_accuracy"] == pytest.approx(0.7)


@settings(max_examples=30)
@given(st.integers(0, 2**32 - 1), st.integers(2, 4))
def test_auroc_equals_scikit_learns(seed, classes):
    generator = np.random.default_rng(seed)
    y = np.concatenate([np.arange(classes), generator.integers(0, classes, 50)])
    p = generator.dirichlet(np.ones(classes), len(y))
    scores = p[:, 1] if classes == 2 else p
    expected = sklearn.metrics.roc_auc_score(y, scores, multi_class="ovr")
    utility = metrics.utility(y, p)
    assert utility["auroc"] == pytest.approx(expected)
    assert utility["accuracy"] == pytest.approx(np.mean(p.argmax(1) == y))


def test_auroc_is_none_where_a_class_does_not_occur():
    assert metrics.utility([1, 1], [[0.2, 0.8], [0.6, 0.4]])["auroc"] is None


def test_the_worst_gap_names_the_groups_it_is_between():
    y, g = np.zeros(40, dtype=int), np.repeat([0, 1, 2, 3], 10)
    p = np.concatenate([np.arange(10) < many for many in (3, 9, 5, 1)]).astype(int)
    wide = metrics.fairness(metrics.confusion_counts(y, p, g, (2, 4)), ("a", "b", "c", "d"))
    narrow = metrics.fairness(metrics.confusion_counts(y, y, g % 2, (2, 2)), ("a", "b"))
    worst = metrics.worst_gap({"narrow": narrow, "wide": wide, "other": wide}, ("narrow", "wide"))
    assert worst == {
        "attribute": "wide",
        "demographic_parity_difference": pytest.approx(0.8),
        "highest": {"group": "b", "selection_rate": 0.9},
        "lowest": {"group": "d", "selection_rate": 0.1},
    }
    assert metrics.worst_gap({"narrow": narrow}, ()) is None


@pytest.mark.parametrize("groups", [2, 5])
def test_the_null_floor_is_the_gap_of_a_shuffled_attribute(groups: int) -> None:
    """The same mean as of shuffles of single records, for equalised odds inside each label; far below a planted gap."""
    generator = np.random.default_rng(1)
    y, g = (
        generator.integers(0, 2, 300),
        generator.choice(groups, 300, p=np.arange(1, groups + 1) / sum(range(groups + 1))),
    )
    p = (generator.random(300) < 0.2 + 0.3 * y + 0.4 * (g == 0)).astype(int)
    counts = metrics.confusion_counts(y, p, g, (2, groups))
    parity, odds = [], []
    for _ in range(2000):
        shuffled, inside = generator.permutation(g), g.copy()
        for label in (0, 1):
            inside[y == label] = generator.permutation(inside[y == label])
        parity.append(metrics.demographic_parity_difference(metrics.confusion_counts(y, p, shuffled, (2, groups))))
        odds.append(metrics.equalized_odds_difference(metrics.confusion_counts(y, p, inside, (2, groups))))
    floor = metrics.null_floor(counts)
    assert floor["demographic_parity_difference"] == pytest.approx(np.mean(parity), rel=0.1)
    assert floor["equalized_odds_difference"] == pytest.approx(np.mean(odds), rel=0.1)
    assert metrics.demographic_parity_difference(counts) > 2 * floor["demographic_parity_difference"]


def test_the_null_floor_falls_with_the_size_of_groups() -> None:
    counts = np.array([[[40, 40], [10, 10]], [[10, 10], [40, 40]]], dtype=float)
    small, large = (metrics.null_floor(times * counts)["demographic_parity_difference"] for times in (1, 100))
    assert small == pytest.approx(10 * large, rel=0.2)
    assert metrics.demographic_parity_difference(counts) == 0 < large < 0.01
