"""Fixed-point numbers: real values to ring elements and back, with every bound checked on the way.

A value x is the ring element round(x * 2^p) of Z/2^64. CrypTen's own decoder is off by one for some negative numbers,
and its encoder turns NaN, infinities and large values into garbage without a word; neither is used.
"""

from __future__ import annotations

import torch
from torch import Tensor

from secure_fair.errors import ProtocolError, UsageError

MAX_PRECISION_BITS = 24


def check_precision(precision_bits: int) -> None:
    """UsageError unless products of values of this precision fit the ring with room for their size."""
    if not 8 <= precision_bits <= MAX_PRECISION_BITS:
        raise UsageError(f"precision_bits {precision_bits}: use 8 to {MAX_PRECISION_BITS}; 16 is usual")


def encode(values: Tensor, precision_bits: int, *, bound: float) -> Tensor:
    """Real ``values`` as int64 ring elements; ProtocolError where one is not finite or beyond ``bound`` in size."""
    if bound * 2.0**precision_bits >= 2.0**62:
        raise UsageError(f"bound {bound:g} at {precision_bits} bits does not fit the ring: lower one of them")
    exact = values.detach().cpu().double()
    _check_bound(exact, bound, "a value to be shared")
    return torch.round(exact * 2.0**precision_bits).long()


def encode_integers(values: Tensor, *, bound: int) -> Tensor:
    """Integer ``values`` (of any dtype) as int64; ProtocolError where one is no integer or beyond ``bound``."""
    exact = values.detach().cpu().double()
    if not torch.equal(exact, exact.round()):
        raise ProtocolError("a value to be shared as an integer is not one (or not finite): share it with `share`")
    return encode(exact, 0, bound=bound)


def decode(ring: Tensor, scale: int, *, bound: float) -> Tensor:
    """int64 ring elements as float64; ProtocolError beyond the public ``bound``, as after a truncation that failed."""
    values = ring.double() / scale
    _check_bound(values, bound, "an opened value")
    return values


def _check_bound(values: Tensor, bound: float, what: str) -> None:
    if values.numel() == 0:
        return
    largest = float(values.abs().max())
    if not largest <= bound:  # NaN too
        raise ProtocolError(
            f"{what} is {largest:g} in size; its bound is {bound:g}. If the bound is right, either its owner sent "
            "what it may not, or a truncation failed (probability about 2^(2p-64) times the value): run the step again"
        )
