"""Fixed-point numbers go to the ring and back within half a unit, and nothing out of bounds passes."""

from __future__ import annotations

import math

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from secure_fair.errors import ProtocolError, UsageError
from secure_fair.mpc.numbers import check_precision, decode, encode, encode_integers

BOUND = 2.0**40


@given(st.lists(st.floats(-BOUND, BOUND), min_size=1, max_size=20), st.sampled_from([8, 16, 20]))
def test_round_trip_within_half_a_unit(values: list[float], bits: int) -> None:
    exact = torch.tensor(values, dtype=torch.float64)
    back = decode(encode(exact, bits, bound=BOUND), 1 << bits, bound=BOUND + 1)
    # above 2^52 ring units float64 itself has no half units
    assert bool(((back - exact).abs() <= 0.5 / (1 << bits) + exact.abs() * 2.0**-52).all())


@pytest.mark.parametrize("value", [-5.99998, -2.0, -(2.0**-16), -10000.3, -7.000015])
def test_negatives_that_the_stock_decoder_gets_wrong(value: float) -> None:
    assert abs(float(decode(encode(torch.tensor([value]), 16, bound=1e5), 1 << 16, bound=1e5)) - value) < 1e-3
    assert (
        abs(
            float(decode(encode(torch.tensor([value], dtype=torch.float64), 16, bound=1e5), 1 << 16, bound=1e5)) - value
        )
        < 1e-5
    )


@pytest.mark.parametrize("bad", [math.nan, math.inf, -math.inf, 1.0001, -(2.0**47), 1e300])
def test_what_is_not_finite_or_beyond_its_bound_is_not_encoded(bad: float) -> None:
    with pytest.raises(ProtocolError, match="its bound is 1"):
        encode(torch.tensor([0.5, bad], dtype=torch.float64), 16, bound=1.0)


def test_a_bound_that_does_not_fit_the_ring_is_refused() -> None:
    with pytest.raises(UsageError, match="does not fit the ring"):
        encode(torch.zeros(1), 16, bound=2.0**46)


def test_integers_only_as_integers() -> None:
    assert encode_integers(torch.tensor([-3, 0, 7]), bound=7).tolist() == [-3, 0, 7]
    assert encode_integers(torch.tensor([True, False]), bound=1).tolist() == [1, 0]
    for bad in (torch.tensor([0.5]), torch.tensor([math.nan])):
        with pytest.raises(ProtocolError, match="integer"):
            encode_integers(bad, bound=7)
    with pytest.raises(ProtocolError, match="bound is 7"):
        encode_integers(torch.tensor([8]), bound=7)


def test_an_opening_beyond_its_bound_is_an_error_with_value_and_bound() -> None:
    failed = encode(torch.tensor([1.5]), 16, bound=10) + (1 << 48)  # what a failed truncation leaves
    with pytest.raises(ProtocolError, match=r"4\.29497e\+09.*bound is 10"):
        decode(failed, 1 << 16, bound=10)


def test_empty_tensors_pass() -> None:
    assert decode(encode(torch.zeros(0, 3), 16, bound=1), 1 << 16, bound=1).shape == (0, 3)


@pytest.mark.parametrize("bits", [7, 25, 0, -1])
def test_precision_has_a_range(bits: int) -> None:
    with pytest.raises(UsageError, match="8 to 24"):
        check_precision(bits)
