"""Properties that are proved of a committed matrix: rows of norm at most 1, or bits with a rule for the rows.

Each property is a number of equations of degree 2, written once for both sides of a check (``authenticated.Check``),
and beside them what the owner needs in order to state them: its integers, its slacks.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from enum import Enum
from functools import lru_cache
from math import isqrt

import numpy as np
import torch
from torch import Tensor

from secure_fair.errors import UsageError
from secure_fair.mpc import field
from secure_fair.mpc.authenticated import AuthenticatedTable, Check, Integers
from secure_fair.mpc.field import PRIME, SUBSETS, Subsets
from secure_fair.randomness import PRG

FRACTION_BITS = 8
SCALE = 1 << FRACTION_BITS
LIMIT = SCALE**2
"""Of a row's squared norm, as an integer."""
NORM_TOLERANCE = 1e-6
"""By which a row's norm may exceed 1, from rounding: cut off to 8 bits, such a row is within the bound."""
MAX_BLOCK_ROWS = 4096
MAX_DIGITS = 28
_LINEAR_SLACK = (0, 0, 1)  # of a^2 + b^2 + c^2 + c


# rows of norm at most 1


@dataclass(frozen=True)
class Blocks:
    """How the rows are cut for the sums over subsets: into ``count`` blocks of ``rows``, sums of so many ``digits``."""

    rows: int
    count: int
    digits: int

    @classmethod
    def of(cls, n: int, k: int) -> Blocks:
        """For ``n`` rows of ``k``: the largest blocks for which an equation modulo p is one of integers.

        The sizes of a row's numbers and slacks add up to at most sqrt(k + 3) 2^8; all below 2^digits, the equation's
        two sides differ by less than p. UsageError where rows are too long even one by one.
        """
        rows = MAX_BLOCK_ROWS
        while rows:
            digits = 1 + (rows * (isqrt((k + 3) * LIMIT) + 1)).bit_length()
            if digits <= MAX_DIGITS and (k + 3) * 4**digits + 2**digits + LIMIT < PRIME:
                return cls(rows, -(-n // rows), digits)
            rows //= 2
        raise UsageError(f"rows of {k} numbers are too long for a proof of their norm: cut them into shorter ones")


def encode_rows(values: Tensor, shape: tuple[int, int]) -> Integers:
    """Real ``values`` (n, k) as integers in units of 2^-8, every row's norm at most 2^8; UsageError for longer rows.

    Rounded to the nearest; the rows that become too long by this are cut off (towards zero) instead.
    """
    if tuple(values.shape) != shape:
        raise UsageError(f"values of shape {tuple(values.shape)} were to be committed to as {shape}")
    integers = np.empty(shape, dtype=np.int64)
    for start in range(0, shape[0], MAX_BLOCK_ROWS):
        part = values[start : start + MAX_BLOCK_ROWS].detach().cpu().double().numpy()
        norms = np.linalg.norm(part, axis=1)
        if not (norms <= 1 + NORM_TOLERANCE).all():  # NaN too
            row = int(np.argmax(~(norms <= 1 + NORM_TOLERANCE)))
            raise UsageError(f"row {start + row} has norm {norms[row]:g}: a committed query's rows have at most 1")
        rounded = np.rint(part * SCALE)
        too_long = np.square(rounded).sum(1) > LIMIT
        rounded[too_long] = np.trunc(part[too_long] * SCALE)
        integers[start : start + MAX_BLOCK_ROWS] = rounded
    return integers


def find_slacks(rows: Integers) -> Integers:
    """Slacks (n, 3): a, b, c with a^2 + b^2 + c^2 + c = 2^16 - the squared norm of the row."""
    slack = LIMIT - np.einsum("ij,ij->i", rows, rows)
    return _three_squares().take(slack, axis=0)


@lru_cache(maxsize=1)
def _three_squares() -> Integers:
    """For m from 0 to LIMIT, (LIMIT + 1, 3): a, b, c with m = a^2 + b^2 + c^2 + c.

    They exist for every m >= 0: 4 m + 1 is a sum of three squares (Legendre), two of them even and one odd.
    """
    found = np.full((LIMIT + 1, 3), -1, dtype=np.int64)
    of_two = np.full((LIMIT + 1, 2), -1, dtype=np.int64)
    a, b = np.divmod(np.arange((SCALE + 1) ** 2), SCALE + 1)
    small = a**2 + b**2 <= LIMIT
    of_two[(a**2 + b**2)[small]] = np.stack([a, b], axis=1)[small]
    for c in range(SCALE):
        rest = of_two[: LIMIT + 1 - c * (c + 1)]
        missing = (found[c * (c + 1) :, 0] < 0) & (rest[:, 0] >= 0)
        found[c * (c + 1) :][missing] = np.insert(rest[missing], 2, c, axis=1)
    return found


def sum_over_subsets(subsets: Subsets, rows: Integers, slacks: Integers) -> Integers:
    """The owner's sums (64,) over the subsets of a block's ``rows`` (m, k) and ``slacks`` (m, 3)."""
    return field.sum_subsets(subsets, np.concatenate([rows.reshape(-1), slacks.reshape(-1)]))


def digits_of(sums: Integers, digits: int) -> Integers:
    """Binary digits, (64, digits), of sums in [-2^(digits - 1), 2^(digits - 1)), counted from the lower end."""
    return (sums[:, None] + (1 << (digits - 1)) >> np.arange(digits)) & 1


def add_norms(check: Check, stream: PRG, rows: AuthenticatedTable, slacks: AuthenticatedTable) -> None:
    """For every row: sum_j F_j^2 + a^2 + b^2 + c^2 + c - 2^16 = 0."""
    weights = field.draw(stream, (len(rows.codes),))
    check.add(weights, rows, square=True)
    check.add(weights, slacks, square=True, linear=_LINEAR_SLACK)
    check.add_public(weights, -LIMIT)


def add_ranges(
    check: Check,
    stream: PRG,
    subsets: Subsets,
    rows: AuthenticatedTable,
    slacks: AuthenticatedTable,
    digits: AuthenticatedTable,
) -> None:
    """For every subset: its digits are bits, and sum_i 2^i digit_i - 2^(t - 1) - (sum over the subset) = 0."""
    t = digits.codes.shape[1]
    weights = field.draw(stream, (SUBSETS,))
    check.add(weights, digits, linear=[1 << i for i in range(t)])
    check.add_public(weights, -(1 << (t - 1)))
    weighed = field.weigh_subsets(subsets, weights)
    check.add(weighed[: rows.codes.size], rows.flat(), linear=(-1,))
    check.add(weighed[rows.codes.size :], slacks.flat(), linear=(-1,))
    add_bits(check, stream, digits)


# bits


class RowSum(Enum):
    """The sum of the entries of a row of bits."""

    ONE = "one"
    ANY = "any"


def encode_bits(values: Tensor, shape: tuple[int, int], rule: RowSum) -> Integers:
    """``values`` (n, c) as int8; UsageError unless they are bits and keep to the ``rule``."""
    if tuple(values.shape) != shape:
        raise UsageError(f"values of shape {tuple(values.shape)} were to be committed to as {shape}")
    bits = np.empty(shape, dtype=np.int8)
    for start in range(0, shape[0], MAX_BLOCK_ROWS):
        part = slice(start, start + MAX_BLOCK_ROWS)
        integers = _whole_numbers(values[part])
        sums = integers.sum(1)
        broken = {
            "be 0 or 1": ((integers < 0) | (integers > 1)).any(1),
            "add up to one in every row": (sums != 1) & (rule is RowSum.ONE),
        }
        for what, where in broken.items():
            if where.any():
                row = start + int(np.argmax(where))
                raise UsageError(f"memberships to be committed to must {what}; row {row} is not so")
        bits[part] = integers
    return bits


def _whole_numbers(values: Tensor) -> Integers:
    integers = values.detach().cpu().long()
    if values.is_floating_point() and not torch.equal(values.detach().cpu(), integers.to(values.dtype)):
        raise UsageError("memberships to be committed to are integers")
    return integers.numpy()


def add_bits(check: Check, stream: PRG, table: AuthenticatedTable) -> None:
    """For every entry: x^2 - x = 0."""
    check.add(field.draw(stream, (table.codes.size,)), table.flat(), square=True, linear=(-1,))


def add_row_sums(check: Check, stream: PRG, table: AuthenticatedTable, rule: RowSum) -> None:
    """For every row of bits with sum s: s - 1 = 0, or nothing."""
    if rule is RowSum.ONE:
        weights = field.draw(stream, (len(table.codes),))
        check.add(weights, table.row_sums(), linear=(1,))
        check.add_public(weights, -1)


def check_sizes(owners: Sequence[str], sizes: Mapping[str, int], n: int) -> dict[str, int]:
    """How many of ``n`` rows each owner has; all of them for a single owner that names none.

    UsageError unless several owners name theirs, each one row at least and all together no more than there are.
    """
    if set(sizes) - set(owners) or (len(owners) > 1 and set(sizes) != set(owners)):
        raise UsageError(f"name how many rows each of {', '.join(owners)} has, and nobody else")
    found = {owner: sizes.get(owner, n) for owner in owners}
    if min(found.values()) < 1 or sum(found.values()) > n:
        raise UsageError(f"{found}: every owner has one row at least, and all together have {n} at most")
    return found
