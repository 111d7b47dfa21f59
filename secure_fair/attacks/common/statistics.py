"""What an attack's scores prove: lower bounds on the mu and the epsilon of a release, and intervals of what was won.

The trials are split at random. The first half chooses the threshold, the second is judged by it, so that the bounds are
formal: each exceeds the truth with a probability of at most 1 less its confidence, whatever the attack is. They are
for trials of one release each, independent given the attributes, half of which are of either value.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from scipy.special import ndtri
from scipy.stats import beta

CONFIDENCE = 0.95  # of every bound and interval that is told
STRICT = 0.999  # of the bounds that a verdict rests on: many are judged in one review, and right ones should pass
_THRESHOLDS = 200


def clopper_pearson(hits: int, trials: int, confidence: float = CONFIDENCE) -> tuple[float, float]:
    """The two-sided interval of a probability that was met ``hits`` times in ``trials`` (Clopper and Pearson 1934)."""
    error = (1 - confidence) / 2
    low = float(beta.ppf(error, hits, trials - hits + 1)) if hits else 0.0
    high = float(beta.ppf(1 - error, hits + 1, trials - hits)) if hits < trials else 1.0
    return low, high


@dataclass(frozen=True)
class Rates:
    """An attack that says yes in ``hits`` of ``positives`` trials, and wrongly in ``alarms`` of ``negatives``.

    Fixed before these trials. Both rates are replaced by the ends of intervals at half of the error each.
    """

    hits: int
    positives: int
    alarms: int
    negatives: int

    def ends(self, confidence: float) -> tuple[float, float]:
        """The least hit rate and the most false alarms: both hold with this confidence."""
        least, _ = clopper_pearson(self.hits, self.positives, confidence)
        _, most = clopper_pearson(self.alarms, self.negatives, confidence)
        return least, most

    def mu(self, confidence: float = CONFIDENCE) -> float:
        """A lower bound on mu of Gaussian DP: hit rate <= Phi(Phi^-1(false alarms) + mu) (Dong, Roth, Su 2022, 2.6)."""
        least, most = self.ends(confidence)
        if least <= most or most >= 1.0 or least <= 0.0:
            return 0.0
        return float(ndtri(least) - ndtri(most))

    def epsilon(self, delta: float, confidence: float = CONFIDENCE) -> float:
        """A lower bound on epsilon: hit rate <= exp(epsilon) false alarms + delta (Kairouz, Oh and Viswanath 2015)."""
        least, most = self.ends(confidence)
        return max(0.0, math.log((least - delta) / most)) if least > delta else 0.0


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

    def rates_for_mu(self) -> Rates:
        """The second half by the threshold that proves most of mu on the first."""
        return self._judged(max(self._candidates(), key=lambda value: self._practised(value).mu()))

    def rates_for_epsilon(self, delta: float) -> Rates:
        """The second half by the threshold that proves most of epsilon on the first."""
        return self._judged(max(self._candidates(), key=lambda value: self._practised(value).epsilon(delta)))

    def guesses(self) -> tuple[int, int]:
        """How many of the second half are guessed right by the first half's best threshold, and of how many."""
        best = max(self._candidates(), key=lambda value: _right(self._practised(value)))
        judged = self._judged(best)
        return _right(judged), judged.positives + judged.negatives

    def hit_rate(self, alarms: float = 0.01) -> float:
        """The hit rate on the second half at the threshold that lets so many ``alarms`` through on the first."""
        first, _ = _halves(self.negative)
        allowed = np.nextafter(np.quantile(first, 1 - alarms, method="higher"), np.inf)
        judged = self._judged(float(allowed))
        return judged.hits / judged.positives

    def _candidates(self) -> np.ndarray:
        first = np.concatenate([_halves(self.positive)[0], _halves(self.negative)[0]])
        return np.unique(np.quantile(first, np.linspace(0.0005, 0.9995, _THRESHOLDS), method="lower"))

    def _practised(self, threshold: float) -> Rates:
        return _counted(_halves(self.positive)[0], _halves(self.negative)[0], threshold)

    def _judged(self, threshold: float) -> Rates:
        return _counted(_halves(self.positive)[1], _halves(self.negative)[1], threshold)


def _halves(values: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    return values[: len(values) // 2], values[len(values) // 2 :]


def _counted(positive: np.ndarray, negative: np.ndarray, threshold: float) -> Rates:
    hits, alarms = int((positive >= threshold).sum()), int((negative >= threshold).sum())
    return Rates(hits, len(positive), alarms, len(negative))


def _right(rates: Rates) -> int:
    return rates.hits + rates.negatives - rates.alarms
