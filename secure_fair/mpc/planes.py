"""Binary digits of many ring elements as planes: a row of packed bits for each digit, the lowest digit first.

A plane has as many bytes as an eighth of the elements: element e * width + b is bit e of byte b. What the elements do
not fill is zero.
"""

from __future__ import annotations

from math import prod
from typing import TypeAlias, TypeVar

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

DIGITS = 64
BLOCK = 1 << 12  # bytes of a plane that are made at a time: they stay in the processor's cache
Planes: TypeAlias = npt.NDArray[np.uint8]
Number = TypeVar("Number", bound=np.generic)
# a matrix of 8 by 8 bits in the bytes of eight words is transposed by changing places within 8 by 8, 4 by 4 and 2 by 2
_TURNS = [(4, 0x0F0F0F0F0F0F0F0F), (2, 0x3333333333333333), (1, 0x5555555555555555)]


def width(count: int) -> int:
    """Bytes of a plane of so many elements."""
    return -(-count // 8)


def words(size: int) -> int:
    """Ring elements that hold so many bytes."""
    return -(-size // 8)


def digits_of(elements: Tensor) -> Planes:
    """The planes (64, width) of int64 ``elements`` (n,)."""
    eighths = _eighths(elements.numpy().view(np.uint64))
    size = eighths.shape[1]
    planes = np.empty((8, 8, size), dtype=np.uint8)
    for start in range(0, size, BLOCK):
        part = eighths[:, start : start + BLOCK].copy()
        for apart, mask in _TURNS:
            pairs = part.reshape(-1, 2, apart, part.shape[1])
            upper, lower = pairs[:, 0], pairs[:, 1]
            moved = ((upper >> np.uint64(apart)) ^ lower) & np.uint64(mask)
            lower ^= moved
            upper ^= moved << np.uint64(apart)
        planes[:, :, start : start + BLOCK] = part.view(np.uint8).reshape(8, -1, 8).transpose(2, 0, 1)
    return planes.reshape(DIGITS, size)


def pack(bits: Tensor) -> Planes:
    """The plane (width,) of elements (n,) that are 0 or 1."""
    eighths = _eighths(bits.numpy().astype(np.uint8))
    return np.bitwise_or.reduce(eighths << np.arange(8, dtype=np.uint8)[:, None], axis=0)


def unpack(plane: Planes, count: int) -> Tensor:
    """So many elements of a plane, int64."""
    bits = plane >> np.arange(8, dtype=np.uint8)[:, None] & 1
    return torch.from_numpy(bits.reshape(-1)[:count].astype(np.int64))


def to_ring(planes: Planes) -> Tensor:
    """The bytes of some planes as ring elements, the last one filled up with zeros."""
    flat = planes.reshape(-1)
    if flat.size % 8:
        flat = np.pad(flat, (0, -flat.size % 8))
    return torch.from_numpy(flat.view("<i8"))


def of_ring(elements: Tensor, *shape: int) -> Planes:
    """The planes of this shape whose bytes are in some ring elements."""
    return elements.numpy().view(np.uint8)[: prod(shape)].reshape(shape)


def _eighths(values: npt.NDArray[Number]) -> npt.NDArray[Number]:
    """The values in eight rows, the last of them filled up with zeros."""
    missing = -len(values) % 8
    return (np.pad(values, (0, missing)) if missing else values).reshape(8, -1)
