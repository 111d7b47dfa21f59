"""The strongest attacker on an attribute by which one record was trained on with DP-SGD: it sees every noised sum.

Of the record's two possible gradients it is taken that they are as long as clipping leaves them and opposite, so that
each batch that the record is in, with probability q, tells N(1, s^2) from N(-1, s^2), and every other nothing: the pair
that dominates the substitution of a record under Poisson sampling (Zhu, Dong and Wang 2022). Who sees the last model
alone can do no better. Nothing is estimated: the law of the sum of all steps' log-likelihood ratios is computed.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import cache

import numpy as np
from scipy.special import ndtr, ndtri

_PLACES = 1 << 16  # of the noise, over which one step's ratio is taken
_CELLS = 1 << 18  # of a grid of ratios
_FAR = 9.0  # standard deviations beyond which a normal variable does not come


@dataclass(frozen=True)
class Batches:
    """Noised sums of ``steps`` batches, noise ``multiplier`` times the clipping norm, records drawn at ``rate``."""

    multiplier: float
    rate: float
    steps: int

    def area(self) -> float:
        """The area under the attacker's curve; the ratios under one value mirror those under the other."""
        if self.rate == 1:
            return float(ndtr(self.mu / math.sqrt(2)))
        cells = _cells(self, 2 * self.steps)
        middle = len(cells) // 2
        return float(cells[middle + 1 :].sum() + cells[middle] / 2)

    def hit_rate(self, alarms: float) -> float:
        """Its hit rate at this rate of false ``alarms``."""
        if self.rate == 1:
            return float(ndtr(self.mu + ndtri(alarms)))
        cells = _cells(self, self.steps)
        hits, false = np.cumsum(cells[::-1]), np.cumsum(cells)  # by the threshold, from high to low
        return float(np.interp(alarms, false, hits))

    @property
    def mu(self) -> float:
        """Mu of batches of everybody: as many Gaussian releases, of values that lie two clipping norms apart."""
        return 2 * math.sqrt(self.steps) / self.multiplier


@cache
def _cells(batches: Batches, steps: int) -> np.ndarray:
    """Probabilities (odd number) of the sum of so many steps' log-likelihood ratios, on a grid about 0."""
    s, q = batches.multiplier, batches.rate
    edge = 1 + _FAR * s
    places = np.linspace(-edge, edge, _PLACES)
    up, down = (np.log1p(q * np.expm1((sign * places - 0.5) / s**2)) for sign in (1, -1))
    masses = np.exp(-(places**2) / (2 * s**2) + up)
    masses /= masses.sum()
    ratios = up - down
    spread = math.sqrt(float((masses * ratios**2).sum()))
    reach = min(steps * ratios.max(), steps * float((masses * ratios).sum()) + 2 * _FAR * math.sqrt(steps) * spread)
    width = 2 * (reach + ratios.max()) / _CELLS
    one = np.bincount(np.rint(ratios / width).astype(np.int64) % _CELLS, masses, minlength=_CELLS)
    summed = np.fft.irfft(np.fft.rfft(one) ** steps, _CELLS)
    half = _CELLS // 2
    return np.clip(np.concatenate([summed[half + 1 :], summed[:half]]), 0.0, None)


def most_area(epsilon: float, delta: float) -> float:
    """The largest area that (epsilon, delta) for adding or removing a record allows about another value of it.

    Another value is one removal and one addition: (2 epsilon, delta (1 + e^epsilon)). Power at alarms a is then at most
    min(1, d + e^E a, 1 - e^-E (1 - d - a)) (Wasserman and Zhou 2010; Kairouz, Oh and Viswanath 2015).
    """
    twice, slack = 2 * epsilon, min(1.0, delta * (1 + math.exp(epsilon)))
    bend = (1 - slack) / (1 + math.exp(twice))  # where the two lines meet
    first = slack * bend + math.exp(twice) * bend**2 / 2
    rest, last = 1 - bend - slack, math.exp(-twice) * (1 - bend - slack) ** 2 / 2
    return first + rest - last + slack
