"""Calibration of scores in bins: how often what was scored came true, by bin and group, from counts.

Bins are between quantiles of all scores, so that each has about as many records; their number is even, so that the
median is a border. A stratum of the counts is a bin with a label, odd where the score is above the median: selection
rates are counted from the same strata. Of a group in a bin the observed rate is that of positive labels among known
ones; its mean score is not counted, and lies within the bin as every score does. Intervals of all groups and bins of an
attribute hold together (Bonferroni). So a group is not calibrated there, beyond noise and sampling, where the interval
of its observed rate lies outside the bin.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from secure_fair.fairness.audit_table import estimate_tree, number
from secure_fair.fairness.audits import LABELS, AttributeAudit, Estimate, interval, ratio_of

FEWEST, MOST = 4, 20
Codes = NDArray[np.int64]


@dataclass(frozen=True)
class Bin:
    """A bin by the scores of all records in it: the lowest, the highest, their mean (NaN of none), and how many."""

    low: float
    high: float
    mean: float
    records: int


def bins_of(scores: NDArray[np.float64], count: int) -> tuple[Codes, list[Bin]]:
    """The bin of each score, int64 (n,), and all bins. Equal scores are in one, so that another may be empty."""
    borders = np.quantile(scores, np.arange(1, count) / count)
    borders[count // 2 - 1] = np.median(scores)
    places = np.searchsorted(borders, scores, side="left").astype(np.int64)
    inside = [scores[places == place] for place in range(count)]
    return places, [
        Bin(float(one.min()), float(one.max()), float(one.mean()), len(one))
        if len(one)
        else Bin(np.nan, np.nan, np.nan, 0)
        for one in inside
    ]


def strata_of(places: Codes, labels: Codes, count: int) -> tuple[Codes, int]:
    """The stratum of records by bin and label (``audits.LABELS``), and how many strata there are."""
    above = (places >= count // 2).astype(np.int64)
    return stratum(places - above * (count // 2), labels, above), len(LABELS) * count


def stratum(within: Codes | int, label: Codes | int, above: Codes | int) -> Any:
    """The number of a stratum: ``within`` counts the bins of either half."""
    return (within * len(LABELS) + label) * 2 + above


def observed(audit: AttributeAudit, count: int) -> list[list[Estimate]]:
    """The observed rate of each bin and group, of an audit whose strata are those of ``strata_of``."""
    half, times = count // 2, count
    found = []
    for place in range(count):
        above = int(place >= half)
        label = {name: stratum(place - above * half, code, above) for code, name in enumerate(LABELS)}
        hits, others = audit.counts[label["positive"]], audit.counts[label["negative"]]
        value = ratio_of(hits, hits + others)
        ends = [
            interval(hits, others, (1, 1), audit.sigma, audit.z(times), sampling=sampling) for sampling in (False, True)
        ]
        here, beyond = ([(float(low), float(high)) for low, high in zip(*both, strict=True)] for both in ends)
        found.append([Estimate(float(value[group]), here[group], beyond[group]) for group in range(len(audit.names))])
    return found


def calibration_table(audit: AttributeAudit, bins: Sequence[Bin]) -> list[dict[str, Any]]:
    """One entry per bin, JSON-ready: its scores, and of each group that takes part its observed rate and whether that
    fits the scores."""
    rows = []
    for one, estimates in zip(bins, observed(audit, len(bins)), strict=True):
        groups = [
            {"group": name, **estimate_tree(estimate), "calibrated": fits(one, estimate)}
            for name, estimate, included in zip(audit.names, estimates, audit.included, strict=True)
            if included
        ]
        low, high, mean = map(number, (one.low, one.high, one.mean))
        scores = {"low": low, "high": high, "mean": mean, "records": one.records}
        rows.append({"scores": scores, "groups": groups})
    return rows


def fits(one: Bin, estimate: Estimate) -> bool | None:
    """Whether some rate of the interval is a mean of scores in the bin; None where nothing is known."""
    if one.records == 0 or np.isnan(estimate.value):
        return None
    low, high = estimate.beyond
    return low <= one.high and high >= one.low
