"""Products of shared values in one round: Beaver multiplication of many pairs at once, each operand masked once.

A product of x and y opens x - a and y - b for masks a, b of which the dealer has shared the product (Beaver 1991). A
mask is bound to one immutable value, so a ``Masked`` value is opened once, however many products it enters: the product
of its mask with the other's is new each time, the difference from its mask is not. Any other value gets another mask.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TypeAlias

import torch
from torch import Tensor

import secure_fair.compat  # noqa: F401
from secure_fair.mpc.menu import Product, Reused, pack_rows
from secure_fair.mpc.session import Session
from secure_fair.mpc.shares import from_share

from crypten.mpc import MPCTensor  # isort: skip
from crypten.mpc.primitives import ArithmeticSharedTensor, beaver  # isort: skip


@dataclass(frozen=True)
class Masked:
    """A shared value bound to a mask. ``difference`` is public: the value less the mask. Never changed in place."""

    operand: Reused
    difference: Tensor  # of the whole value, as is the share of its mask
    mask_share: Tensor
    own_share: Tensor
    scale: int

    @property
    def shape(self) -> tuple[int, ...]:
        return self.operand.shape

    def rows(self, indices: Tensor) -> Masked:
        """These rows (a 1-dimensional int64 tensor) of the whole value; the mask's rows are reused."""
        if self.operand.rows is not None or self.operand.transposed:
            raise ValueError("rows are picked from a whole value")
        rows = pack_rows(indices)
        if rows == ((0, self.operand.whole[0]),):  # all of them
            return self
        return replace(self, operand=replace(self.operand, rows=rows))

    @property
    def T(self) -> Masked:
        return replace(self, operand=replace(self.operand, transposed=not self.operand.transposed))

    @property
    def shared(self) -> MPCTensor:
        """The value as an ordinary shared tensor."""
        return from_share(self.operand.of(self.own_share), self.scale)


Shared: TypeAlias = MPCTensor | Masked


def public_shapes(*values: Shared) -> list[tuple[int, ...]]:
    """Shapes that decide what an operation takes from the dealer; none where rows were picked: those change."""
    if any(isinstance(value, Masked) and value.operand.rows is not None for value in values):
        return []
    return [tuple(value.size() if isinstance(value, MPCTensor) else value.shape) for value in values]


def mask(session: Session, *values: Shared) -> list[Masked]:
    """Bind each value to a mask and open the differences, all in one round. What is masked already stays as it is."""
    new = [value for value in values if isinstance(value, MPCTensor)]
    drawn = [session.provider.new_mask(tuple(value.size())) for value in new]
    differences = (
        session.communicator.all_reduce(
            [value.share - part for value, (_, part) in zip(new, drawn, strict=True)], batched=True
        )
        if new
        else []
    )
    made = iter(
        [
            Masked(operand, difference, part, value.share.clone(), value.encoder.scale)
            for value, (operand, part), difference in zip(new, drawn, differences, strict=True)
        ]
    )
    return [value if isinstance(value, Masked) else next(made) for value in values]


def fix(session: Session, shared: MPCTensor) -> Masked:
    """Bind an immutable value that enters many products to a mask, and open the difference once (one round)."""
    return mask(session, shared)[0]


def multiply(session: Session, op: str, left: Masked, right: Masked) -> MPCTensor:
    """``op`` ("mul" or "matmul") of two masked values, without communication; the scale is the product of the scales.

    z = c + (x - a) b + a (y - b) + (x - a)(y - b), the last term being public: one party adds it.
    """
    function = torch.matmul if op == "matmul" else torch.mul
    product_share = session.provider.take_product(Product(op, left.operand, right.operand))
    a, b = left.operand.of(left.mask_share), right.operand.of(right.mask_share)
    e, d = left.operand.of(left.difference), right.operand.of(right.difference)
    if session.rank == 0:
        share = product_share + function(e, b + d) + function(a, d)
    else:
        share = product_share + function(e, b) + function(a, d)
    return from_share(share, left.scale * right.scale)


def truncate(session: Session, *parts: tuple[MPCTensor, int], scale: int) -> list[MPCTensor]:
    """Each shared integer divided by its public divisor, the quotients then read at ``scale``.

    Two parties divide locally; more count the wraps of all parts in one round. A quotient is off by at most one unit
    and half of the number of parties, except with probability |dividend| / 2^62, when it is off by so much that an
    opening's bound shows it.
    """
    quotients = []
    if len(session.parties) == 2:
        quotients = [_nearest(shared.share, divisor) for shared, divisor in parts]
    else:
        flat = torch.cat([shared.share.reshape(-1) for shared, _ in parts])
        wraps = beaver.wraps(ArithmeticSharedTensor.from_shares(flat, precision=0)).share
        pieces = wraps.split([shared.share.numel() for shared, _ in parts])
        for (shared, divisor), piece in zip(parts, pieces, strict=True):
            turn = (1 << 64) // divisor  # what one wrap around the ring is after the division
            quotients.append(_nearest(shared.share, divisor) - piece.reshape(shared.share.shape) * turn)
    return [from_share(quotient, scale) for quotient in quotients]


def _nearest(share: Tensor, divisor: int) -> Tensor:
    """The quotient of a share, rounded to the nearest integer: half of the error of cutting it off.

    A share within half a divisor of the ring's end wraps around; that is far rarer than what ``truncate`` allows for.
    """
    return (share + divisor // 2).div(divisor, rounding_mode="floor")


def rescale(session: Session, *products: MPCTensor) -> list[MPCTensor]:
    """Products of two fixed-point values, brought back to the session's precision."""
    return truncate(
        session, *((product, product.encoder.scale // session.scale) for product in products), scale=session.scale
    )


def add_public(session: Session, shared: MPCTensor, value: int | Tensor) -> MPCTensor:
    """A shared value plus public ring units: one party adds them."""
    share = shared.share + value if session.rank == 0 else shared.share + torch.zeros_like(torch.as_tensor(value))
    return from_share(share, shared.encoder.scale)
