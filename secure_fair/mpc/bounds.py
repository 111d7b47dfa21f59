"""Row bounds on shares: whether every row of a shared matrix is as short as the noise is made for."""

from __future__ import annotations

import torch
from torch import Tensor

import secure_fair.compat  # noqa: F401
from secure_fair.errors import UsageError
from secure_fair.mpc.products import add_public, mask, multiply
from secure_fair.mpc.session import Session
from secure_fair.mpc.shares import combine, from_share

from crypten.mpc import MPCTensor  # isort: skip

MAX_COMPARISONS = 1 << 18
"""Made at a time: each takes 14 ring elements of correlated randomness."""


def rows_within_bound(session: Session, query: MPCTensor, bound: float) -> MPCTensor:
    """A shared bit, (1,) at scale 1: 1 where every entry of ``query`` (n, k) is within [-bound, bound] and every row's
    squared norm is at most bound^2.

    The squares are summed at the double scale, so that nothing is rounded. They could wrap around the ring (2^16
    squares to 0 mod 2^64 at 16 bits), but not where all entries are within the bound, and else the bit is 0 anyway.
    Rounds for two parties: 17 for up to 2^18 bounds, of which there are 2 k + 1 a row, and 9 for every further 2^18.
    """
    n, k = query.size()
    limit, square_limit = int(bound * session.scale), int((bound * session.scale) ** 2)
    if bound <= 0 or k * (limit + 1) ** 2 >= 1 << 62:
        raise UsageError(f"row bound {bound:g} of {k} numbers at {session.precision_bits} bits does not fit the ring")
    with session.operation("rows_within_bound", (n, k)):
        broken = [
            _broken_bounds(session, from_share(rows, session.scale), limit, square_limit).share.sum()
            for rows in query.share.split(max(1, MAX_COMPARISONS // (2 * k + 1)))
        ]
        count = from_share(torch.stack(broken).sum().reshape(1), 1)
        return add_public(session, count, -1)._ltz()


def _broken_bounds(session: Session, rows: MPCTensor, limit: int, square_limit: int) -> MPCTensor:
    """A shared bit for each bound of ``rows`` (m, k): two for every entry, one for every row; 1 where it is broken."""
    (f,) = mask(session, rows)
    squares = multiply(session, "mul", f, f).share.sum(1)
    slack = [
        add_public(session, from_share(rows.share, 1), limit),
        add_public(session, from_share(-rows.share, 1), limit),
        add_public(session, from_share(-squares, 1), square_limit),
    ]
    return from_share(combine([part.share for part in slack]), 1)._ltz()


def plain_rows_within_bound(query: Tensor, bound: float) -> bool:
    """Whether all entries and row norms are within the bound, in float64."""
    exact = query.double()
    return bool((exact.abs() <= bound).all() and (exact.square().sum(1) <= bound**2).all())
