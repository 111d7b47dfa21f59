"""Cases to measure: inputs, who owns them, and the results in float64."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from secure_fair.operations.adversary_step import plain_adversary
from secure_fair.operations.moment import plain_moment
from secure_fair.operations.orthogonality import plain_orthogonality

DEVELOPER, AUDITOR = 0, 1  # ranks of the owners of inputs
QUERY = 16  # numbers of a moment's query
MATRICES, RANK = 16, 8  # adapters of 16 layers
BALL = 4.0
RATE = 0.05


@dataclass(frozen=True)
class Input:
    """Values that one party shares; integers are memberships."""

    owner: int
    values: Tensor
    integer: bool = False


@dataclass(frozen=True)
class Case:
    """One operation: its inputs, and what must come out."""

    title: str
    inputs: tuple[Input, ...]
    expected: Tensor


def cases(batch: int, dim: int) -> dict[str, Case]:
    """All operations for ``batch`` records with ``dim`` features, by name."""
    features = rows_of_norm_one(batch, dim, 1)
    weights = _of_norm((dim, 1), BALL, 2)
    query, member = rows_of_norm_one(batch, QUERY, 3), _codes(batch, 2, 4)[:, None]
    task, sensitive = _of_norm((MATRICES, RANK, dim), 4.0, 5), _of_norm((MATRICES, RANK, dim), 4.0, 6)
    logits = 8 * (2 * torch.rand(batch, 1, generator=_generator(7), dtype=torch.float64) - 1)
    groups, columns = torch.nn.functional.one_hot(_codes(batch, 5, 8), 5), _of_norm((dim, 5), BALL, 9)
    return {
        "product": Case(
            f"X @ w, ({batch}, {dim}) by ({dim}, 1)",
            (Input(DEVELOPER, features), Input(AUDITOR, weights)),
            features @ weights,
        ),
        "moment": Case(
            f"moment F^T A, k = {QUERY}",
            (Input(DEVELOPER, query), Input(AUDITOR, member, integer=True)),
            plain_moment(query, member),
        ),
        "adversary": _adversary("adversary gradient, 1 column", features, member, weights),
        "adversary-5": _adversary("adversary gradient, 5 groups", features, groups, columns),
        "orthogonality": Case(
            f"orthogonality, {MATRICES} matrices ({RANK}, {dim})",
            (Input(DEVELOPER, task), Input(AUDITOR, sensitive)),
            torch.stack(plain_orthogonality(list(task), list(sensitive))),
        ),
        "comparison": Case(f"z > 0, {batch} numbers", (Input(DEVELOPER, logits),), (logits > 0).double()),
    }


def _adversary(title: str, features: Tensor, attributes: Tensor, weights: Tensor) -> Case:
    rows, _ = plain_adversary(features, attributes, weights, learning_rate=RATE, ball=BALL)
    inputs = Input(DEVELOPER, features), Input(AUDITOR, attributes, integer=True), Input(AUDITOR, weights)
    return Case(title, inputs, rows)


def _generator(seed: int) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def rows_of_norm_one(n: int, k: int, seed: int) -> Tensor:
    """Random rows (n, k), float64."""
    return torch.nn.functional.normalize(torch.randn(n, k, generator=_generator(seed), dtype=torch.float64), dim=1)


def _of_norm(shape: tuple[int, ...], norm: float, seed: int) -> Tensor:
    values = torch.randn(shape, generator=_generator(seed), dtype=torch.float64)
    return values * (norm / values.norm())


def _codes(n: int, groups: int, seed: int) -> Tensor:
    return torch.randint(0, groups, (n,), generator=_generator(seed))
