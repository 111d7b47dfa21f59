"""Fixed-point numbers: real values to ring elements and back, with every bound checked on the way.

A value x is the ring element round(x * 2^p) of Z/2^64. CrypTen's own decoder is off by one for some negative numbers,
and its encoder turns NaN, infinities and large values into garbage without a word; neither is used.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from secure_fair.errors import OutOfBound, ProtocolError, UsageError

MAX_PRECISION_BITS = 24
BLOCK = 1 << 15  # numbers that are encoded at a time: they stay in the processor's cache


def check_precision(precision_bits: int) -> None:
    """UsageError unless products of values of this precision fit the ring with room for their size."""
    if not 8 <= precision_bits <= MAX_PRECISION_BITS:
        raise UsageError(f"precision_bits {precision_bits}: use 8 to {MAX_PRECISION_BITS}; 16 is usual")


def encode(values: Tensor, precision_bits: int, *, bound: float) -> Tensor:
    """Real ``values`` as int64 ring elements; ProtocolError where one is not finite or beyond ``bound`` in size."""
    if bound * 2.0**precision_bits >= 2.0**62:
        raise UsageError(f"bound {bound:g} at {precision_bits} bits does not fit the ring: lower one of them")
    real = values.detach().cpu()
    flat = (real if real.dtype in (torch.float32, torch.float64) else real.double()).reshape(-1).numpy()
    ring, room = np.empty(flat.shape, dtype=np.int64), np.empty(min(BLOCK, flat.size))
    for start in range(0, flat.size, BLOCK):
        part = flat[start : start + BLOCK]
        _check_bound(part, bound, "a value to be shared")
        scaled = np.multiply(part, 2.0**precision_bits, out=room[: part.size], dtype=np.float64)
        ring[start : start + BLOCK] = np.rint(scaled, out=scaled)
    return torch.from_numpy(ring).reshape(values.shape)


def encode_integers(values: Tensor, *, bound: int) -> Tensor:
    """Integer ``values`` (of any dtype) as int64; ProtocolError where one is no integer or beyond ``bound``."""
    exact = values.detach().cpu().double()
    if not torch.equal(exact, exact.round()):
        raise ProtocolError("a value to be shared as an integer is not one (or not finite): share it with `share`")
    return encode(exact, 0, bound=bound)


def decode(ring: Tensor, scale: int, *, bound: float) -> Tensor:
    """int64 ring elements as float64; OutOfBound beyond the public ``bound``, as after a truncation that failed."""
    values = ring.double() / scale
    _check_bound(values.numpy(), bound, "an opened value")
    return values


def _check_bound(values: npt.NDArray[np.floating], bound: float, what: str) -> None:
    if values.size == 0:
        return
    largest = max(float(values.max()), -float(values.min()), key=lambda size: (size != size, size))
    if not largest <= bound:  # NaN too
        raise OutOfBound(
            f"{what} is {largest:g} in size; its bound is {bound:g}. If the bound is right, either its owner sent "
            "what it may not, or a truncation failed (probability about 2^(2p-64) times the value): run the step again"
        )
