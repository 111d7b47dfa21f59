"""The field against Python's integers, at random values and at those where a carry could be lost."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from secure_fair.mpc import field
from secure_fair.mpc.field import PRIME
from secure_fair.randomness import PRG

EDGES = [
    0,
    1,
    2,
    7,
    8,
    2**29 - 1,
    2**29,
    2**31,
    2**32 - 1,
    2**32,
    2**32 + 1,
    2**60,
    PRIME - 2**32,
    PRIME - 2,
    PRIME - 1,
]
elements = st.integers(0, PRIME - 1) | st.sampled_from(EDGES)
tables = st.lists(elements, min_size=1, max_size=50)


def array(values: list[int]) -> field.Field:
    return np.array(values, dtype=np.uint64)


def test_p_is_prime_by_lucas_and_lehmer() -> None:
    s = 4
    for _ in range(field.BITS - 2):
        s = (s * s - 2) % PRIME
    assert s == 0


@pytest.mark.parametrize("a", EDGES)
def test_edges(a: int) -> None:
    b = array(EDGES)
    assert field.multiply(array([a]), b).tolist() == [a * y % PRIME for y in EDGES]
    assert field.add(array([a]), b).tolist() == [(a + y) % PRIME for y in EDGES]
    assert field.subtract(array([a]), b).tolist() == [(a - y) % PRIME for y in EDGES]


@given(st.lists(st.tuples(elements, elements), min_size=1, max_size=50))
def test_arithmetic_is_that_of_the_integers(pairs: list[tuple[int, int]]) -> None:
    a, b = array([x for x, _ in pairs]), array([y for _, y in pairs])
    assert field.multiply(a, b).tolist() == [x * y % PRIME for x, y in pairs]
    assert field.add(a, b).tolist() == [(x + y) % PRIME for x, y in pairs]
    assert field.subtract(a, b).tolist() == [(x - y) % PRIME for x, y in pairs]


@pytest.mark.parametrize("others", [(1,), (40, 1), (700,), (40, 700)], ids=str)
def test_large_tables_are_multiplied_by_parts(others: tuple[int, ...]) -> None:
    chance = np.random.default_rng(0)
    a, b = (chance.integers(0, PRIME, size).astype(np.uint64) for size in ((40, 700), others))
    assert a.size > field.PART
    assert (field.multiply(a, b) == a.astype(object) * b.astype(object) % PRIME).all()
    assert (field.multiply(b, a) == field.multiply(a, b)).all()


@given(st.lists(st.integers(0, 2**64 - 1), min_size=1, max_size=50))
def test_reduction_of_any_word(words: list[int]) -> None:
    assert field.reduce(array(words)).tolist() == [word % PRIME for word in words]


@given(st.lists(st.integers(1 - PRIME, PRIME - 1), min_size=1, max_size=50))
def test_signed_integers(values: list[int]) -> None:
    assert field.encode(np.array(values)).tolist() == [value % PRIME for value in values]


@given(tables)
def test_totals(values: list[int]) -> None:
    assert int(field.total(array(values), axis=0)) == sum(values) % PRIME
    assert field.whole(array(values)) == sum(values)
    table = np.stack([array(values), array(values[::-1])])
    assert field.total(table, axis=1).tolist() == [sum(values) % PRIME] * 2
    assert field.total(table, axis=0).tolist() == [(x + y) % PRIME for x, y in zip(values, values[::-1], strict=True)]


@pytest.mark.parametrize("count", [1, 300])
def test_sums_over_random_subsets(count: int) -> None:
    subsets = field.draw_subsets(PRG(bytes(32)), count)
    chosen = np.unpackbits(subsets, axis=1)
    values = [(-3) ** (i % 20) for i in range(count)]
    sums = [sum(v for v, bit in zip(values, column, strict=True) if bit) for column in chosen.T.tolist()]
    assert chosen.shape == (count, field.SUBSETS)
    assert field.sum_subsets(subsets, np.array(values)).tolist() == sums
    weights = field.draw(PRG(bytes([1]) * 32), (field.SUBSETS,))
    weights[:10] = PRIME - 1
    weighed = [sum(w for w, bit in zip(weights.tolist(), row, strict=True) if bit) % PRIME for row in chosen.tolist()]
    assert field.weigh_subsets(subsets, weights).tolist() == weighed


def test_what_is_received_must_be_elements() -> None:
    numbers = field.of_bytes(array([[3, PRIME - 1]]).tobytes(), (1, 2))
    assert numbers is not None
    assert numbers.tolist() == [[3, PRIME - 1]]
    assert field.of_bytes(array([PRIME]).tobytes(), (1,)) is None
    assert field.of_bytes(array([3]).tobytes(), (2,)) is None
