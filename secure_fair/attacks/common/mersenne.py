"""The Mersenne Twister seen through its outputs: 312 ring elements of torch's generator give all others, both ways.

torch draws an int64 over the whole ring from two 32-bit outputs of MT19937 (Matsumoto & Nishimura 1998). Each output is
an invertible function of one word of state, and the words obey a recurrence of order 624 that runs backwards as well.
So a mask drawn from torch's generator tells every earlier and later mask.
"""

from __future__ import annotations

import numpy as np

ELEMENTS = 312
"""Consecutive ring elements that hold the whole state."""

_N, _M = 624, 397
_MATRIX = 0x9908B0DF
_UPPER, _LOWER = 0x80000000, 0x7FFFFFFF


def before(elements: np.ndarray, count: int) -> np.ndarray:
    """The ``count`` int64 ring elements drawn just before these consecutive ones (312 at least), in order."""
    words = _words(elements[:ELEMENTS])
    for _ in range(2 * count):
        words.insert(0, _previous(words))
    return _elements(words[: 2 * count])


def after(elements: np.ndarray, count: int) -> np.ndarray:
    """The ``count`` int64 ring elements drawn just after these consecutive ones (312 at least), in order."""
    words = _words(elements[-ELEMENTS:])
    for _ in range(2 * count):
        mixed = (words[-_N] & _UPPER) | (words[-_N + 1] & _LOWER)
        words.append(words[-_N + _M] ^ (mixed >> 1) ^ (_MATRIX if mixed & 1 else 0))
    return _elements(words[_N:])


def _previous(words: list[int]) -> int:
    """The word before ``words``: its upper bit from one instance of the recurrence, the others from the one before."""
    return (_unmix(words[_N - 1] ^ words[_M - 1]) & _UPPER) | (_unmix(words[_N - 2] ^ words[_M - 2]) & _LOWER)


def _unmix(word: int) -> int:
    """Inverse of the recurrence's linear map; the matrix has the highest bit, so that bit tells the one shifted out."""
    return ((word ^ _MATRIX) << 1 | 1) & 0xFFFFFFFF if word & _UPPER else word << 1


def _words(elements: np.ndarray) -> list[int]:
    flat = np.asarray(elements, dtype=np.int64).reshape(-1)
    if len(flat) < ELEMENTS:
        raise ValueError(f"{len(flat)} ring elements; the state takes {ELEMENTS}")
    words = []
    for element in flat.tolist():
        drawn = (element + (1 << 63)) & 0xFFFFFFFFFFFFFFFF  # torch adds the range's lower end, -2^63
        words += [_untemper(drawn >> 32), _untemper(drawn & 0xFFFFFFFF)]
    return words


def _elements(words: list[int]) -> np.ndarray:
    tempered = [_temper(word) for word in words]
    drawn = [(high << 32) | low for high, low in zip(tempered[::2], tempered[1::2], strict=True)]
    return np.array([value - (1 << 63) for value in drawn], dtype=np.int64)


def _temper(word: int) -> int:
    word ^= word >> 11
    word ^= (word << 7) & 0x9D2C5680
    word ^= (word << 15) & 0xEFC60000
    return word ^ (word >> 18)


def _untemper(output: int) -> int:
    word = output ^ (output >> 18)
    word ^= (word << 15) & 0xEFC60000
    known = word
    for _ in range(5):
        known = word ^ ((known << 7) & 0x9D2C5680)
    word = known & 0xFFFFFFFF
    known = word
    for _ in range(3):
        known = word ^ (known >> 11)
    return known
