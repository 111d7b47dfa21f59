"""Comparisons on shares, exact for every element of the ring: whether it is negative, and whether it is zero.

All parties open c = x + r for a uniform r (``menu.Digits``). As x = c - r, x is zero where all digits of c and r are
the same, and negative where msb(c) ^ msb(r) ^ [r mod 2^63 > c mod 2^63]. As c is public and the dealer has shared the
conjunctions of r's digits in groups of four, each group's comparison takes no message. Four neighbouring groups are
joined to one, and four of those again: each time all open their bits under masks of which the dealer has shared the
conjunctions (``menu.Conjunctions``). The last bit is opened under a random one, which is shared by addition as well
(``menu.Bit``). These are four rounds, and whatever is opened is uniform. Like CrypTen's way this is for parties that
follow the protocol: one that adds to what it opens changes results unnoticed.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from itertools import combinations

import numpy as np
import torch
from torch import Tensor
from torch.distributed import ReduceOp

import secure_fair.compat  # noqa: F401
from secure_fair.mpc import planes
from secure_fair.mpc.menu import GROUP, GROUPS, Bit, Conjunctions, Digits
from secure_fair.mpc.planes import Planes

import crypten  # isort: skip
import crypten.communicator  # isort: skip
from crypten.mpc import MPCTensor  # isort: skip
from crypten.mpc.ptype import ptype as Ptype  # isort: skip

BLOCK = 1 << 11  # bytes of a plane that are compared at a time: what is made of them stays in the processor's cache
ABOVE = ((0, 3), (0, 1, 4), (0, 1, 2, 5))
TERMS = {4: ((0, 1, 2, 3),), 6: ABOVE, 7: (*ABOVE, (0, 1, 2, 6))}
"""Conjunctions that a join needs, by the number of its factors: ``equal`` of the upper three of four, ``above`` of the
lower three if order is asked for, ``equal`` of the lowest if that of all is. The first three and ``above`` of the
uppermost are ``above`` of all, for they exclude one another; the last is ``equal`` of all."""

_stock_is_negative = MPCTensor._ltz


@dataclass(frozen=True)
class Compared:
    """Shares by XOR of [r > c] and [r = c] in some places, from the lower end, (places, width); None: not asked for."""

    above: Planes | None
    equal: Planes | None

    @property
    def whole(self) -> Planes:
        """Shares of the answer, once one place is all."""
        asked = self.equal if self.above is None else self.above
        assert asked is not None
        return asked[0]

    def factors(self, number: int) -> Planes:
        """Those of a join of so many, (number, places / 4, width)."""
        assert self.equal is not None
        equal = self.equal.reshape(-1, 4, self.equal.shape[-1])
        factors = [equal[:, place] for place in (3, 2, 1)]
        if self.above is not None:
            above = self.above.reshape(equal.shape)
            factors += [above[:, place] for place in (2, 1, 0)]
        return np.stack([*factors, equal[:, 0]][:number])


def install() -> None:
    """Have CrypTen compare in this way: all of its comparisons of shares by addition rest on these three.

    They are of differences, which are exact in [-2^63, 2^63) ring units: x > y is y - x < 0.
    """
    MPCTensor._ltz = is_negative
    MPCTensor.eq = MPCTensor.__eq__ = lambda self, other: is_zero(self - other)
    MPCTensor.ne = MPCTensor.__ne__ = lambda self, other: 1 - is_zero(self - other)


def is_negative(value: MPCTensor) -> MPCTensor:
    """1 where it is below 0, and 0 elsewhere."""
    if value.ptype != Ptype.arithmetic:
        return _stock_is_negative(value)
    return _bit_like(value, _compare(value.share, order=True))


def is_zero(value: MPCTensor) -> MPCTensor:
    """1 where it is 0, and 0 elsewhere."""
    return _bit_like(value, _compare(value.share, order=False))


def _bit_like(value: MPCTensor, share: Tensor) -> MPCTensor:
    """A shared bit with the encoder that CrypTen gives to comparisons of a value."""
    bit = MPCTensor.from_shares(share, precision=0 if value.encoder.scale == 1 else None)
    bit.encoder._scale = 1
    return bit


@lru_cache(maxsize=64)
def items(count: int, order: bool) -> tuple[Digits, Conjunctions, Conjunctions, Bit]:
    """Items of the dealer for ``count`` comparisons, of order or of equality."""
    size = planes.width(count)
    first, second = (7, 6) if order else (4, 4)
    return (
        Digits(count),
        Conjunctions(GROUPS // 4 * size, first, _sets(first)),
        Conjunctions(size, second, _sets(second)),
        Bit((count,)),
    )


def _sets(factors: int) -> tuple[int, ...]:
    """Sets of two and more factors of one term."""
    found = {
        sum(1 << factor for factor in some)
        for term in TERMS[factors]
        for number in range(2, len(term) + 1)
        for some in combinations(term, number)
    }
    return tuple(sorted(found))


def _compare(share: Tensor, *, order: bool) -> Tensor:
    """This party's share of [x < 0], or of [x = 0]."""
    count, provider = share.numel(), crypten.mpc.get_default_provider()
    if not count:
        return torch.zeros_like(share)
    digits, first, second, bit = items(count, order)
    provider.expect([digits, first, second, bit])
    (r,), conjunctions = provider.take(digits)
    opened = planes.digits_of(crypten.communicator.get().all_reduce(share.reshape(-1) + r))
    compared = _compare_groups(opened, planes.of_ring(conjunctions, (1 << GROUP) - 1, GROUPS, len(opened[0])), order)
    del r, conjunctions
    compared = _join(_join(compared, first), second)
    (random,), shared = provider.take(bit)
    masked = _open(compared.whole ^ planes.pack(random))
    public = planes.unpack(masked ^ opened[-1] if order else masked, count)
    result = shared * (1 - 2 * public)
    return (result if _rank() else result + public).reshape(share.shape)


def _compare_groups(opened: Planes, conjunctions: Planes, order: bool) -> Compared:
    """The groups' digits of r against those of c, which were ``opened``.

    Where ``order`` is asked for, the uppermost digits are taken to be equal, and msb(r) is added by XOR to the result
    of its group: so it enters that of all.
    """
    equal = np.empty((GROUPS, opened.shape[1]), dtype=np.uint8)
    above = np.empty_like(equal) if order else None
    for start in range(0, opened.shape[1], BLOCK):
        here = slice(start, start + BLOCK)
        clear = ~opened[:, here].reshape(GROUPS, GROUP, -1)
        # by sets of digits of r below those that were seen: their conjunction with [equal] of all that were seen
        parts = [np.full_like(clear[:, 0], _one()), *conjunctions[..., here]]
        larger = np.zeros_like(parts[0])
        for digit in reversed(range(GROUP)):
            without, having = parts[: 1 << digit], parts[1 << digit :]
            parts = [own ^ (clear[:, digit] & other) for own, other in zip(having, without, strict=True)]
            if order:
                larger ^= clear[:, digit] & having[0]
            if order and digit == GROUP - 1:
                larger[-1] = having[0][-1]
                for own, other in zip(parts, without, strict=True):
                    own[-1] = other[-1]
        equal[:, here] = parts[0]
        if above is not None:
            above[:, here] = larger
    return Compared(above, equal)


def _join(compared: Compared, item: Conjunctions) -> Compared:
    """Four neighbouring places as one, by one opening."""
    (mask,), part = crypten.mpc.get_default_provider().take(item)
    factors = compared.factors(item.factors)
    masks = planes.of_ring(mask, *factors.shape)
    differences = _open(factors ^ masks)
    shares = dict(zip(item.sets, planes.of_ring(part, len(item.sets), *factors.shape[1:]), strict=True))
    shares |= {0: np.full_like(masks[0], _one()), **{1 << i: mask for i, mask in enumerate(masks)}}
    made = [_conjunction(term, shares, differences) for term in TERMS[item.factors]]
    if compared.above is None:
        return Compared(None, made[0])
    above = compared.above[3::4] ^ made[0] ^ made[1] ^ made[2]
    return Compared(above, made[3] if len(made) > 3 else None)


def _conjunction(term: tuple[int, ...], shares: dict[int, Planes], differences: Planes) -> Planes:
    """Shares of the conjunction of the term's factors, each the XOR of a mask and its public difference from it."""
    sets = [0]
    for factor in reversed(term):
        sets += [some | 1 << factor for some in sets]
    parts = [shares[some] for some in sets]
    for factor in term:
        without, having = parts[: len(parts) // 2], parts[len(parts) // 2 :]
        parts = [own ^ (differences[factor] & other) for own, other in zip(having, without, strict=True)]
    return parts[0]


def _open(part: Planes) -> Planes:
    """The XOR of all parties' parts."""
    return np.asarray(crypten.communicator.get().all_reduce(torch.from_numpy(part), op=ReduceOp.BXOR).numpy())


def _one() -> int:
    """This party's share of planes of ones: the first party has them."""
    return 0 if _rank() else 255


def _rank() -> int:
    return int(crypten.communicator.get().get_rank())
