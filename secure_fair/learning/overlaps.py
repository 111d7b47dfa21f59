"""How far a task adapter and a sensitive one do the same to a layer: forms of the overlap of B_t A_t and B_s A_s.

A is (rank, d_in) and reads a layer's inputs; B is (d_out, rank) and writes its outputs. The papers' formulas are not
public in full: these are our readings of "orthogonal".
"""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

Pair = tuple[Tensor, Tensor]  # A (rank, d_in), B (d_out, rank)
STILL = 1e-2  # a task's change of this part of the sensitive one's squared norm counts as none: it begins at zero
DIRECTIONS = 0.9  # of the sensitive change's squared norm that its kept directions carry


def weights(task: Pair, sensitive: Pair) -> Tensor:
    """||A_t A_s^T||^2 (arXiv 2503.05684): small as well where A_t is short, which B_t can make up for."""
    return (task[0] @ sensitive[0].T).square().sum()


def rows(task: Pair, sensitive: Pair) -> Tensor:
    """The mean over rows of A_t of sum_j cos^2(row, row_j of A_s): whatever the rows' lengths are."""
    cosines = _unit(task[0]) @ _unit(sensitive[0]).T
    return cosines.square().sum() / len(cosines)


def columns(task: Pair, sensitive: Pair) -> Tensor:
    """The part of B_t's squared norm that lies in the columns' space of B_s, in [0, 1]."""
    basis, _ = torch.linalg.qr(sensitive[1])
    still = STILL * sensitive[1].square().sum()
    return (basis.T @ task[1]).square().sum() / (task[1].square().sum() + still)


def subspace(task: Pair, sensitive: Pair) -> Tensor:
    """The part of ||B_t A_t||^2 that reads the first right singular directions of B_s A_s, in [0, 1]."""
    directions, squared = _read(sensitive)
    gram = task[1].T @ task[1]
    along, total = task[0] @ directions, task[0] @ task[0].T
    return ((along @ along.T) * gram).sum() / ((total * gram).sum() + STILL * squared)


def _read(sensitive: Pair) -> tuple[Tensor, Tensor]:
    """Right singular directions (d_in, q) of B_s A_s, as few as carry ``DIRECTIONS`` of it, and its squared norm."""
    into, outof = torch.linalg.qr(sensitive[0].T), torch.linalg.qr(sensitive[1])
    _, values, right = torch.linalg.svd(outof.R @ into.R.T)
    carried = values.square().cumsum(0) / values.square().sum().clamp_min(1e-30)
    count = int((carried < DIRECTIONS).sum()) + 1
    return into.Q @ right[:count].T, values.square().sum()


def _unit(matrix: Tensor) -> Tensor:
    return matrix / matrix.norm(dim=1, keepdim=True).clamp_min(1e-9)


OVERLAPS: dict[str, Callable[[Pair, Pair], Tensor]] = {
    "weights": weights,
    "rows": rows,
    "columns": columns,
    "subspace": subspace,
}
