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
from secure_fair.mpc import ring
from secure_fair.mpc.menu import Product, Reused, pack_rows
from secure_fair.mpc.session import Session
from secure_fair.mpc.shares import Owned, from_share

from crypten.mpc import MPCTensor  # isort: skip
from crypten.mpc.primitives import ArithmeticSharedTensor, beaver  # isort: skip


@dataclass(frozen=True)
class Masked:
    """A shared value bound to a mask. ``difference`` is public: the value less the mask. Never changed in place.

    Where some (ranks) were ``told`` alone, all others but the owner have zeros in its place: such a value enters
    products with what those alone have a mask of, and nothing else.
    """

    operand: Reused
    difference: Tensor  # of the whole value, as is the share of its mask
    mask_share: Tensor
    own_share: Tensor
    scale: int
    told: tuple[int, ...] = ()

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
        if self.told:
            raise ValueError(f"a value of which the parties {self.told} alone were told has no shares at the others")
        return from_share(self.operand.of(self.own_share), self.scale)


Shared: TypeAlias = MPCTensor | Masked | Owned


def shape_of(value: Shared) -> tuple[int, ...]:
    """The value's shape, however it is shared."""
    return tuple(value.size()) if isinstance(value, MPCTensor) else value.shape


def public_shapes(*values: Shared) -> list[tuple[int, ...]]:
    """Shapes that decide what an operation takes from the dealer; none where rows were picked: those change."""
    if any(isinstance(value, Masked) and value.operand.rows is not None for value in values):
        return []
    return [shape_of(value) for value in values]


def blank(value: Shared) -> Shared:
    """Zeros in a value's place, under its mask if it has one: they take the same from the dealer, and tell nothing."""
    if isinstance(value, Owned):
        return replace(value, values=None)
    if isinstance(value, MPCTensor):
        return from_share(torch.zeros(tuple(value.size()), dtype=torch.int64), int(value.encoder.scale))
    nothing = torch.zeros((), dtype=torch.int64).expand(value.operand.whole)
    return replace(value, difference=nothing, mask_share=nothing, own_share=nothing)


def mask(session: Session, *values: Shared) -> list[Masked]:
    """Bind each value to a mask and open the differences, all in one round. What is masked already stays as it is.

    What a party owns is masked by a mask that it alone knows, and only it sends: to all others the difference is as
    uniform as the sum of everybody's.
    """
    new = [value for value in values if not isinstance(value, Masked)]
    if not new:
        return [value for value in values if isinstance(value, Masked)]
    bound = [_new_mask(session, value) for value in new]
    parts = [_less(value, part) for value, (_, part) in zip(new, bound, strict=True)]
    owners = [value.owner if isinstance(value, Owned) else None for value in new]
    told = [value.told if isinstance(value, Owned) else () for value in new]
    differences = session.communicator.open_parts(parts, owners, told)
    made = iter(
        [
            masked(session, operand, difference, part, value.scale, value.told)
            if isinstance(value, Owned)
            else Masked(operand, difference, part, value.share.clone(), value.encoder.scale)
            for value, (operand, part), difference in zip(new, bound, differences, strict=True)
        ]
    )
    return [value if isinstance(value, Masked) else next(made) for value in values]


def _new_mask(session: Session, value: MPCTensor | Owned) -> tuple[Reused, Tensor]:
    if isinstance(value, Owned):
        return session.provider.new_owned_mask(value.shape, value.owner)
    return session.provider.new_mask(tuple(value.size()))


def _less(value: MPCTensor | Owned, part: Tensor) -> Tensor:
    """This party's part of the difference; any tensor of its shape where another owns the value."""
    if isinstance(value, Owned):
        return part if value.values is None else value.values - part
    return value.share - part


def masked(
    session: Session,
    operand: Reused,
    difference: Tensor,
    mask_share: Tensor,
    scale: int,
    told: tuple[int, ...] = (),
) -> Masked:
    """A value whose mask has owners, at this party: they share it by their masks, the first other by the difference."""
    others = [rank for rank in range(len(session.parties)) if rank not in operand.owners]
    share = mask_share
    if session.rank == (others[0] if others else 0):
        # no second copy where this party owns nothing: a masked value is never changed in place
        share = mask_share + difference if session.rank in operand.owners else difference
    return Masked(operand, difference, mask_share, share, scale, told)


def fix(session: Session, shared: MPCTensor | Owned) -> Masked:
    """Bind an immutable value that enters many products to a mask, and open the difference once (one round)."""
    return mask(session, shared)[0]


def multiply(session: Session, op: str, left: Masked, right: Masked) -> MPCTensor:
    """``op`` ("mul" or "matmul") of two masked values, without communication; the scale is the product of the scales.

    z = c + (x - a) b + a (y - b) + (x - a)(y - b), the last term being public: one party adds it. Terms with this
    party's part of a mask are zero where others own it.
    """
    _check_told(session, left, right)
    function = ring.matmul if op == "matmul" else torch.mul
    share = session.provider.take_product(Product(op, left.operand, right.operand))
    e, d = left.operand.of(left.difference), right.operand.of(right.difference)
    if left.operand.owned_by(session.rank):
        a = left.operand.of(left.mask_share)
        if session.rank:
            share = share + function(a, d)
        elif op == "matmul" and d.shape[-1] == 1:  # a second product takes less time than the sum of large matrices
            share = share + function(a, d) + function(e, d)
        else:
            share = share + function(a + e, d)
    elif session.rank == 0:
        share = share + function(e, d)
    if right.operand.owned_by(session.rank):
        share = share + function(e, right.operand.of(right.mask_share))
    return from_share(share, left.scale * right.scale)


def _check_told(session: Session, left: Masked, right: Masked) -> None:
    """ValueError where a term of a product would need a difference that this party was not told."""
    if right.told or (left.told and left.operand.owners != (0,)):
        raise ValueError("of a value that is not for all only the first party's is multiplied, from the left")
    needed = left.told and session.rank not in (*left.operand.owners, *left.told)
    if needed and right.operand.owned_by(session.rank) and right.operand.of(right.mask_share).any():
        raise ValueError(
            f"this party, {session.rank}, has a mask of what a value is multiplied with that it is not told"
        )


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
    enlarged = share + divisor // 2
    if divisor & (divisor - 1):
        return enlarged.div(divisor, rounding_mode="floor")
    return enlarged >> (divisor.bit_length() - 1)  # the same floor, in a tenth of the time


def rescale(session: Session, *products: MPCTensor) -> list[MPCTensor]:
    """Products of two fixed-point values, brought back to the session's precision."""
    return truncate(
        session, *((product, product.encoder.scale // session.scale) for product in products), scale=session.scale
    )


def add_public(session: Session, shared: MPCTensor, value: int | Tensor) -> MPCTensor:
    """A shared value plus public ring units: one party adds them."""
    share = shared.share + value if session.rank == 0 else shared.share + torch.zeros_like(torch.as_tensor(value))
    return from_share(share, shared.encoder.scale)
