"""Intervals of metrics for the draw of test records: what another draw of the same size could have shown.

Rates have Wilson's score interval, differences and means of independent rates the square-and-add interval made of them
(Newcombe 1998, Statistics in Medicine 17(8), method 10; Zou and Donner 2008 call it MOVER). A gap is the largest
difference of all pairs of groups, so that its intervals hold for all pairs at once (Bonferroni): it lies between the
largest lower and the largest upper end, and from 0 where no pair differs for certain. They hold at least as often as
``LEVEL`` says. Training once more, with another seed or other noise, moves a metric as well: that is not in them.
"""

from __future__ import annotations

import itertools
import math

import numpy as np
from numpy.typing import NDArray
from scipy.special import ndtri

from secure_fair.fairness.metrics import Counts

LEVEL = 0.95
Interval = list[float]
_Rates = tuple[NDArray[np.float64], NDArray[np.float64]]  # hits and records, (groups,)


def utility_intervals(counts: Counts) -> dict[str, Interval | None]:
    """Intervals of accuracy and balanced accuracy from exact ``counts`` (classes, classes, groups)."""
    table = counts.sum(axis=2)
    hits, records = np.diagonal(table), table.sum(axis=1)
    there = records > 0
    return {
        "accuracy": _first(wilson(hits.sum()[None], records.sum()[None], LEVEL)) if there.any() else None,
        "balanced_accuracy": _mean(hits[there], records[there]) if there.any() else None,
    }


def gap_intervals(counts: Counts, minimum: float = 0.0) -> dict[str, Interval | None]:
    """Intervals of an attribute's gaps and of its worst group's accuracy, by the metrics' names, from exact ``counts``.

    Rates of fewer than ``minimum`` records take no part, as in the metrics; None where a metric is undefined.
    """
    hits = np.diagonal(counts).T  # (classes, groups)
    chosen, labelled, everybody = counts.sum(axis=0), counts.sum(axis=1), counts.sum(axis=(0, 1))
    classes = range(1, 2) if len(counts) == 2 else range(len(counts))  # of two, one is the other's complement
    selected = [(chosen[k], everybody) for k in classes]
    true_positive = [(hits[k], labelled[k]) for k in range(len(counts))]
    false_positive = [(chosen[k] - hits[k], everybody - labelled[k]) for k in range(len(counts))]
    if len(counts) == 2:
        true_positive, false_positive = true_positive[1:], false_positive[1:]
    return {
        "demographic_parity_difference": _widest(selected, minimum),
        "equalized_odds_difference": _widest([*true_positive, *false_positive], minimum),
        "true_positive_rate_difference": _widest(true_positive, minimum),
        "false_positive_rate_difference": _widest(false_positive, minimum),
        "worst_group_accuracy": _lowest((np.trace(counts), everybody), minimum),
    }


def group_intervals(counts: Counts, names: tuple[str, ...], minimum: float = 0.0) -> dict[str, dict[str, Interval]]:
    """Intervals of each group's rates by the names that ``group_table`` has, each for itself, of a task of two classes,
    from exact ``counts`` (2, 2, groups); {} for more classes. Undefined rates have none."""
    if len(counts) != 2:
        return {name: {} for name in names}
    everybody, positive = counts.sum(axis=(0, 1)), counts[1].sum(axis=0)
    families = {
        "accuracy": (np.trace(counts), everybody),
        "selection_rate": (counts[:, 1].sum(axis=0), everybody),
        "true_positive_rate": (counts[1, 1], positive),
        "false_positive_rate": (counts[0, 1], everybody - positive),
    }
    return {
        name: {
            rate: _first(wilson(hits[group][None], records[group][None], LEVEL))
            for rate, (hits, records) in families.items()
            if records[group] >= max(minimum, 1)
        }
        for group, name in enumerate(names)
    }


def wilson(hits: NDArray[np.float64], records: NDArray[np.float64], level: float) -> NDArray[np.float64]:
    """Wilson's score interval of each rate: (2, n), lower and upper ends; rounding does not put a rate beyond them."""
    z = float(ndtri((1 + level) / 2))
    rate, spread = hits / records, z * z / records
    middle = (rate + spread / 2) / (1 + spread)
    half = np.sqrt(spread * (rate * (1 - rate) + spread / 4)) / (1 + spread)
    return np.stack([np.clip(middle - half, 0, rate), np.clip(middle + half, rate, 1)])


def difference(one: tuple[float, float], other: tuple[float, float], level: float) -> tuple[float, float]:
    """The interval of the first rate less the second, each given as hits and records."""
    hits, records = np.array([one, other], dtype=np.float64).T
    (a, b), (low, high) = hits / records, wilson(hits, records, level)
    return a - b - math.hypot(a - low[0], high[1] - b), a - b + math.hypot(high[0] - a, b - low[1])


def _mean(hits: NDArray[np.float64], records: NDArray[np.float64]) -> Interval:
    rates, (low, high) = hits / records, wilson(hits, records, LEVEL)
    middle, n = float(rates.mean()), len(rates)
    return [middle - float(np.linalg.norm(rates - low)) / n, middle + float(np.linalg.norm(high - rates)) / n]


def _widest(families: list[_Rates], minimum: float) -> Interval | None:
    """The interval of the largest difference between two groups in any of these families of rates."""
    pairs = []
    for hits, records in families:
        there = np.flatnonzero(records >= max(minimum, 1))
        if len(there) < 2:
            return None
        pairs += [((hits[i], records[i]), (hits[j], records[j])) for i, j in itertools.combinations(there, 2)]
    ends = [difference(one, other, 1 - (1 - LEVEL) / len(pairs)) for one, other in pairs]
    return [max(0.0, *(max(low, -high) for low, high in ends)), max(max(-low, high) for low, high in ends)]


def _lowest(family: _Rates, minimum: float) -> Interval | None:
    hits, records = family
    there = records >= max(minimum, 1)
    if not there.any():
        return None
    ends = wilson(hits[there], records[there], 1 - (1 - LEVEL) / int(there.sum()))
    return [float(ends[0].min()), float(ends[1].min())]


def _first(ends: NDArray[np.float64]) -> Interval:
    return [float(ends[0, 0]), float(ends[1, 0])]
