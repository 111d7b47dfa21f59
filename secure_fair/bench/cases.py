"""Cases to measure: inputs, who owns them, and the results in float64."""

from __future__ import annotations

from collections.abc import Callable, Sequence
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
STRATA = 4  # of counts
ALL = ("product", "moment", "counts", "adversary", "adversary-5", "orthogonality", "comparison")


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


def cases(batch: int, dim: int, names: Sequence[str] = ALL) -> dict[str, Case]:
    """The operations of these ``names`` for ``batch`` records with ``dim`` features."""
    return {name: MAKERS[name](batch, dim) for name in names}


def _product(batch: int, dim: int) -> Case:
    features, weights = rows_of_norm_one(batch, dim, 1), _of_norm((dim, 1), BALL, 2)
    inputs = Input(DEVELOPER, features), Input(AUDITOR, weights)
    return Case(f"X @ w, ({batch}, {dim}) by ({dim}, 1)", inputs, features @ weights)


def _moment(batch: int, dim: int) -> Case:
    query, member = rows_of_norm_one(batch, QUERY, 3), _codes(batch, 2, 4)[:, None]
    inputs = Input(DEVELOPER, query), Input(AUDITOR, member, integer=True)
    return Case(f"moment F^T A, k = {QUERY}", inputs, plain_moment(query, member))


def _counts(batch: int, dim: int) -> Case:
    strata = torch.nn.functional.one_hot(_codes(batch, STRATA, 10), STRATA)
    member = _codes(batch, 2, 4)[:, None]
    inputs = Input(DEVELOPER, strata, integer=True), Input(AUDITOR, member, integer=True)
    return Case(f"counts of {STRATA} strata by group", inputs, plain_moment(strata, member))


def _one_column(batch: int, dim: int) -> Case:
    member, weights = _codes(batch, 2, 4)[:, None], _of_norm((dim, 1), BALL, 2)
    return _adversary("adversary gradient, 1 column", rows_of_norm_one(batch, dim, 1), member, weights)


def _five_groups(batch: int, dim: int) -> Case:
    groups, columns = torch.nn.functional.one_hot(_codes(batch, 5, 8), 5), _of_norm((dim, 5), BALL, 9)
    return _adversary("adversary gradient, 5 groups", rows_of_norm_one(batch, dim, 1), groups, columns)


def _orthogonality(batch: int, dim: int) -> Case:
    task, sensitive = _of_norm((MATRICES, RANK, dim), 4.0, 5), _of_norm((MATRICES, RANK, dim), 4.0, 6)
    return Case(
        f"orthogonality, {MATRICES} matrices ({RANK}, {dim})",
        (Input(DEVELOPER, task), Input(AUDITOR, sensitive)),
        torch.stack(plain_orthogonality(list(task), list(sensitive))),
    )


def _comparison(batch: int, dim: int) -> Case:
    logits = 8 * (2 * torch.rand(batch, 1, generator=_generator(7), dtype=torch.float64) - 1)
    return Case(f"z > 0, {batch} numbers", (Input(DEVELOPER, logits),), (logits > 0).double())


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


MAKERS: dict[str, Callable[[int, int], Case]] = {
    "product": _product,
    "moment": _moment,
    "counts": _counts,
    "adversary": _one_column,
    "adversary-5": _five_groups,
    "orthogonality": _orthogonality,
    "comparison": _comparison,
}
