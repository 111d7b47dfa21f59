"""The gate's noise has the discrete Gaussian's exact distribution, also on the path that float64 cannot decide."""

import math

import numpy as np
import pytest
import torch
from scipy.stats import chisquare, kstest

from secure_fair.errors import UsageError
from secure_fair.privacy.noise import SeededNoise, SystemNoise, _cumulative, discrete_gaussian, uniform_below
from secure_fair.randomness import PRG


@pytest.fixture
def source() -> PRG:
    """The same draws for a test whatever has run before it."""
    return PRG(b"a fixed key, so that this repeats"[:32])


def exact_pmf(sigma: float, largest: int) -> np.ndarray:
    """P[x] for |x| <= largest of the discrete Gaussian (Canonne, Kamath and Steinke 2020, Definition 1)."""
    everything = np.arange(-40 * int(sigma) - 40, 40 * int(sigma) + 41)
    weights = np.exp(-(everything.astype(float) ** 2) / (2 * sigma**2))
    return np.exp(-(np.arange(-largest, largest + 1).astype(float) ** 2) / (2 * sigma**2)) / weights.sum()


def p_value(draws: np.ndarray, sigma: float) -> float:
    """Chi-square of the draws against the exact pmf, the tails beyond 4 sigma in one bin each."""
    largest = math.ceil(4 * sigma)
    pmf = exact_pmf(sigma, largest)
    tail = (1 - pmf.sum()) / 2
    observed = np.bincount(np.clip(draws, -largest - 1, largest + 1) + largest + 1, minlength=2 * largest + 3)
    return float(chisquare(observed, np.concatenate([[tail], pmf, [tail]]) * len(draws)).pvalue)


@pytest.mark.parametrize("sigma", [1, 2, 3, 7, 20, 100])
def test_small_scales_against_the_exact_pmf(sigma: int, source: PRG) -> None:
    assert p_value(discrete_gaussian(sigma, 400_000, source), sigma) > 1e-3


@pytest.mark.parametrize(("sigma", "bits"), [(2, 1), (3, 4), (40, 6)])
def test_the_exact_comparison_has_the_same_distribution(sigma: int, bits: int, source: PRG) -> None:
    """With one to six bits before it, most draws are decided by the arbitrary-precision path."""
    assert p_value(discrete_gaussian(sigma, 6_000, source, bits=bits), sigma) > 1e-3


def test_the_test_itself_tells_a_rounded_gaussian_apart() -> None:
    """Rounding a continuous Gaussian is another distribution, and the chi-square sees it."""
    rounded = np.rint(np.random.default_rng(0).normal(0, 1, 400_000)).astype(np.int64)
    assert p_value(rounded, 1) < 1e-6


@pytest.mark.parametrize("sigma", [2**16, 2**24 + 1, 2**40])
def test_large_scales_against_the_normal_distribution(sigma: int, source: PRG) -> None:
    """So far above the grid the two distributions differ by less than the test can see."""
    draws = discrete_gaussian(sigma, 200_000, source)
    assert kstest(draws / sigma, "norm").pvalue > 1e-3
    assert len(np.unique(draws % 64)) == 64


def test_cumulative_is_computed_to_the_digits_asked_for() -> None:
    assert abs(float(_cumulative(0, 25)) - 1 / sum(math.exp(-k * k / 2) for k in range(40))) < 1e-15
    assert abs(_cumulative(3, 25) - _cumulative(3, 60)) < 10**-25


@pytest.mark.parametrize("bound", [2, 3, 10, 2**62 + 1])
def test_uniform_below_is_uniform(bound: int, source: PRG) -> None:
    draws = uniform_below(bound, 60_000, source)
    assert draws.min() >= 0
    assert draws.max() < bound
    tenths = np.minimum((draws.astype(float) / bound * min(bound, 10)).astype(int), min(bound, 10) - 1)
    assert chisquare(np.bincount(tenths, minlength=min(bound, 10))).pvalue > 1e-3


def test_system_noise_never_repeats_and_ignores_every_seed() -> None:
    def draw() -> np.ndarray:
        torch.manual_seed(0)
        np.random.seed(0)
        return SystemNoise().gaussian(2**16, 1000)

    assert not np.array_equal(draw(), draw())
    source = SystemNoise()
    assert not np.array_equal(source.gaussian(2**16, 1000), source.gaussian(2**16, 1000))
    assert source.private


def test_seeded_noise_repeats_and_says_what_it_is() -> None:
    assert np.array_equal(SeededNoise(3).gaussian(100, 50), SeededNoise(3).gaussian(100, 50))
    assert not np.array_equal(SeededNoise(3).gaussian(100, 50), SeededNoise(4).gaussian(100, 50))
    assert not SeededNoise(3).private
    assert "NOT PRIVATE" in SeededNoise(3).description


def test_scale_outside_the_ring_is_refused(source: PRG) -> None:
    for sigma in (0, 2**48 + 1):
        with pytest.raises(UsageError, match="sigma"):
            discrete_gaussian(sigma, 1, source)
