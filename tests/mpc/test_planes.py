"""Planes of binary digits: each is what it says, however many elements there are."""

from __future__ import annotations

import pytest
import torch

from secure_fair.mpc import planes
from tests.mpc.values import generator

LENGTHS = [0, 1, 7, 8, 9, 130, 8 * planes.BLOCK + 5]


@pytest.mark.parametrize("count", LENGTHS)
def test_a_plane_has_one_digit_of_every_element(count: int) -> None:
    elements = torch.randint(-(1 << 63), (1 << 63) - 1, (count,), generator=generator(1))
    made = planes.digits_of(elements)
    assert made.shape == (planes.DIGITS, planes.width(count))
    for digit in range(planes.DIGITS):
        bits = elements >> digit & 1
        assert torch.equal(planes.unpack(made[digit], count), bits)
        assert (planes.pack(bits) == made[digit]).all()


@pytest.mark.parametrize("count", LENGTHS)
def test_planes_come_back_from_ring_elements(count: int) -> None:
    made = planes.digits_of(torch.arange(count))[:3]
    elements = planes.to_ring(made)
    assert elements.shape == (planes.words(made.size),)
    assert (planes.of_ring(elements, *made.shape) == made).all()
