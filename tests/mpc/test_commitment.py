"""Committed inputs: the honest ones give exact products, every lie is refused before anything is answered."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor

from secure_fair.mpc import bounds
from secure_fair.mpc.bounds import RowSum
from secure_fair.mpc.commitment import commit_bits, commit_rows
from secure_fair.mpc.products import Masked, fix, multiply
from secure_fair.mpc.session import Session
from tests.mpc.harness import run
from tests.mpc.values import AUDITOR, DEVELOPER, memberships, open_to, share_integers, unit_rows
from tests.operations import computations as ops

SECOND = "second"


def own(session: Session, owner: str, values: Tensor) -> Tensor | None:
    return values if session.name == owner else None


def rows_of(session: Session, values: Tensor, **options: Any) -> Masked:
    return commit_rows(session, DEVELOPER, own(session, DEVELOPER, values), values.shape, **options)


def bits_of(session: Session, owner: str, values: Tensor, rule: RowSum, **options: Any) -> Masked:
    return commit_bits(session, [owner], own(session, owner, values), values.shape, rule=rule, **options)


def product(session: Session, query: Masked, attributes: Masked) -> Tensor | None:
    """F^T A at the developer."""
    before = session.communicator.rounds
    shared = multiply(session, "matmul", query.T, attributes)
    assert session.communicator.rounds == before  # no message after the commitment
    return open_to(session, DEVELOPER, shared)


def fixed(values: Tensor) -> Tensor:
    """What an honest owner of rows is committed to, in real numbers."""
    return torch.from_numpy(bounds.encode_rows(values, (values.shape[0], values.shape[1]))).double() / bounds.SCALE


# honest parties


def honest(session: Session, n: int, k: int, groups: int) -> list[Tensor | None]:
    f, a = unit_rows(n, k, 1), memberships(n, groups, 2)
    query, attributes = rows_of(session, f), fix(session, share_integers(session, AUDITOR, a))
    half = torch.arange(n - 1, -1, -2)
    part = rows_of(session, f[half])
    rule = RowSum.ANY if groups == 1 else RowSum.ONE
    committed = bits_of(session, AUDITOR, a, rule)
    return [
        product(session, query, attributes),
        product(session, part, attributes.rows(half)),
        product(session, query, committed),
        product(session, part, committed.rows(half)),
        open_to(session, DEVELOPER, ops.moment(session, query, committed)),
        open_to(session, DEVELOPER, query.shared),
        open_to(session, DEVELOPER, committed.shared),
    ]


@pytest.mark.parametrize("parties", [2, 3, 4])
@pytest.mark.parametrize(("n", "k", "groups"), [(1, 1, 1), (500, 16, 1), (4200, 7, 5)])
def test_products_of_committed_values_are_those_of_the_plain_ones(parties: int, n: int, k: int, groups: int) -> None:
    f, a = fixed(unit_rows(n, k, 1)), memberships(n, groups, 2)
    half = torch.arange(n - 1, -1, -2)
    whole, part = ops.plain_moment(f, a), ops.plain_moment(f[half], a[half])
    for found, expected in zip(
        run(honest, n, k, groups, parties=parties)[0], [whole, part, whole, part, whole, f, a.double()], strict=True
    ):
        assert torch.equal(found, expected)
