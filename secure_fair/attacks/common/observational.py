"""Observational audits: whoever saw what was released tells the true attribute from one drawn anew from a proxy.

The proxy is what the developer knows anyway: the probability of the attribute given the picture. Where both values
differ either is as likely as the other, however skewed the attribute is: what the proxy tells (P2) cancels, and what is
left is what the release tells of this person (P1). Nothing is planted and nothing is trained again, so that it goes for
what a run has released (cf. arXiv 2511.14084, of labels).
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from secure_fair.attacks.common.statistics import Scores


@dataclass(frozen=True)
class Observed:
    """People with their ``attributes``, int64 (n,) 0 or 1, and the ``proxy``, the probability of 1 for each (n,)."""

    attributes: np.ndarray
    proxy: np.ndarray

    @classmethod
    def drawn(cls, count: int, generator: np.random.Generator) -> Observed:
        """People of whom the proxy says a good deal, and whose attribute is skewed."""
        proxy = 1 / (1 + np.exp(-(generator.normal(size=count) * 1.5 - 0.5)))
        return cls((generator.random(count) < proxy).astype(np.int64), proxy)

    def scores(self, ratios: np.ndarray, generator: np.random.Generator) -> Scores:
        """Scores of those whose resampled value differs; ``ratios`` (n,) of the likelihoods of 1 and 0."""
        resampled = generator.random(len(self.proxy)) < self.proxy
        differs = resampled != self.attributes
        return Scores.of(ratios[differs], self.attributes[differs], generator)
