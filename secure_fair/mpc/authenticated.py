"""Authenticated values of one owner, and the one check that proves equations between them to a verifier.

For a value x the owner has a tag, a verifier has a key, and tag = key + Delta x modulo p = 2^61 - 1 (``field``), for a
factor Delta that the verifier alone knows. The dealer made the tags and keys of random masks; a public difference from
its mask gives any value its key: key of (r + d) = key of r - Delta d, and the tag stays. So does everything linear.

An equation f(x) = 0 of degree 2 is proved as in QuickSilver (eprint 2021/076). key(t) = tag - t x is a line: its value
at Delta is the key. Put in place of x, with t for every missing degree, it makes of f a polynomial in t: the owner
knows it, the verifier knows its value at Delta, and its coefficient of t^2 is f(x). With random weights w_l,

    sum_l w_l (key_l(t)^2 - b_l t key_l(t) + c_l t^2) = U_0 + U_1 t + t^2 sum_l w_l (x_l^2 + b_l x_l + c_l)

so that an owner whose equations hold tells U_0 and U_1, and the verifier compares. An authenticated random number,
added to both sides, hides them: U_1 is uniform for whatever weights the verifier sends, and U_0 follows from U_1 and
what the verifier has. It learns that the equations hold, and nothing else, however it deviates.

Soundness: if an equation does not hold, the sum of all is 0 with probability at most 2^-60 (the weight of that equation
is drawn after everything is fixed; ``field.BIAS``). Else the two sides differ by a polynomial of degree 2 in Delta,
with at most two roots, and Delta, of which the owner knows nothing, is one of them with probability at most 2^-59.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from secure_fair.mpc import field
from secure_fair.mpc.field import PRIME, Field
from secure_fair.mpc.menu import Keys
from secure_fair.mpc.provider import Provider

Integers = npt.NDArray[np.signedinteger[Any]]

CHECK_ERROR = 2.0**-60 + 2.0**-59
"""The probability that a false equation passes a check."""


@dataclass(frozen=True)
class AuthenticatedTable:
    """Authenticated values (m, c) at one party. ``codes``: tags at the owner, keys at a verifier, who has no values."""

    codes: Field
    values: Field | None

    def row_sums(self) -> AuthenticatedTable:
        """The sums of the rows, (m, 1)."""
        return AuthenticatedTable(
            field.total(self.codes, axis=1)[:, None],
            None if self.values is None else field.total(self.values, axis=1)[:, None],
        )

    def flat(self) -> AuthenticatedTable:
        """All values one below the other, (m c, 1)."""
        return AuthenticatedTable(
            self.codes.reshape(-1, 1), None if self.values is None else self.values.reshape(-1, 1)
        )


@dataclass(frozen=True)
class CommittedValues:
    """Values that an owner has committed itself to, (n, c), at one party.

    ``differences``, public, are the values less their masks: int64 or elements of the field. The owner has the
    ``values`` (integers), a verifier its ``keys`` to the masks.
    """

    item: Keys
    differences: Integers | Field
    values: Integers | None = None
    keys: Field | None = None

    def blocks(self, provider: Provider, verifier: int, rows: int) -> Iterator[AuthenticatedTable]:
        """So many rows at a time, authenticated to the ``verifier`` (rank), at this verifier or at the owner."""
        starts = range(0, len(self.differences), rows)
        if self.values is not None:
            tags = provider.tags(self.item, verifier)
            for values in (self.values[start : start + rows] for start in starts):
                yield AuthenticatedTable(field.draw(tags, values.shape), field.encode(values))
        elif self.keys is not None:
            for start in starts:
                shift = field.multiply(provider.delta, _elements(self.differences[start : start + rows]))
                yield AuthenticatedTable(field.subtract(self.keys[start : start + rows], shift), None)
        else:
            raise ValueError("who neither owns nor verifies has nothing to check")


def _elements(differences: Integers | Field) -> Field:
    return differences.view(np.uint64) if differences.dtype == np.uint64 else field.encode(differences.view(np.int64))


class Check(ABC):
    """One side of a check: sums up weighted equations, whose parts are added alike at both sides."""

    @abstractmethod
    def add(
        self, weights: Field, table: AuthenticatedTable, *, square: bool = False, linear: Sequence[int] = (0,)
    ) -> None:
        """Adds sum_i w_i sum_j (x_ij^2 + b_j x_ij): ``weights`` w (m,), ``table`` x (m, c), ``linear`` b, one or c.

        The squares only with ``square``.
        """

    @abstractmethod
    def add_public(self, weights: Field, value: int) -> None:
        """Adds sum_i w_i value."""


class OwnersCheck(Check):
    """The owner's side: U_0 and U_1."""

    def __init__(self) -> None:
        self._constant = 0
        self._slope = 0

    def add(
        self, weights: Field, table: AuthenticatedTable, *, square: bool = False, linear: Sequence[int] = (0,)
    ) -> None:
        """Adds tag^2 to U_0 and -tag (2 x + b) to U_1, the square's parts only with ``square``."""
        if table.values is None:
            raise ValueError("the owner's side needs values")
        weighed = field.multiply(weights[:, None], table.codes)
        if square:
            self._constant += field.whole(field.multiply(weighed, table.codes))
            self._slope -= 2 * field.whole(field.multiply(weighed, table.values))
        self._slope -= _with_coefficients(linear, weighed)

    def add_public(self, weights: Field, value: int) -> None:
        """Adds nothing: a constant is a coefficient of t^2."""

    def answer(self, blind: AuthenticatedTable) -> Field:
        """U_0 and U_1, (2,), hidden by the ``blind`` (1, 1), a random element that is used for this check alone."""
        if blind.values is None:
            raise ValueError("the owner's side needs values")
        constant, slope = self._constant + int(blind.codes[0, 0]), self._slope - int(blind.values[0, 0])
        return np.array([constant % PRIME, slope % PRIME], dtype=np.uint64)


class VerifiersCheck(Check):
    """The verifier's side: the value at Delta."""

    def __init__(self, delta: Field) -> None:
        self._delta = delta
        self._value = 0

    def add(
        self, weights: Field, table: AuthenticatedTable, *, square: bool = False, linear: Sequence[int] = (0,)
    ) -> None:
        """Adds key^2 - Delta b key, the square only with ``square``."""
        weighed = field.multiply(weights[:, None], table.codes)
        if square:
            self._value += field.whole(field.multiply(weighed, table.codes))
        self._value -= int(self._delta[0]) * _with_coefficients(linear, weighed)

    def add_public(self, weights: Field, value: int) -> None:
        """Adds Delta^2 value."""
        self._value += int(self._delta[0]) ** 2 * value * field.whole(weights)

    def holds(self, blind: AuthenticatedTable, answer: Field) -> bool:
        """Whether the owner's ``answer`` (2,) fits: then all equations hold, but for ``CHECK_ERROR``."""
        constant, slope = (int(number) for number in answer)
        expected = self._value + int(blind.codes[0, 0])
        return (constant + slope * int(self._delta[0]) - expected) % PRIME == 0


def _with_coefficients(linear: Sequence[int], weighed: Field) -> int:
    """sum_j b_j sum_i weighed_ij, for ``linear`` b, one or as many as there are columns."""
    if len(linear) == 1:
        return linear[0] * (field.whole(weighed) if linear[0] else 0)
    sums = field.total(weighed, axis=0)
    return sum(coefficient * int(column) for coefficient, column in zip(linear, sums, strict=True))
