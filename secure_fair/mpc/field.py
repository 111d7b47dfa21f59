"""The field of integers modulo the prime p = 2^61 - 1, on numpy arrays: what commitments are authenticated in.

Elements are uint64 in [0, p). 2^61 = 1 modulo p: a number is reduced by adding its upper bits to its lower ones.
"""

from __future__ import annotations

from collections.abc import Sequence
from math import prod
from typing import TypeAlias

import numpy as np
import numpy.typing as npt

from secure_fair.randomness import PRG

BITS = 61
PRIME = (1 << BITS) - 1
PART = 8192
"""Of elements that are multiplied at a time: all that comes between stays in the processor's cache."""
MOST_AT_ONCE = 7
"""Of elements that add up to less than 2^64."""
BIAS = 2.0**-BITS
"""How far a drawn element is from uniform: 0 comes twice, so that none has a probability above 2^-60."""

Field: TypeAlias = npt.NDArray[np.uint64]

_P = np.uint64(PRIME)
_BITS = np.uint64(BITS)
_HALF = np.uint64(32)
_LOW_HALF = np.uint64((1 << 32) - 1)
_SPLIT = np.uint64(BITS - 32)
_LOW_SPLIT = np.uint64((1 << (BITS - 32)) - 1)
SUBSETS = 64
"""How many random subsets are drawn together: eight bytes for every value, a bit for each subset."""

Subsets: TypeAlias = npt.NDArray[np.uint8]

_BITS_OF_BYTE = np.unpackbits(np.arange(256, dtype=np.uint8)[:, None], axis=1)  # (256, 8)


def reduce(numbers: Field) -> Field:
    """Any uint64 ``numbers`` modulo p."""
    folded = (numbers & _P) + (numbers >> _BITS)
    return np.minimum(folded, folded - _P)  # below p the difference wraps around and is the larger one


def encode(integers: npt.NDArray[np.signedinteger]) -> Field:
    """Signed integers of size below p as elements."""
    numbers = integers.astype(np.int64, copy=False)
    return (numbers + ((numbers >> 63) & PRIME)).view(np.uint64)


def add(a: Field, b: Field) -> Field:
    """a + b."""
    return reduce(a + b)


def subtract(a: Field, b: Field) -> Field:
    """a - b."""
    return reduce(a + (_P - b))


def multiply(a: Field, b: Field) -> Field:
    """a b, by element, broadcasting."""
    product = np.empty(np.broadcast_shapes(a.shape, b.shape), dtype=np.uint64)
    if product.size <= PART:
        return _multiply(a, b)
    flat = product.reshape(-1)
    factors = [one.reshape(-1) if one.size == 1 else np.broadcast_to(one, product.shape).reshape(-1) for one in (a, b)]
    for start in range(0, len(flat), PART):
        part = slice(start, start + PART)
        flat[part] = _multiply(*(one if one.size == 1 else one[part] for one in factors))
    return product


def _multiply(a: Field, b: Field) -> Field:
    """a b, from halves of 32 bits: a = a1 2^32 + a0 with a1 < 2^29, and b alike.

    a1 b1 2^64 = 8 a1 b1 < 2^61. The middle a1 b0 + a0 b1 = m1 2^29 + m0 < 2^62 counts m1 + m0 2^32 < 2^61 + 2^33. a0 b0
    is folded to less than 2^61 + 8. So the sum is below 2^63.
    """
    a1, a0 = a >> _HALF, a & _LOW_HALF
    b1, b0 = b >> _HALF, b & _LOW_HALF
    middle = a1 * b0 + a0 * b1
    low = a0 * b0
    total = (a1 * b1 << np.uint64(3)) + (middle >> _SPLIT) + ((middle & _LOW_SPLIT) << _HALF)
    return reduce(total + (low & _P) + (low >> _BITS))


def total(a: Field, axis: int) -> Field:
    """The sum along ``axis``, of less than 2^32 elements: of their halves, which do not overflow; up to 7 at once.

    The upper ones add up to h = h1 2^29 + h0 < 2^61, which counts h0 2^32 + h1.
    """
    if a.shape[axis] <= MOST_AT_ONCE:
        return reduce(a.sum(axis, dtype=np.uint64, keepdims=True)).squeeze(axis)
    high = (a >> _HALF).sum(axis, dtype=np.uint64, keepdims=True)
    low = (a & _LOW_HALF).sum(axis, dtype=np.uint64, keepdims=True)
    return reduce(((high & _LOW_SPLIT) << _HALF) + (high >> _SPLIT) + reduce(low)).squeeze(axis)


def whole(a: Field) -> int:
    """The sum of all elements, less than 2^32 of them, not reduced."""
    return (int((a >> _HALF).sum(dtype=np.uint64)) << 32) + int((a & _LOW_HALF).sum(dtype=np.uint64))


def draw(stream: PRG, size: Sequence[int]) -> Field:
    """Elements of shape ``size`` that are uniform but for ``BIAS``: 61 random bits modulo p."""
    return reduce(stream.bits(size, BITS).numpy().view(np.uint64))


def draw_subsets(stream: PRG, count: int) -> Subsets:
    """64 random subsets of ``count`` values, as (count, 8) bytes: bit s of a row says if subset s has the value."""
    return np.frombuffer(stream.bytes(8 * count), dtype=np.uint8).reshape(count, 8)


def sum_subsets(subsets: Subsets, integers: npt.NDArray[np.int64]) -> npt.NDArray[np.int64]:
    """The sum of ``integers`` (count,) over each subset, (64,); exact where all their sizes add up to below 2^53.

    By bytes: a histogram of the integers over the 256 values of a byte holds the sums of its eight subsets.
    """
    weights = integers.astype(np.float64)
    tables = np.stack([np.bincount(subsets[:, b], weights=weights, minlength=256) for b in range(8)])
    return (tables @ _BITS_OF_BYTE).reshape(SUBSETS).astype(np.int64)


def weigh_subsets(subsets: Subsets, weights: Field) -> Field:
    """The weight of each value, (count,), under ``weights`` (64,) of the subsets: the sum over those that have it.

    So that sum_s weights_s (sum of subset s) = sum_i weigh_subsets_i value_i. Eight elements add up to below 2^64.
    """
    tables = [total(np.where(_BITS_OF_BYTE == 1, part, np.uint64(0)), axis=1) for part in weights.reshape(8, 8)]
    weighed = np.zeros(len(subsets), dtype=np.uint64)
    for b, table in enumerate(tables):
        weighed += table[subsets[:, b]]
    return reduce(weighed)


def of_bytes(message: bytes, shape: Sequence[int]) -> Field | None:
    """A received table of elements; None where the message has another size, or a number that is no element."""
    if len(message) != 8 * prod(shape):
        return None
    numbers = np.frombuffer(message, dtype="<u8").reshape(tuple(shape))
    return None if (numbers >= _P).any() else numbers
