"""Products in the ring are those of integers modulo 2^64, however the matrices lie in memory."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from secure_fair.mpc import ring

SHAPES = [
    ((5, 3), (3, 1)),
    ((5, 3), (3, 4)),
    ((1, 3), (3, 1)),
    ((2, 5, 3), (3, 4)),
    ((2, 5, 3), (2, 3, 4)),
    ((3,), (3, 2)),
    ((3,), (3,)),
]


def drawn(shape: tuple[int, ...], seed: int) -> torch.Tensor:
    generator = torch.Generator().manual_seed(seed)
    return torch.randint(-(2**63), 2**63 - 1, shape, generator=generator, dtype=torch.int64)


def exact(left: torch.Tensor, right: torch.Tensor) -> torch.Tensor:
    """By Python's integers."""
    whole = np.matmul(left.numpy().astype(object), right.numpy().astype(object))
    return torch.from_numpy(np.asarray((whole + 2**63) % 2**64 - 2**63, dtype=np.int64))


@pytest.mark.parametrize(("left", "right"), SHAPES)
@pytest.mark.parametrize("transposed", [False, True])
def test_a_product_wraps_around_as_integers_do(left: tuple[int, ...], right: tuple[int, ...], transposed: bool) -> None:
    a, b = drawn(left, 1), drawn(right, 2)
    if transposed:  # in memory alone
        a, b = a.transpose(0, -1).contiguous().transpose(0, -1), b.transpose(0, -1).contiguous().transpose(0, -1)
    assert torch.equal(ring.matmul(a, b), exact(a, b))


def test_rows_that_nobody_owns_are_zeros_without_memory() -> None:
    """As at a party that owns nothing of a mask."""
    nothing = torch.zeros((), dtype=torch.int64).expand(4, 3)
    assert torch.equal(ring.matmul(nothing.T, drawn((4, 2), 3)), torch.zeros(3, 2, dtype=torch.int64))
