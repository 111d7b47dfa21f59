"""The query of a moment over all records, and the ridge regression that its answers allow.

The developer wants the best prediction of a_i - pi that is linear in what it knows of every record. Regression needs
the attributes only through F^T (a - pi): k numbers, however many records there are.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

ENCODING_MARGIN = 2.0**-8  # enough for 256 columns at 12 bits, 65,536 at 16
EXPLAINED = 0.5  # share of the attribute's variance that features are expected to explain
EMPHASIS = 2.0  # of the predictions' columns, whose covariance with the attribute is the gap itself
ROUNDING = 1e-3  # of the moments' variance: what exact answers are trusted to, for queries may be nearly alike

MOST_COLUMNS, FEWEST_COLUMNS = 16, 2
STANDS_OUT = 4.0  # standard deviations of the noise that a column's answer is to have of the attribute's


def affordable_columns(records: int, groups: int, sigma: float) -> int:
    """How many columns a query of so many ``records`` can have whose mean answer has noise ``sigma``.

    Rows of norm 1 are shared among k columns: of the answer F^T (a - pi) each has the expected square
    v EXPLAINED (n/k)^2 by the prior of ``soft_memberships``, with v the variance of a membership, against sigma^2.
    """
    if not sigma:
        return MOST_COLUMNS
    variance = (groups - 1) / groups**2
    standing = records * math.sqrt(variance * EXPLAINED) / (STANDS_OUT * sigma)
    return min(max(int(standing), FEWEST_COLUMNS), MOST_COLUMNS)


def query_matrix(features: Tensor, predicted: Tensor, strata: Tensor, count: int, components: int) -> Tensor:
    """The query F (n, count * k), k = ``components``: one block of columns for each stratum, zero elsewhere.

    In its block a record has its centred predictions (n, C') and the first principal components of the features
    (n, d), orthonormalised; rows are then clipped to norm 1. The predictions are among the columns so that the
    regression reproduces their covariance with the attribute, which is the gap itself: they weigh more, against the
    same noise.
    """
    blocks = []
    for stratum in range(count):
        inside = torch.nonzero(strata == stratum).flatten()
        block = torch.zeros(len(features), components, dtype=torch.float64)
        if len(inside) > 1:
            white = _whitened(features[inside].double(), predicted[inside].double(), components)
            block[inside, : white.shape[1]] = white
        blocks.append(block)
    return clip_rows(torch.cat(blocks, dim=1))


def clip_rows(query: Tensor) -> Tensor:
    """Rows of norm at most 1, less what fixed-point encoding of many columns may add to it."""
    return query / (query.norm(dim=1, keepdim=True) / (1 - ENCODING_MARGIN)).clamp_min(1.0)


def _whitened(features: Tensor, predicted: Tensor, components: int) -> Tensor:
    """Orthogonal columns of variance 1 that span predictions (these weigh more) and first principal components."""
    centred = features - features.mean(0)
    _, _, directions = torch.linalg.svd(centred.T @ centred / len(features))
    scores = centred @ directions[:components].T
    spanned = torch.cat([predicted - predicted.mean(0), scores], dim=1)
    kept: list[Tensor] = []
    # Gram-Schmidt, twice for stability; a column that the others span is dropped
    for place, column in enumerate(spanned.T):
        rest = column
        for _ in range(2):
            for other in kept:
                rest = rest - (rest @ other) / (other @ other) * other
        if rest.norm() > 1e-4 * column.norm().clamp_min(1e-9):
            weight = EMPHASIS if place < predicted.shape[1] else 1.0
            kept.append(weight * rest / rest.norm() * len(rest) ** 0.5)
        if len(kept) == components:
            break
    return torch.stack(kept, dim=1) if kept else torch.zeros(len(features), 1, dtype=torch.float64)


@dataclass(frozen=True)
class ReleasedMoment:
    """One released moment: the query F (n, k), F^T (A - prior) + noise (k, G), and the noise's standard deviation."""

    query: Tensor
    centred: Tensor
    sigma: float


def soft_memberships(answers: Sequence[ReleasedMoment], priors: Tensor) -> Tensor:
    """Best linear prediction (n, G) of A - prior from all moments released so far; ``priors`` (n, G) of each record.

    A column of A - prior is taken to have variance v and covariance v K, K = (1 - EXPLAINED) I + EXPLAINED F F^T, with
    F all queries beside each other, scaled so that the diagonal of F F^T is 1 on average. Then m = K F M^-1 c with
    M = F^T K F + diag(sigma^2) / v (Gaussian-process regression on linear functionals). Queries of successive epochs
    span nearly the same space, so that their answers average the noise away: post-processing, at no epsilon.
    """
    query = torch.cat([answer.query for answer in answers], dim=1)
    centred = torch.cat([answer.centred for answer in answers])
    noise = torch.cat([torch.full((answer.query.shape[1],), answer.sigma**2) for answer in answers]).double()
    gram = query.T @ query
    scale = len(query) / gram.trace().clamp_min(1e-9)
    covariance = (1 - EXPLAINED) * query + EXPLAINED * scale * (query @ gram)  # K F
    expected = query.T @ covariance
    floor = ROUNDING * expected.diagonal().mean()
    memberships = []
    for group in range(centred.shape[1]):
        variance = (priors[:, group] * (1 - priors[:, group])).mean().clamp_min(1e-4)
        system = expected + torch.diag(noise / variance + floor)
        memberships.append(covariance @ torch.linalg.solve(system, centred[:, group]))
    return torch.stack(memberships, dim=1)


def smoothed(rows: Tensor, query: Tensor, lies: Tensor, priors: Tensor) -> Tensor:
    """Best linear prediction (n, G) of A - prior from ``rows`` (n, G) that are right on average, each off by its own
    error of variance ``lies`` (G,).

    The prior is that of ``soft_memberships``: m = K (K + s I)^-1 rows, with s = lies / v (the inverse by Woodbury).
    """
    along = EXPLAINED * len(query) / (query.T @ query).trace().clamp_min(1e-9)
    variances = (priors * (1 - priors)).mean(0).clamp_min(1e-4)
    found = []
    for row, ratio in zip(rows.T, lies / variances, strict=True):
        alone = 1 - EXPLAINED + ratio
        inside = torch.linalg.solve(alone / along * torch.eye(query.shape[1]).double() + query.T @ query, query.T @ row)
        rest = (row - query @ inside) / alone
        found.append((1 - EXPLAINED) * rest + along * query @ (query.T @ rest))
    return torch.stack(found, dim=1)
