"""The proof in an attack's scores: lower bounds on the mu and the epsilon of a release, and intervals of what was won.

The trials are split at random. The first half chooses the threshold, the second is judged by it, so that the bounds are
formal: each exceeds the truth with a probability of at most 1 less its confidence, whatever the attack is. They are
for trials of one release each, independent given the attributes, half of which are of either value.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, TypeAlias

import numpy as np
from scipy.special import ndtri
from scipy.stats import beta

CONFIDENCE = 0.95  # of every bound and interval that is told
STRICT = 0.9999  # of the bounds that a verdict rests on: those of a whole review then hold together with 99 %
_THRESHOLDS = 200

Counts: TypeAlias = Any  # int, or an array int64 of them


def clopper_pearson(hits: int, trials: int, confidence: float = CONFIDENCE) -> tuple[float, float]:
    """The two-sided interval of a probability that was met ``hits`` times in ``trials`` (Clopper and Pearson 1934)."""
    return float(_least(hits, trials, confidence)), float(_most(hits, trials, confidence))


def _least(hits: Counts, trials: int, confidence: float) -> np.ndarray:
    low = beta.ppf((1 - confidence) / 2, np.maximum(hits, 1), trials - np.asarray(hits) + 1)
    return np.where(np.asarray(hits) > 0, low, 0.0)


def _most(hits: Counts, trials: int, confidence: float) -> np.ndarray:
    high = beta.ppf((1 + confidence) / 2, np.asarray(hits) + 1, np.maximum(trials - np.asarray(hits), 1))
    return np.where(np.asarray(hits) < trials, high, 1.0)


@dataclass(frozen=True)
class HitRates:
    """An attack that says yes in ``hits`` of ``positives`` trials, and wrongly in ``alarms`` of ``negatives``.

    Fixed before these trials. Both rates are replaced by the ends of intervals at half of the error each. ``hits`` and
    ``alarms`` may be arrays, of several attacks.
    """

    hits: Counts
    positives: int
    alarms: Counts
    negatives: int

    def mu(self, confidence: float = CONFIDENCE) -> np.ndarray:
        """A lower bound on mu of Gaussian DP: hit rate <= Phi(Phi^-1(false alarms) + mu) (Dong, Roth, Su 2022, 2.6)."""
        least, most = self._ends(confidence)
        said = (least > most) & (least > 0) & (most < 1)
        return np.where(said, ndtri(np.where(said, least, 0.5)) - ndtri(np.where(said, most, 0.5)), 0.0)

    def epsilon(self, delta: float, confidence: float = CONFIDENCE) -> np.ndarray:
        """A lower bound on epsilon: hit rate <= exp(epsilon) false alarms + delta (Kairouz, Oh and Viswanath 2015)."""
        least, most = self._ends(confidence)
        return np.log(np.maximum((least - delta) / most, 1.0))

    def _ends(self, confidence: float) -> tuple[np.ndarray, np.ndarray]:
        """The least hit rate and the most false alarms: both hold with this confidence."""
        return _least(self.hits, self.positives, confidence), _most(self.alarms, self.negatives, confidence)

    @property
    def right(self) -> Counts:
        """Trials that are guessed right."""
        return self.hits + self.negatives - self.alarms


@dataclass(frozen=True)
class Scores:
    """Scores of an attack by the attribute that was there: ``positive`` (n,), ``negative`` (m,), float64.

    Larger ones speak for the attribute.
    """

    positive: np.ndarray
    negative: np.ndarray

    @classmethod
    def of(cls, scores: np.ndarray, truth: np.ndarray, generator: np.random.Generator) -> Scores:
        """Scores (n,) of records whose attribute is ``truth`` (n,), 0 or 1; ValueError below four of either."""
        positive, negative = scores[truth == 1], scores[truth == 0]
        if min(len(positive), len(negative)) < 4:
            raise ValueError(f"{len(positive)} and {len(negative)} trials: four of either value are needed")
        return cls(generator.permutation(positive), generator.permutation(negative))

    @property
    def trials(self) -> int:
        """All of them."""
        return len(self.positive) + len(self.negative)

    def area(self) -> float:
        """The area under the attack's receiver operating curve; a tie counts half."""
        order = np.sort(self.negative)
        below, upto = (np.searchsorted(order, self.positive, side=side) for side in ("left", "right"))
        return float((below + upto).mean() / (2 * len(order)))

    def rates_for_mu(self) -> HitRates:
        """The second half by the threshold that proves most of mu on the first."""
        candidates = self._candidates(0.05, 0.95)
        return self._judged(candidates[np.argmax(self._practised(candidates).mu(STRICT))])

    def rates_for_epsilon(self, delta: float) -> HitRates:
        """The second half by the threshold that proves most of epsilon on the first."""
        candidates = self._candidates(0.5, 0.9995)
        return self._judged(candidates[np.argmax(self._practised(candidates).epsilon(delta, STRICT))])

    def guesses(self) -> tuple[int, int]:
        """How many of the second half are guessed right by the first half's best threshold, and of how many."""
        candidates = self._candidates(0.05, 0.95)
        judged = self._judged(candidates[np.argmax(self._practised(candidates).right)])
        return int(judged.right), judged.positives + judged.negatives

    def hit_rate(self, alarms: float = 0.01) -> float:
        """The hit rate on the second half at the threshold that lets so many ``alarms`` through on the first."""
        first, _ = _halves(self.negative)
        allowed = np.nextafter(np.quantile(first, 1 - alarms, method="higher"), np.inf)
        judged = self._judged(allowed)
        return float(judged.hits / judged.positives)

    def curve(self, points: int = 40) -> list[tuple[float, float]]:
        """Hit rate against false alarms over all trials, as an attack does that knows the best threshold.

        Pairs (alarms, hits) from the strictest threshold to (1, 1), at false alarms that are spread over a logarithmic
        scale: at most so many.
        """
        negative, positive = np.sort(self.negative), np.sort(self.positive)
        wanted = np.unique(np.round(np.geomspace(1, len(negative), points)).astype(np.int64))
        thresholds = negative[len(negative) - wanted]
        alarms, hits = (
            1 - np.searchsorted(values, thresholds, side="left") / len(values) for values in (negative, positive)
        )
        pairs = {float(alarm): float(hit) for alarm, hit in zip(alarms, hits, strict=True)}
        return sorted({**pairs, 1.0: 1.0}.items())

    def _candidates(self, low: float, high: float) -> np.ndarray:
        """Thresholds between these quantiles of the first half."""
        first = np.concatenate([_halves(self.positive)[0], _halves(self.negative)[0]])
        return np.unique(np.quantile(first, np.linspace(low, high, _THRESHOLDS), method="lower"))

    def _practised(self, thresholds: np.ndarray) -> HitRates:
        return _counted(_halves(self.positive)[0], _halves(self.negative)[0], thresholds)

    def _judged(self, threshold: float) -> HitRates:
        return _counted(_halves(self.positive)[1], _halves(self.negative)[1], threshold)


def _halves(values: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    return values[: len(values) // 2], values[len(values) // 2 :]


def _counted(positive: np.ndarray, negative: np.ndarray, threshold: np.ndarray | float) -> HitRates:
    hits, alarms = (
        len(values) - np.searchsorted(np.sort(values), threshold, side="left") for values in (positive, negative)
    )
    return HitRates(hits, len(positive), alarms, len(negative))
