"""Memberships from one moment: the query over all records, and the ridge regression that its answer allows.

The developer wants the best prediction of a_i - pi that is linear in what it knows of every record. Regression needs
the attributes only through F^T (a - pi): k numbers, however many records there are.
"""

from __future__ import annotations

import torch
from torch import Tensor

ENCODING_MARGIN = 2.0**-8  # enough for 256 columns at 12 bits, 65,536 at 16
EXPLAINED = 0.5  # share of the attribute's variance that features are expected to explain; sets the ridge


def query_matrix(features: Tensor, predicted: Tensor, strata: Tensor, count: int, components: int) -> Tensor:
    """The query F (n, count * k), k = ``components``: one block of columns for each stratum, zero elsewhere.

    In its block a record has its centred predictions (n, C') and the first principal components of the features
    (n, d), orthonormalised; rows are then clipped to norm 1. The predictions are among the columns so that
    the regression reproduces their covariance with the attribute, which is the gap itself.
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
    """Orthogonal columns of unit variance that span the predictions and the first principal components."""
    centred = features - features.mean(0)
    _, _, directions = torch.linalg.svd(centred.T @ centred / len(features))
    scores = centred @ directions[:components].T
    spanned = torch.cat([predicted - predicted.mean(0), scores], dim=1)
    kept: list[Tensor] = []
    for column in spanned.T:  # Gram-Schmidt, twice for stability; a column that the others span is dropped
        rest = column
        for _ in range(2):
            for other in kept:
                rest = rest - (rest @ other) / (other @ other) * other
        if rest.norm() > 1e-4 * column.norm().clamp_min(1e-9):
            kept.append(rest / rest.norm() * len(rest) ** 0.5)
        if len(kept) == components:
            break
    return torch.stack(kept, dim=1) if kept else torch.zeros(len(features), 1, dtype=torch.float64)


def soft_memberships(query: Tensor, centred: Tensor, priors: Tensor, sigma: float) -> Tensor:
    """m = F beta with beta = (F^T F + R)^-1 c, the posterior mean under noise of variance sigma^2 on c.

    ``query`` (n, k), ``centred`` (k, G) = F^T (A - prior) + noise, ``priors`` (n, G) of each record. Returns (n, G).
    The ridge has a part for sampling, 1, and one for the noise, sigma^2 / (mean diagonal of F^T F x variance).
    """
    gram = query.T @ query
    scale = gram.diagonal().mean().clamp_min(1e-9)
    memberships = []
    for group in range(centred.shape[1]):
        variance = (priors[:, group] * (1 - priors[:, group])).mean().clamp_min(1e-4)
        ridge = (1.0 + sigma**2 / (scale * variance)) / EXPLAINED
        beta = torch.linalg.solve(gram + ridge * torch.eye(len(gram), dtype=gram.dtype), centred[:, group])
        memberships.append(query @ beta)
    return torch.stack(memberships, dim=1)
