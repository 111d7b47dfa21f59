"""What releases come to by other ways than the program's: the composition written out, and a bound from attacks."""

from __future__ import annotations

import math
from collections.abc import Iterable

from scipy.stats import beta


def composed_mu(releases: Iterable[tuple[float, float]]) -> float:
    """The mu of one record from the (sensitivity, sigma) of every release that it took part in.

    mu^2 = sum (sensitivity / sigma)^2 (Dong, Roth and Su 2022, Corollary 3.3). It holds for queries chosen
    adaptively, and for sigmas chosen adaptively under a bound on mu fixed beforehand (Smith and Thakurta 2022).
    ``sigma`` 0 with a sensitivity is an exact release: mu is infinite. A release without sensitivity costs nothing.
    """
    squares = 0.0
    for sensitivity, sigma in releases:
        if sensitivity > 0:
            squares += (sensitivity / sigma) ** 2 if sigma > 0 else math.inf
    return math.sqrt(squares)


def epsilon_lower_bound(hits: int, false_alarms: int, trials: int, delta: float, confidence: float = 0.95) -> float:
    """A lower bound on epsilon from an attack that says yes in ``hits`` of ``trials`` cases, wrongly ``false_alarms``.

    Any (epsilon, delta)-DP mechanism has hit rate <= exp(epsilon) * false-alarm rate + delta (Kairouz, Oh and Viswanath
    2015). Both rates are replaced by their Clopper-Pearson bounds, each at half of the error, so that the result
    exceeds the true epsilon with probability at most 1 - ``confidence``, provided that the attack was fixed before
    these trials.
    """
    error = (1 - confidence) / 2
    least_hits = float(beta.ppf(error, hits, trials - hits + 1)) if hits else 0.0
    most_alarms = 1.0
    if false_alarms < trials:
        most_alarms = float(beta.ppf(1 - error, false_alarms + 1, trials - false_alarms))
    return max(0.0, math.log((least_hits - delta) / most_alarms)) if least_hits > delta else 0.0
