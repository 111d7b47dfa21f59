"""Gaps between groups as sums that are linear in the attribute, and their running means.

With p_i the predicted probability, pi_g the share of group g and a_ig the membership of record i, the distance of a
group's mean from the mean of all is d_g = (1/n) sum_i (a_ig - pi_g) (p_i - mean p) / pi_g. A penalty that is a square
of distances needs the memberships only through such sums: any estimate of a_ig - pi_g will do whose errors are
uncorrelated with p_i. The square of a noisy estimate is biased by the variance of its noise, which collapses the
classifier; so one factor of a square is always a running mean over earlier batches.
"""

from __future__ import annotations

import torch
from torch import Tensor

MOMENTUM = 0.9


def outputs(probabilities: Tensor) -> Tensor:
    """The probabilities that tell everything: of class 1 for two classes, of every class otherwise."""
    return probabilities[:, 1:] if probabilities.shape[1] == 2 else probabilities


def distances(predicted: Tensor, members: Tensor, strata: Tensor, priors: Tensor) -> Tensor:
    """Distance of each group's mean prediction from its stratum's mean.

    ``predicted`` (B, C'), ``members`` (B, G) estimates of a_ig - pi_g, ``strata`` (B,), ``priors`` (S, G).
    Returns (S, G, C'); zero for a stratum with fewer than two records in the batch.
    """
    result = []
    for stratum, prior in enumerate(priors):
        inside = strata == stratum
        if int(inside.sum()) < 2:
            result.append(predicted.new_zeros(len(prior), predicted.shape[1]))
            continue
        centred = predicted[inside] - predicted[inside].mean(0)
        result.append(members[inside].T @ centred / (int(inside.sum()) * prior[:, None]))
    return torch.stack(result)


def running(earlier: Tensor | None, now: Tensor) -> Tensor:
    """The running mean that takes in one more batch."""
    new = now.detach()
    return new if earlier is None else MOMENTUM * earlier + (1 - MOMENTUM) * new
