"""Utility and group fairness from counts: how many records of each label got each prediction in each group.

Every metric is computed from one array of counts of shape (labels, predictions, groups), exact or noised, so that
nothing about single records is needed. Names and definitions are fairlearn's. With two classes, class 1 is the
positive one. With more, every class in turn is the positive one against the rest, and the largest gap is taken.

One definition differs. Where a rate is 0/0, because a group has no record of a class, fairlearn counts it as 0, which
makes a gap out of nothing. Here such a rate is undefined: its group takes no part in that gap, and a gap that fewer
than two groups take part in is None. Where all rates are defined, all values equal fairlearn's.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

Counts = NDArray[np.float64]  # (labels, predictions, groups)


def confusion_counts(labels: ArrayLike, predictions: ArrayLike, groups: ArrayLike, shape: tuple[int, int]) -> Counts:
    """Counts (classes, classes, groups) of records by label, prediction and group; ``shape`` is (classes, groups).

    Raises ``ValueError`` where the three differ in length or a code lies outside its range.
    """
    y, p, g = (np.asarray(codes, dtype=np.int64).ravel() for codes in (labels, predictions, groups))
    classes, group_count = shape
    if not len(y) == len(p) == len(g):
        raise ValueError(
            f"{len(y)} labels, {len(p)} predictions and {len(g)} groups: there must be one of each a record"
        )
    for what, codes, bound in (("label", y, classes), ("prediction", p, classes), ("group", g, group_count)):
        if len(codes) and (codes.min() < 0 or codes.max() >= bound):
            raise ValueError(f"{what}s {codes.min()} to {codes.max()}: codes must lie between 0 and {bound - 1}")
    counts = np.zeros((classes, classes, group_count))
    np.add.at(counts, (y, p, g), 1)
    return counts


def clip_noised(counts: ArrayLike) -> Counts:
    """Noised counts made usable: noise can drive a small count below 0, and no count is negative."""
    return np.maximum(np.asarray(counts, dtype=np.float64), 0.0)


def accuracy(counts: Counts) -> float | None:
    """Fraction of records that got their label."""
    return _number(_rate(np.trace(counts).sum(), counts.sum()))


def balanced_accuracy(counts: Counts) -> float | None:
    """Mean over the classes that occur of the fraction of their records that got their label."""
    table = counts.sum(axis=2)
    recall = _rate(np.diagonal(table), table.sum(axis=1))
    return None if np.isnan(recall).all() else float(np.nanmean(recall))


def at_chance(balanced: float, classes: int) -> bool:
    """Whether a balanced accuracy is (within 0.01) what a classifier has that says the same of everybody."""
    return balanced <= 1 / classes + 0.01


def selection_rate(counts: Counts, minimum: float = 0.0) -> NDArray[np.float64]:
    """Fraction of each group that is predicted to be of each class: (classes, groups), NaN where undefined.

    A rate with a denominator below ``minimum`` counts as undefined, here and in every function below: with noised
    counts that suppresses cells too small to say anything, after the noise, so that it opens nothing.
    """
    return _rate(counts.sum(axis=0), counts.sum(axis=(0, 1)), minimum)


def true_positive_rate(counts: Counts, minimum: float = 0.0) -> NDArray[np.float64]:
    """For each class as the positive one, the fraction of its records predicted to be of it: (classes, groups)."""
    return _rate(np.diagonal(counts).T, counts.sum(axis=1), minimum)


def false_positive_rate(counts: Counts, minimum: float = 0.0) -> NDArray[np.float64]:
    """For each class as the positive one, the fraction of other records predicted to be of it: (classes, groups)."""
    hits = np.diagonal(counts).T
    return _rate(counts.sum(axis=0) - hits, counts.sum(axis=(0, 1)) - counts.sum(axis=1), minimum)


def demographic_parity_difference(counts: Counts, minimum: float = 0.0) -> float | None:
    """Largest difference between two groups' selection rates."""
    return _gap(selection_rate(counts, minimum))


def true_positive_rate_difference(counts: Counts, minimum: float = 0.0) -> float | None:
    """Largest difference between two groups' true-positive rates (equal opportunity)."""
    return _gap(true_positive_rate(counts, minimum))


def false_positive_rate_difference(counts: Counts, minimum: float = 0.0) -> float | None:
    """Largest difference between two groups' false-positive rates."""
    return _gap(false_positive_rate(counts, minimum))


def equalized_odds_difference(counts: Counts, minimum: float = 0.0) -> float | None:
    """The larger of the true- and the false-positive-rate difference; None where either is undefined."""
    gaps = (true_positive_rate_difference(counts, minimum), false_positive_rate_difference(counts, minimum))
    return None if gaps[0] is None or gaps[1] is None else max(gaps[0], gaps[1])


def group_accuracy(counts: Counts, minimum: float = 0.0) -> NDArray[np.float64]:
    """Accuracy inside each group: (groups,), NaN where undefined."""
    return _rate(np.trace(counts), counts.sum(axis=(0, 1)), minimum)


def worst_group_accuracy(counts: Counts, minimum: float = 0.0) -> float | None:
    """Accuracy of the group that fares worst."""
    rates = group_accuracy(counts, minimum)
    return None if np.isnan(rates).all() else float(np.nanmin(rates))


def group_table(counts: Counts, names: tuple[str, ...], minimum: float = 0.0) -> dict[str, dict[str, Any]]:
    """Per group: records, accuracy and the three rates, as lists over the classes where there are more than two."""
    rates = {
        "selection_rate": selection_rate(counts, minimum),
        "true_positive_rate": true_positive_rate(counts, minimum),
        "false_positive_rate": false_positive_rate(counts, minimum),
    }
    sizes = counts.sum(axis=(0, 1))
    right = group_accuracy(counts, minimum)
    binary = counts.shape[0] == 2
    table: dict[str, dict[str, Any]] = {}
    for group, name in enumerate(names):
        row: dict[str, Any] = {"records": float(sizes[group]) if sizes[group] >= minimum else None}
        row["accuracy"] = _number(right[group])
        for rate, values in rates.items():
            column = [_number(value) for value in values[:, group]]
            row[rate] = column[1] if binary else column
        table[name] = row
    return table


def fairness(counts: Counts, names: tuple[str, ...], minimum: float = 0.0) -> dict[str, Any]:
    """All gaps, the worst group's accuracy and the table of groups: one attribute's entry in a run's summary.

    ``counts`` (classes, classes, groups) is exact, or noised and clipped; ``names`` are the groups'. Values are plain
    numbers or None.
    """
    if counts.ndim != 3 or counts.shape[0] != counts.shape[1] or counts.shape[2] != len(names):
        raise ValueError(f"counts of shape {counts.shape}: expected (classes, classes, {len(names)})")
    return {
        "demographic_parity_difference": demographic_parity_difference(counts, minimum),
        "equalized_odds_difference": equalized_odds_difference(counts, minimum),
        "true_positive_rate_difference": true_positive_rate_difference(counts, minimum),
        "false_positive_rate_difference": false_positive_rate_difference(counts, minimum),
        "worst_group_accuracy": worst_group_accuracy(counts, minimum),
        "groups": group_table(counts, names, minimum),
    }


def null_floor(counts: Counts, minimum: float = 0.0, draws: int = 400) -> dict[str, float | None]:
    """Mean gaps of these predictions when the attribute is shuffled: what groups of these sizes show by chance.

    Records keep their labels and predictions; the groups are dealt anew, for equalised odds within each label. A gap
    below its floor says nothing, and one above it is that much larger than no difference at all. ``counts`` are exact.
    The draws are from a fixed seed: they protect nobody.
    """
    generator = np.random.default_rng(0)
    whole = np.rint(counts).astype(np.int64)
    dealt = {"demographic_parity_difference": [whole.sum(axis=0)[None]] * draws}
    dealt["equalized_odds_difference"] = [whole] * draws
    found: dict[str, float | None] = {}
    for name, tables in dealt.items():
        metric = demographic_parity_difference if name.startswith("demographic") else equalized_odds_difference
        gaps = [metric(np.stack([_deal(label, generator) for label in table]), minimum) for table in tables]
        known = [gap for gap in gaps if gap is not None]
        found[name] = float(np.mean(known)) if known else None
    return found


def _deal(table: NDArray[np.int64], generator: np.random.Generator) -> Counts:
    """A table (predictions, groups) of the same margins, with groups dealt out at random."""
    left, rows = table.sum(axis=0), []
    for row in table:
        rows.append(generator.multivariate_hypergeometric(left, int(row.sum())))
        left = left - rows[-1]
    return np.array(rows, dtype=np.float64)


def worst_gap(fairness_by: Mapping[str, Mapping[str, Any]], names: Sequence[str]) -> dict[str, Any] | None:
    """The largest demographic-parity difference among the entries (``fairness``) of ``names``, and between whom it is.

    ``highest`` and ``lowest`` name a group and its selection rate; they are absent for more than two classes. None
    where no entry has a gap.
    """
    gaps = {name: fairness_by[name]["demographic_parity_difference"] for name in names if name in fairness_by}
    known = {name: gap for name, gap in gaps.items() if gap is not None}
    if not known:
        return None
    worst = max(known, key=lambda name: known[name])
    found: dict[str, Any] = {"attribute": worst, "demographic_parity_difference": known[worst]}
    groups = fairness_by[worst]["groups"]
    rates = {name: row["selection_rate"] for name, row in groups.items() if isinstance(row["selection_rate"], float)}
    if rates:
        for key, choose in (("highest", max), ("lowest", min)):
            group = choose(rates, key=lambda name: rates[name])
            found[key] = {"group": group, "selection_rate": rates[group]}
    return found


def utility(labels: ArrayLike, probabilities: ArrayLike) -> dict[str, float | None]:
    """Accuracy, balanced accuracy and area under the ROC curve: a run's ``utility``.

    ``labels`` (n,) are class codes, ``probabilities`` (n, classes). With more than two classes the area is the mean
    over the classes, each against the rest. It is None where a class does not occur.
    """
    y, p = np.asarray(labels, dtype=np.int64), np.asarray(probabilities, dtype=np.float64)
    classes = p.shape[1]
    counts = confusion_counts(y, p.argmax(axis=1), np.zeros(len(y), np.int64), (classes, 1))
    return {"accuracy": accuracy(counts), "balanced_accuracy": balanced_accuracy(counts), "auroc": auroc(y, p)}


def auroc(labels: NDArray[np.int64], probabilities: NDArray[np.float64]) -> float | None:
    """Area under the ROC curve, one-vs-rest mean with more than two classes; None where a class does not occur."""
    classes = probabilities.shape[1]
    if len(np.unique(labels)) < classes:
        return None
    one_vs_rest = range(1, 2) if classes == 2 else range(classes)
    return float(np.mean([_area(labels == c, probabilities[:, c]) for c in one_vs_rest]))


def _area(positive: NDArray[np.bool_], scores: NDArray[np.float64]) -> float:
    """How often a positive record's score is above another's, ties by half: the Mann-Whitney statistic."""
    from scipy.stats import mannwhitneyu

    above = mannwhitneyu(scores[positive], scores[~positive], method="asymptotic").statistic
    return float(above / (positive.sum() * (~positive).sum()))


def _rate(part: ArrayLike, whole: ArrayLike, minimum: float = 0.0) -> NDArray[np.float64]:
    """``part / whole`` with NaN where ``whole`` is 0 or below ``minimum``; ``whole`` is broadcast over the rows."""
    part, whole = np.broadcast_arrays(np.asarray(part, dtype=np.float64), np.asarray(whole, dtype=np.float64))
    defined = (whole > 0) & (whole >= minimum)
    # differences of sums of noised counts can leave [0, 1] by a rounding error
    return np.clip(np.divide(part, whole, out=np.full(part.shape, np.nan), where=defined), 0.0, 1.0)


def _gap(rates: NDArray[np.float64]) -> float | None:
    """Largest difference between two groups (columns) in any row that two groups take part in.

    With two classes the two rows hold the same comparison for the selection rate, but the true-positive rate of class
    0 is the true-negative rate: there only class 1 is the positive one.
    """
    rows = rates[1:] if len(rates) == 2 else rates
    gaps = [float(known.max() - known.min()) for row in rows if len(known := row[~np.isnan(row)]) >= 2]
    return max(gaps) if gaps else None


def _number(value: ArrayLike) -> float | None:
    number = float(np.asarray(value))
    return None if np.isnan(number) else number
