"""Claims about a metric, fixed before anybody has seen it: read from a line, decided from an audit with its noise.

A claim is about the audited people: what leaves it open is the noise alone. It passes, or fails, where the whole
interval of the metric lies on one side of the threshold; else it is not decidable, and the noise that would decide it
follows from the counts.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass, replace
from decimal import Decimal

import numpy as np

from secure_fair.fairness.audits import METRICS, AttributeAudit, Estimate, metric

_CLAIM = re.compile(r"(?P<metric>[a-z][a-z ]*?) by (?P<attribute>.+) (?P<comparator>>=|<=) (?P<threshold>\d+(\.\d+)?)")

PASS, FAIL, OPEN = "pass", "fail", "not decidable"
DECIDES = 0.8  # of draws of the noise, for a noise that is said to decide
DRAWS = 100
FINEST = 2.0**-12  # of the noise that is there: what this does not decide is on the threshold


@dataclass(frozen=True)
class Claim:
    """``metric`` by ``attribute`` at least (">=") or at most ("<=") the ``threshold``, a decimal number as text."""

    metric: str
    attribute: str
    comparator: str
    threshold: str

    @classmethod
    def parse(cls, text: str) -> Claim:
        """Read "impact ratio by sex >= 0.8". ValueError, with what can be claimed, for anything else."""
        match = _CLAIM.fullmatch(text.strip())
        if match is None:
            raise ValueError(f'{text!r} is no claim; write one like "impact ratio by sex >= 0.8"')
        if match["metric"] not in METRICS:
            raise ValueError(f"{text!r}: {match['metric']!r} is no metric; there are {', '.join(METRICS)}")
        return cls(match["metric"], match["attribute"].strip(), match["comparator"], match["threshold"])

    def __str__(self) -> str:
        return f"{self.metric} by {self.attribute} {self.comparator} {self.threshold}"

    @property
    def labelled(self) -> bool:
        """Whether the metric needs labels."""
        return METRICS[self.metric]

    def verdict(self, estimate: Estimate) -> str:
        """Decide it; an undefined metric is not decidable."""
        low, high = (round(end, 12) for end in estimate.here)
        threshold = float(Decimal(self.threshold))
        if np.isnan(estimate.value):
            return OPEN
        if self.comparator == ">=":
            return PASS if low >= threshold else FAIL if high < threshold else OPEN
        return PASS if high <= threshold else FAIL if low > threshold else OPEN


@dataclass(frozen=True)
class Verdict:
    """A claim, decided or not. ``finer``: where it is not, the part of the noise's sigma with which it would be; None
    where no noise is fine enough, or where the metric is undefined."""

    claim: Claim
    verdict: str
    finer: float | None = None


def decide(claim: Claim, audit: AttributeAudit) -> Verdict:
    """The verdict on a claim about this audit's attribute."""
    estimate = metric(audit, claim.metric)
    verdict = claim.verdict(estimate)
    if verdict != OPEN or np.isnan(estimate.value) or audit.sigma == 0:
        return Verdict(claim, verdict)
    return Verdict(claim, verdict, finer_noise(lambda other: claim.verdict(metric(other, claim.metric)), audit))


def finer_noise(verdict: Callable[[AttributeAudit], str], audit: AttributeAudit) -> float | None:
    """The part of the noise with which fresh draws would be decided in at least ``DECIDES`` of all cases.

    The counts stand for the truth. The draws are from a fixed seed, and the same for every part: they protect nobody.
    """
    truth = replace(audit, counts=np.maximum(audit.counts, 0.0), sigma=0.0)
    draws = np.random.default_rng(0).standard_normal((DRAWS, *truth.counts.shape))
    if truth.opposite:  # held as one column: the other is what is left
        draws[:, :, 1] = -draws[:, :, 0]

    def decides(part: float) -> bool:
        sigma = part * audit.sigma
        noised = (replace(truth, counts=truth.counts + sigma * draw, sigma=sigma) for draw in draws)
        return sum(verdict(one) != OPEN for one in noised) >= DECIDES * DRAWS

    low, high = FINEST, 1.0
    if not decides(low):
        return None
    for _ in range(9):  # to less than 2 %
        middle = float(np.sqrt(low * high))
        low, high = (middle, high) if decides(middle) else (low, middle)
    return low
