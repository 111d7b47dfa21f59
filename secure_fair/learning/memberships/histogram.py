"""Soft memberships from counts of each group in cells of all records, released once an epoch.

The developer knows pictures, labels and predictions; the groups alone are secret. So a histogram of groups by
predicted class, as RaCO-DP has one for every minibatch (arXiv 2505.22703), is one moment whose query has a 1 in each
row; asked of all records once an epoch it is of as many records as all of an epoch's minibatches, against the noise
of one of them. Predicted classes alone do not tell people apart of whom the same is predicted; so they are divided
further, by what the features say.
"""

from __future__ import annotations

import torch
from torch import Tensor

from secure_fair.learning.memberships.moments import MomentSource
from secure_fair.operations.group_counts import indicators

FLAT = 1e-9  # of the largest variance: a component of less is none


class HistogramSource(MomentSource):
    """One histogram an epoch; the cells of successive epochs lie along other components of the features.

    With as many cells as there are classes they are the predicted classes, where each of them is predicted.
    """

    release = "histogram"

    def query(self, features: Tensor, probabilities: Tensor, columns: int) -> Tensor:
        """Indicators (n, S * columns) of the cells: ``columns`` of them in each stratum."""
        asked = max(map(len, self.answers.values()), default=0)
        codes = torch.empty(len(features), dtype=torch.int64)
        for stratum in range(self.count):
            inside = torch.nonzero(self.strata == stratum).flatten()
            if len(inside):
                predicted = probabilities[inside].argmax(1)
                codes[inside] = stratum * columns + cells(features[inside].double(), predicted, columns, asked)
        return indicators(codes, self.count * columns)


def cells(features: Tensor, predicted: Tensor, count: int, turn: int = 0) -> Tensor:
    """The cell (n,) of each record, in [0, ``count``): predicted classes, divided at quantiles of the features.

    ``features`` (n, d), ``predicted`` (n,) int64. Each division is along the next principal component, and every
    ``turn`` begins with components of its own, in a circle. Where more classes are predicted than there are cells, the
    rarest share one.
    """
    sizes = torch.bincount(predicted)
    ranked = sizes.argsort(descending=True, stable=True).argsort()[predicted]  # 0: predicted most often
    parts = [torch.nonzero(ranked.clamp(max=count - 1) == rank).flatten() for rank in range(count)]
    parts = [part for part in parts if len(part)]
    scores = _principal(features)
    codes, used = torch.empty(len(features), dtype=torch.int64), 0
    for part, share in zip(parts, _apportioned([len(part) for part in parts], count), strict=True):
        for cell in _divided(scores, part, share, turn * (count - 1).bit_length()):
            codes[cell] = used
            used += 1
    return codes


def _principal(features: Tensor) -> Tensor:
    """Scores (n, r) along the principal components that features vary in: others would be divided by rounding."""
    centred = features - features.mean(0)
    _, variances, directions = torch.linalg.svd(centred.T @ centred / len(features))
    rank = max(1, int((variances > FLAT * variances[0]).sum()))
    return centred @ directions[:rank].T


def _apportioned(sizes: list[int], count: int) -> list[int]:
    """How many of ``count`` cells each part gets: one, and the next to whichever has most records for each of its."""
    shares = [1] * len(sizes)
    for _ in range(count - len(sizes)):
        most = max(range(len(sizes)), key=lambda part: sizes[part] / shares[part])
        shares[most] += 1
    return shares


def _divided(scores: Tensor, inside: Tensor, count: int, component: int) -> list[Tensor]:
    """The records ``inside`` in ``count`` cells of about one size, halved along one component after the other."""
    if count == 1:
        return [inside]
    lower = count // 2
    ordered = inside[scores[inside, component % scores.shape[1]].argsort(stable=True)]
    at = len(inside) * lower // count
    halves = (ordered[:at], lower), (ordered[at:], count - lower)
    return [cell for half, share in halves for cell in _divided(scores, half, share, component + 1)]
