"""Developers that share and commit to what they may not: their own checks are switched off, others' are not.

Whoever lies so does it for good, for a check is replaced: call these in a process that does nothing else.
"""

from __future__ import annotations

import numpy as np
from torch import Tensor

from secure_fair.mpc import bounds
from secure_fair.mpc.authenticated import Integers
from secure_fair.mpc.bounds import RowSum
from secure_fair.mpc.field import PRIME
from secure_fair.operations.common.operation import Operation


def lie_about_rows() -> None:
    """Commit to any rows, with slacks that fit to none that are too long; share any where nobody wants a proof."""

    def encode(values: Tensor, shape: tuple[int, int]) -> Integers:
        return np.rint(values.double().numpy() * bounds.SCALE).astype(np.int64)

    def slacks(rows: Integers) -> Integers:
        short = np.clip(bounds.LIMIT - np.square(rows.astype(np.float64)).sum(1), 0, bounds.LIMIT).astype(np.int64)
        return bounds._three_squares()[short]

    bounds.encode_rows = encode
    bounds.find_slacks = slacks
    Operation.input_bound = 2.0**40


def slacks_modulo_p(rows: Integers) -> Integers:
    """Slacks with which every row's equation holds modulo p, whatever its norm: the best that a liar can do."""
    with np.errstate(over="ignore"):
        short = np.clip(bounds.LIMIT - np.square(rows.astype(np.float64)).sum(1), 0, bounds.LIMIT).astype(np.int64)
    slacks = bounds._three_squares()[short]
    for place, row in enumerate(rows.tolist()):
        left = bounds.LIMIT - sum(number * number for number in row)
        if left < 0:  # p is 3 modulo 4: a square's root is its power (p + 1) / 4
            c = next(c for c in range(200) if pow(left - c * c - c, (PRIME - 1) // 2, PRIME) == 1)
            slacks[place] = pow(left - c * c - c, (PRIME + 1) // 4, PRIME), 0, c
    return slacks


def lie_about_bits() -> None:
    """Commit to any integers as memberships or strata."""

    def encode(values: Tensor, shape: tuple[int, int], rule: RowSum) -> Integers:
        return values.long().numpy()

    bounds.encode_bits = encode
