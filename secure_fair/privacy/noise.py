"""Discrete Gaussian noise on ring integers, exactly distributed, from randomness of the operating system.

The distribution is that of Canonne, Kamath and Steinke 2020, P[x] proportional to exp(-x^2 / (2 sigma^2)), x integer;
the sampler is Karney's (2016, algorithm D) in bulk: |x| = sigma k + j, with k drawn in proportion to exp(-k^2 / 2), j
uniform below sigma, accepted with probability exp(-(j / sigma) (k + j / (2 sigma))). Every decision compares a uniform
number, of which 53 bits are drawn, with a probability in float64. Where those bits cannot tell (2^-45 around the
probability; about once in 10^13 draws), more bits are drawn and the probability is computed to the digits it takes.
So no rounding reaches the distribution, given that float64 ``exp`` is right to 2^-45.
"""

from __future__ import annotations

import decimal
import math
import secrets
from collections.abc import Callable
from decimal import Decimal
from typing import Protocol

import numpy as np

from secure_fair.errors import UsageError
from secure_fair.randomness import KEY_BYTES, PRG, KeySource

_BITS = 53  # of a uniform number in the first comparison: all that float64 holds
_MARGIN = 2.0**-45  # far above the error of float64 exp and division
_BLOCK = 1 << 16  # proposals per round: the arrays stay in the cache
_LARGEST_SIGMA = 2**48  # in ring units: beyond, noise could wrap around the ring of 2^64
# On a grid coarser than sigma / 16 the discrete Gaussian is up to 2 % off the closed form; one unit more covers it.
_FINE_SIGMA = 16


class Bytes(Protocol):
    """A source of uniform bytes."""

    def bytes(self, count: int) -> bytes: ...


class NoiseSource(Protocol):
    """A source of the gate's noise."""

    private: bool  # False for a seeded source: every artefact then says so
    description: str

    def gaussian(self, sigma: int, count: int) -> np.ndarray:
        """``count`` draws, int64, of the discrete Gaussian of scale ``sigma`` in ring units."""
        ...


class SystemNoise:
    """The gate's noise: AES-256-CTR under a key of the operating system's, drawn here and kept nowhere."""

    private = True
    description = "discrete Gaussian, AES-256-CTR keyed by the operating system"

    def __init__(self) -> None:
        self._source = PRG(secrets.token_bytes(KEY_BYTES))

    def gaussian(self, sigma: int, count: int) -> np.ndarray:
        """``count`` draws, int64, at scale ``sigma`` in ring units."""
        return discrete_gaussian(sigma, count, self._source)


class SeededNoise:
    """NOT PRIVATE: noise that repeats with its seed, for experiments. Who knows the seed can take it off again."""

    private = False
    description = "NOT PRIVATE: seeded noise"

    def __init__(self, seed: int) -> None:
        self._source = PRG(KeySource.seeded(seed).derive("gate noise"))

    def gaussian(self, sigma: int, count: int) -> np.ndarray:
        """``count`` draws, int64, at scale ``sigma`` in ring units."""
        return discrete_gaussian(sigma, count, self._source)


def ring_sigma(sigma: float | None, scale: int) -> int:
    """The scale of noise in ring units, ``scale`` of them per 1.0, rounded up; 0 for no noise."""
    if not sigma:
        return 0
    deviation = math.ceil(sigma * scale)
    if deviation < _FINE_SIGMA:
        deviation += 1
    if deviation > _LARGEST_SIGMA:
        raise UsageError(f"sigma = {sigma:.3g} at {scale} ring units per 1: the noise could wrap around; ask for less")
    return deviation


def discrete_gaussian(sigma: int, count: int, source: Bytes, *, bits: int = _BITS) -> np.ndarray:
    """``count`` independent draws, int64, of the discrete Gaussian with scale ``sigma`` (ring units, 1 to 2^48).

    ``bits`` of each uniform number are tried before the exact comparison; fewer make it common, for tests.
    """
    if not 1 <= sigma <= _LARGEST_SIGMA:
        raise UsageError(f"sigma = {sigma} ring units: must be between 1 and 2^48")
    result = np.empty(count, dtype=np.int64)
    filled = 0
    while filled < count:
        # Seven in ten proposals are accepted; a few more than that are drawn, and none twice.
        wanted = min(_BLOCK, int((count - filled) * 1.45) + 16)
        draws = _proposals(sigma, wanted, source, bits)[: count - filled]
        result[filled : filled + len(draws)] = draws
        filled += len(draws)
    return result


def _proposals(sigma: int, count: int, source: Bytes, bits: int) -> np.ndarray:
    """The accepted ones of ``count`` proposals."""
    k, negative = _halfnormal(count, source, bits)
    j = uniform_below(sigma, count, source)
    fraction = j / sigma
    probability = np.exp(-fraction * (k + fraction / 2))
    accepted = _bernoulli(probability, source, bits, lambda place: _acceptance(sigma, int(k[place]), int(j[place])))
    accepted &= ~(negative & (k == 0) & (j == 0))  # zero has one sign only
    size = (k * sigma + j)[accepted]
    return np.where(negative[accepted], -size, size)


def _halfnormal(count: int, source: Bytes, bits: int) -> tuple[np.ndarray, np.ndarray]:
    """k >= 0 with P[k] proportional to exp(-k^2 / 2), by inversion, and a fair sign."""
    words = _words(count, source)
    negative = (words & np.uint64(1)) == 1
    drawn = words >> np.uint64(64 - bits)
    uniform = drawn * 2.0**-bits
    k = np.searchsorted(_CUMULATIVE, uniform, side="right").astype(np.int64)
    # The uniform number lies in [uniform, uniform + 2^-bits); a boundary nearer than that decides k.
    step = 2.0**-bits + _MARGIN
    following = _CUMULATIVE[np.minimum(k, len(_CUMULATIVE) - 1)]
    preceding = np.where(k > 0, _CUMULATIVE[np.maximum(k - 1, 0)], -1.0)
    close = (uniform + step >= following) | (uniform - _MARGIN <= preceding) | (k >= len(_CUMULATIVE))
    for place in np.flatnonzero(close):
        number = _Uniform(int(drawn[place]), bits, source)
        exact = 0
        while not number.below(lambda digits, level=exact: _cumulative(level, digits)):  # type: ignore[misc]
            exact += 1
        k[place] = exact
    return k, negative


def uniform_below(bound: int, count: int, source: Bytes) -> np.ndarray:
    """Uniform integers below ``bound``, int64: words modulo the bound, those beyond its last multiple redrawn."""
    limit = 2**64 - 2**64 % bound
    words = _words(count, source)
    while limit < 2**64:
        late = np.flatnonzero(words >= np.uint64(limit))
        if not late.size:
            break
        words[late] = _words(late.size, source)
    return (words % np.uint64(bound)).astype(np.int64)


def _bernoulli(
    probability: np.ndarray, source: Bytes, bits: int, exact: Callable[[int], Callable[[int], Decimal]]
) -> np.ndarray:
    """Events of the given probabilities, bool; ``exact(place)`` gives one to any number of digits."""
    drawn = _words(len(probability), source) >> np.uint64(64 - bits)
    uniform = drawn * 2.0**-bits
    happened = uniform < probability
    close = (uniform - _MARGIN <= probability) & (probability <= uniform + 2.0**-bits + _MARGIN)
    for place in np.flatnonzero(close):
        happened[place] = _Uniform(int(drawn[place]), bits, source).below(exact(int(place)))
    return happened


class _Uniform:
    """A uniform number in [0, 1) whose further bits are drawn as a comparison asks for them."""

    def __init__(self, drawn: int, bits: int, source: Bytes) -> None:
        self._drawn = drawn
        self._bits = bits
        self._source = source

    def below(self, probability: Callable[[int], Decimal]) -> bool:
        """True if it is below a number that ``probability(digits)`` gives with an error under 10^-digits."""
        while True:
            digits = self._bits // 3 + 5
            with decimal.localcontext(prec=2 * digits + 20):
                value = probability(digits) * 2**self._bits
                error = Decimal(2**self._bits).scaleb(-digits)
                if self._drawn + 1 <= value - error:
                    return True
                if self._drawn >= value + error:
                    return False
            self._drawn = self._drawn << 64 | int.from_bytes(self._source.bytes(8), "little")
            self._bits += 64


def _acceptance(sigma: int, k: int, j: int) -> Callable[[int], Decimal]:
    def probability(digits: int) -> Decimal:
        return (-Decimal(j * (2 * k * sigma + j)) / (2 * sigma * sigma)).exp()

    return probability


def _cumulative(level: int, digits: int) -> Decimal:
    """P[k <= level] where P[k] is proportional to exp(-k^2 / 2), with an error under 10^-digits."""
    with decimal.localcontext(prec=digits + 20):
        last = 3 + int((5 * (digits + 10)) ** 0.5)  # exp(-last^2 / 2) < 10^-(digits + 10)
        terms = [(-Decimal(k * k) / 2).exp() for k in range(max(last, level) + 1)]
        return sum(terms[: level + 1], Decimal(0)) / sum(terms, Decimal(0))


def _words(count: int, source: Bytes) -> np.ndarray:
    """Uniform uint64 in a writable array."""
    return np.frombuffer(bytearray(source.bytes(8 * count)), dtype="<u8")


_CUMULATIVE = np.array([float(_cumulative(level, 30)) for level in range(8)])
