"""Audits from counts of records by stratum and group, exact or noised: rates, ratios, differences, and their intervals.

Names and definitions of differences and ratios are fairlearn's: largest less smallest rate, smallest over largest. The
impact ratio of a group is its selection rate over the highest; the standard deviations are those of the two-sample
statistic of the US Equal Employment Opportunity Commission, with the pooled rate, against the group of that rate.

**Intervals.** A rate is p = k / n with k hits among n records, each the sum of counts of which every one has noise of
the same sigma, independent within a group. Then the hits less p times all have the variance

    v(p) = n p (1 - p) + sigma^2 (h (1 - p)^2 + r p^2)

(h, r: how many counts make up the hits and the others), and the interval is every p with (k - p n)^2 <= z^2 v(p): for
sigma 0 that of Wilson (J. Am. Stat. Assoc. 22, 1927), without the first term that of Fieller (J. R. Stat. Soc. B 16,
1954) for the audited people alone. The first is about people *like these*, the second about *these*. Where noise leaves
n open it is [0, 1]. Intervals of several groups hold together (Bonferroni), so that whatever is made from them, the
highest rate among it, holds as well.

**Who takes part** is a matter of sizes, which have noise too, and which group is highest one of rates. Where noise
leaves either open, an interval is for whichever it is: a group that may be too small for a ratio may take part all the
same, and the one that is selected most may be any whose rate may be the highest.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray
from scipy.special import ndtri

Array = NDArray[np.float64]

LEVEL = 0.95
SIZES = 0.99  # the level at which the sizes of all groups hold together, where they say who takes part
LABELS = ("negative", "positive", "unknown")  # a stratum is label times 2 plus the decision
SELECTION = "selection rate"


@dataclass(frozen=True)
class Rate:
    """A rate by the strata of its hits and those of the other records that it is about."""

    hits: tuple[int, ...]
    others: tuple[int, ...]


LABELLED = {
    "accuracy": Rate((0, 3), (1, 2)),
    "true positive rate": Rate((3,), (2,)),
    "false positive rate": Rate((1,), (0,)),
    "false negative rate": Rate((2,), (3,)),
    "positive predictive value": Rate((3,), (1,)),
}
EQUALIZED = ("true positive rate", "false positive rate")


@dataclass(frozen=True)
class Estimate:
    """A number, with its interval for these people and for people like them. NaN is undefined."""

    value: float
    here: tuple[float, float]
    beyond: tuple[float, float]


UNDEFINED = Estimate(np.nan, (np.nan, np.nan), (np.nan, np.nan))


@dataclass(frozen=True)
class Rates:
    """One rate of every group, (G,): estimates, lower and upper ends."""

    value: Array
    low: Array
    high: Array


@dataclass(frozen=True)
class AttributeAudit:
    """Counts (strata, G) of one attribute with noise of ``sigma`` on each, and the groups' ``names``.

    Two strata are not selected and selected; four or six are by label too, as in ``LABELS``; more are bins of scores by
    label (``calibration``), odd where they are selected. ``known``: bool (G,), groups that are one; the others are
    counted alone. Groups below ``smallest`` of all records are left out of ratios and differences. ``total``: records,
    which the developer knows exactly. ``sampled``: they were drawn, and who was not is a group of its own that is left
    out here, so that every group here has noise of its own.
    """

    counts: Array
    sigma: float
    names: tuple[str, ...]
    known: tuple[bool, ...]
    total: int
    smallest: float = 0.02
    sampled: bool = False

    @property
    def opposite(self) -> bool:
        """Whether there are two groups, of which one is what the other leaves: they have one noise then."""
        return len(self.names) == 2 and not self.sampled

    @property
    def rates(self) -> dict[str, Rate]:
        """The rates that these strata have."""
        strata = range(len(self.counts))
        selection = Rate(tuple(s for s in strata if s % 2), tuple(s for s in strata if s % 2 == 0))
        return {SELECTION: selection, **(LABELLED if 2 < len(self.counts) <= 2 * len(LABELS) else {})}

    @cached_property
    def sizes(self) -> Array:
        """Records of each group, as far as the noise tells."""
        return np.asarray(self.counts.sum(axis=0), dtype=np.float64)

    @cached_property
    def included(self) -> NDArray[np.bool_]:
        """The groups that take part in ratios and differences."""
        return self._at_least(self.fewest)

    @cached_property
    def sure(self) -> NDArray[np.bool_]:
        """Those of them that are large enough whatever the noise is."""
        return self._at_least(self.fewest + self._margin)

    @cached_property
    def possible(self) -> NDArray[np.bool_]:
        """The groups that may take part, as far as the noise tells."""
        return self._at_least(self.fewest - self._margin)

    @property
    def fewest(self) -> float:
        """Records that a group must have to take part."""
        return max(self.smallest * self.total, 1)

    @property
    def _margin(self) -> float:
        """By how much noise may have moved the size of a group; of many groups none by more, at the level ``SIZES``."""
        quantile = -float(ndtri((1 - SIZES) / max(sum(self.known), 1)))
        return quantile * self.sigma * float(np.sqrt(len(self.counts)))

    def _at_least(self, records: float) -> NDArray[np.bool_]:
        return np.asarray(np.array(self.known) & (self.sizes >= records), dtype=bool)

    def reason(self, group: int) -> str:
        """Why a group takes no part; empty where it does."""
        if not self.known[group]:
            return "unknown"
        return "" if self.included[group] else f"below {100 * self.smallest:g} % of the records"

    def z(self, times: int = 1) -> float:
        """The quantile with which two-sided intervals of all groups that may take part, of so many rates, hold
        together."""
        together = max(int(self.possible.sum()), 1) * times
        return -float(ndtri((1 - LEVEL) / 2 / together))

    def rate(self, name: str, *, sampling: bool, times: int = 1) -> Rates:
        """A rate of every group; ``sampling``: for people like these, else for these alone."""
        rate = self.rates[name]
        hits, others = (self.counts[list(strata)].sum(axis=0) for strata in (rate.hits, rate.others))
        low, high = interval(
            hits, others, (len(rate.hits), len(rate.others)), self.sigma, self.z(times), sampling=sampling
        )
        return Rates(ratio_of(hits, hits + others), low, high)

    # what is made of the rates of all groups that take part

    def both(self, name: str, made: str, times: int = 1) -> Estimate:
        """The ``made`` ("difference" or "ratio") of a rate between all groups that take part."""
        here, beyond = (self.rate(name, sampling=sampling, times=times) for sampling in (False, True))
        among = self.included if self.sigma else self.included & np.isfinite(here.value)
        value = BETWEEN[made](here, among)[0]
        if np.isnan(value):
            return UNDEFINED
        return Estimate(value, *(self._ends_between(made, rates, among) for rates in (here, beyond)))

    def _ends_between(self, made: str, rates: Rates, among: NDArray[np.bool_]) -> tuple[float, float]:
        """The ends of an interval, whichever groups take part: one more only makes it worse. ``among``: exactly those
        where there is no noise."""
        most, least = (self.possible, self.sure) if self.sigma else (among, among)
        (_, low, high), (_, sure_low, sure_high) = (BETWEEN[made](rates, groups) for groups in (most, least))
        if made == "difference":
            return 0.0 if np.isnan(sure_low) else sure_low, high
        return low, 1.0 if np.isnan(sure_high) else sure_high

    def equalized(self, made: str) -> Estimate:
        """The worse of the true and the false positive rate's."""
        found = [self.both(name, made, times=len(EQUALIZED)) for name in EQUALIZED]
        worse = max if made == "difference" else min
        if any(np.isnan(one.value) for one in found):
            return UNDEFINED
        here, beyond = ([getattr(one, which) for one in found] for which in ("here", "beyond"))
        value = worse(one.value for one in found)
        return Estimate(value, _ends(worse, here), _ends(worse, beyond))

    def impact_ratios(self) -> list[Estimate]:
        """Each group's selection rate over the highest of those that take part; undefined for the others."""
        sides = [self.rate(SELECTION, sampling=sampling) for sampling in (False, True)]
        return [self._impact(group, *sides) for group in range(len(self.names))]

    def _impact(self, group: int, here: Rates, beyond: Rates) -> Estimate:
        if not self.included[group]:
            return UNDEFINED
        value = float(ratio_of(here.value[group], _most(here.value[self.included])))
        sure = self._with(self.sure, group)
        ends = [
            (over(rates.low[group], _most(rates.high[self.possible])), over(rates.high[group], _most(rates.low[sure])))
            for rates in (here, beyond)
        ]
        return Estimate(value, *ends)

    @staticmethod
    def _with(groups: NDArray[np.bool_], group: int) -> NDArray[np.bool_]:
        """These groups and one more."""
        more = groups.copy()
        more[group] = True
        return more

    def standard_deviations(self) -> list[Estimate]:
        """By how many standard deviations each group is selected less than the group that is selected most.

        The statistic of the counts as they are; the noise is in the intervals, with the normal law that the statistic
        has in large samples.
        """
        rates = self.rate(SELECTION, sampling=False)
        if not self.included.any() or np.isnan(rates.value[self.included]).all():
            return [UNDEFINED] * len(self.names)
        best = self._best(rates)
        found = []
        for group in range(len(self.names)):
            pairs = [self._deviation(group, other, rates) for other in self._bests(rates)]
            one = self._deviation(group, best, rates) if self.included[group] else UNDEFINED
            here, beyond = ([getattr(pair, which) for pair in pairs] for which in ("here", "beyond"))
            found.append(UNDEFINED if np.isnan(one.value) else Estimate(one.value, _hull(here), _hull(beyond)))
        return found

    def largest_deviation(self) -> Estimate:
        """The largest of them, whichever groups take part, and whichever of them is selected most."""
        rates = self.rate(SELECTION, sampling=False)
        known = [one.value for one in self.standard_deviations() if not np.isnan(one.value)]
        if not known:
            return UNDEFINED
        here, beyond = (
            _hull([self._largest_of(best, rates, which) for best in self._bests(rates)]) for which in ("here", "beyond")
        )
        return Estimate(max(known), here, beyond)

    def _largest_of(self, best: int, rates: Rates, which: str) -> tuple[float, float]:
        """The ends of the largest deviation from this group, for it takes part."""
        lows, highs = (
            [getattr(self._deviation(int(group), best, rates), which)[end] for group in np.flatnonzero(groups)]
            for end, groups in enumerate((self._with(self.sure, best), self._with(self.possible, best)))
        )
        return float(np.nanmax(lows)), float(np.nanmax(highs))

    def _best(self, rates: Rates) -> int:
        """The group that is selected most, as it looks."""
        return int(np.where(self.included, np.nan_to_num(rates.value, nan=-1.0), -np.inf).argmax())

    def _bests(self, rates: Rates) -> list[int]:
        """The groups that may be the one that is selected most."""
        if not self.sigma:
            return [self._best(rates)]
        highest = float(rates.low[self._with(self.sure, self._best(rates))].max())
        return [int(group) for group in np.flatnonzero(self.possible & (rates.high >= highest))]

    def _deviation(self, group: int, best: int, rates: Rates) -> Estimate:
        """The statistic of two groups; between all that it can be where noise leaves a rate or a size open."""
        p, top = float(rates.value[group]), float(rates.value[best])
        n, m = float(self.sizes[group]), float(self.sizes[best])
        if group == best:
            error, noise, value = 1.0, 0.0, 0.0
        else:
            pooled = (p * n + top * m) / (n + m) if n + m > 0 else np.nan
            error = np.sqrt(pooled * (1 - pooled) * (1 / n + 1 / m)) if n > 0 and m > 0 and 0 < pooled < 1 else np.nan
            noise, value = self._noise_of_difference((p, n), (top, m)) / error, (top - p) / error
        open_ = (rates.low == 0) & (rates.high == 1)
        if self.sigma and group != best and (np.isnan(value) or open_[group] or open_[best]):
            most = float(np.sqrt(self.total))  # of nobody against everybody
            return Estimate(value, (-most, most), (-most, most))
        if np.isnan(value):
            return UNDEFINED
        here, beyond = (self.z() * spread for spread in (noise, np.hypot(1.0, noise)))
        return Estimate(value, (value - here, value + here), (value - beyond, value + beyond))

    def _noise_of_difference(self, *sides: tuple[float, float]) -> float:
        """The deviation, by noise, of a difference of two selection rates; with two groups both have the same noise."""
        rate = self.rates[SELECTION]
        h, r = len(rate.hits), len(rate.others)
        parts = [self.sigma * np.sqrt(h * (1 - p) ** 2 + r * p**2) / n for p, n in sides]
        return float(sum(parts) if self.opposite else np.hypot(*parts))


def interval(
    hits: Array, others: Array, counts: tuple[int, int], sigma: float, z: float, *, sampling: bool
) -> tuple[Array, Array]:
    """The ends of the interval of hits / (hits + others), as the file's docstring has it; arrays of any one shape.

    ``counts``: how many counts with noise make up each. With ``sampling`` half a record is added on both sides, the
    correction for continuity.
    """
    h, r = counts
    n = hits + others
    if not sampling and sigma == 0:
        exact = ratio_of(hits, n)
        return np.where(np.isnan(exact), 0.0, exact), np.where(np.isnan(exact), 1.0, exact)
    noise = (z * sigma) ** 2
    size = np.maximum(n, 0.0) * z**2 if sampling else np.zeros_like(n)
    a = n**2 + size - noise * (h + r)

    def root(k: Array, sign: int) -> Array:
        """One end; NaN where the set is no interval."""
        b = -2 * k * n - size + 2 * noise * h
        c = k**2 - noise * h
        inside = b**2 - 4 * a * c
        usable = (a > 0) & (inside >= 0) & (n > 0)
        safe = np.where(usable, a, 1.0)
        return np.where(usable, (-b + sign * np.sqrt(np.where(usable, inside, 0.0))) / (2 * safe), np.nan)

    half = 0.5 if sampling else 0.0
    low, high = root(hits - half, -1), root(hits + half, 1)
    low, high = np.where(np.isnan(low), 0.0, low), np.where(np.isnan(high), 1.0, high)
    nothing = (low > 1) | (high < 0)  # noise beyond everything possible
    return np.where(nothing, 0.0, np.clip(low, 0, 1)), np.where(nothing, 1.0, np.clip(high, 0, 1))


def ratio_of(part: Array | float, whole: Array | float) -> Array:
    """``part / whole`` in [0, 1]; NaN where ``whole`` is 0 or less. Noise can lift a part above its whole."""
    part, whole = np.broadcast_arrays(np.asarray(part, dtype=np.float64), np.asarray(whole, dtype=np.float64))
    return np.clip(np.divide(part, whole, out=np.full(part.shape, np.nan), where=whole > 0), 0.0, 1.0)


def over(low: float, high: float) -> float:
    """``low / high``, at most 1; 1 where both may be 0: then nothing is known."""
    return 1.0 if high <= 0 else min(1.0, float(low) / float(high))


def difference_between(rates: Rates, among: NDArray[np.bool_]) -> tuple[float, float, float]:
    """Largest less smallest rate, and the ends of its interval; NaN unless two groups have the rate."""
    low, high, value = (part[among] for part in (rates.low, rates.high, rates.value))
    if np.isfinite(value).sum() < 2:
        return np.nan, np.nan, np.nan
    return (
        float(np.nanmax(value) - np.nanmin(value)),
        max(0.0, float(low.max() - high.min())),
        float(high.max() - low.min()),
    )


def ratio_between(rates: Rates, among: NDArray[np.bool_]) -> tuple[float, float, float]:
    """Smallest over largest rate, and the ends of its interval; NaN unless two groups have the rate."""
    low, high, value = (part[among] for part in (rates.low, rates.high, rates.value))
    if np.isfinite(value).sum() < 2:
        return np.nan, np.nan, np.nan
    ratio = float(ratio_of(np.nanmin(value), np.nanmax(value)))
    return ratio, over(low.min(), high.max()), over(high.min(), low.max())


def _most(values: Array) -> float:
    return float(np.nanmax(values)) if np.isfinite(values).any() else np.nan


def _hull(pairs: Sequence[tuple[float, float]]) -> tuple[float, float]:
    """The smallest interval with all of these in it."""
    return min(low for low, _ in pairs), max(high for _, high in pairs)


def _ends(worse: object, pairs: Sequence[tuple[float, float]]) -> tuple[float, float]:
    choose = max if worse is max else min
    return choose(low for low, _ in pairs), choose(high for _, high in pairs)


def metrics(audit: AttributeAudit) -> dict[str, Estimate]:
    """Every metric between groups that these strata have, by its name; undefined ones (NaN) among them."""
    labelled = len(audit.rates) > 1
    return {name: metric(audit, name) for name, needs_labels in METRICS.items() if labelled or not needs_labels}


def metric(audit: AttributeAudit, name: str) -> Estimate:
    """One metric of ``METRICS``."""
    if name == "impact ratio":
        return audit.both(SELECTION, "ratio")
    if name == "standard deviations":
        return audit.largest_deviation()
    rate, made = name.rsplit(" ", 1)
    return audit.equalized(made) if rate == "equalized odds" else audit.both(rate, made)


BETWEEN = {"difference": difference_between, "ratio": ratio_between}
METRICS: Mapping[str, bool] = {
    "impact ratio": False,
    "standard deviations": False,
    **{f"{SELECTION} {made}": False for made in ("difference", "ratio")},
    **{f"{name} {made}": True for name in (*LABELLED, "equalized odds") for made in ("difference", "ratio")},
}
"""Names of all metrics, and whether they need labels."""
