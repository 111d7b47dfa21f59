"""What releases come to by another way than the program's: the composition written out."""

from __future__ import annotations

import math
from collections.abc import Iterable


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
