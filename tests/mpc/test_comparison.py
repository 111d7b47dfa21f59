"""Comparisons on shares: exact for every element of the ring, in four rounds, by few bytes and one request."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor

from secure_fair.mpc.lone import lone_session
from secure_fair.mpc.schedule import scheduled
from secure_fair.mpc.session import Session
from secure_fair.mpc.shares import from_share
from tests.mpc.harness import run
from tests.mpc.values import AUDITOR, DEVELOPER, generator, of_norm, open_to, share

LEAST, MOST = -(1 << 63), (1 << 63) - 1


def numbers() -> Tensor:
    """The ends of the ring, all powers of two and their neighbours, and random elements of every length."""
    powers = [1 << i for i in range(63)]
    edges = torch.tensor([0, LEAST, LEAST + 1, MOST, MOST - 1, *(p + by for p in powers for by in (-1, 0, 1))])
    random = torch.randint(LEAST, MOST, (2000,), generator=generator(1)) >> (torch.arange(2000) % 64)
    return torch.cat([edges, -edges, random])


def comparisons(session: Session, values: Tensor, scale: int) -> dict[str, Tensor]:
    shared = session.share_ring(DEVELOPER, values if session.name == DEVELOPER else None, values.shape)
    x, unit = from_share(shared.share, scale), 1.0 / scale
    found = {"<": x < 0, ">=": x >= 0, "==": x == 0, "eq": x.eq(0), "!=": x != 0, "ne": x.ne(0), "sign": x.sign()}
    found |= {">": x > 0, "<=": x <= 0, "< 1": x < unit, "== -1": x == -unit, "itself": x == x, "less": x < x}
    return {name: one.reveal() for name, one in found.items()}


@pytest.mark.parametrize("scale", [1, 1 << 16])
@pytest.mark.parametrize("parties", [2, 3, 4])
def test_comparisons_are_exact_for_every_element_of_the_ring(parties: int, scale: int) -> None:
    """Of the difference that they are about: that of x > 0 is -x, of x < 1 it is x - 1."""
    x = numbers()
    for found in run(comparisons, x, scale, parties=parties):
        expected = {
            "<": x < 0,
            ">=": x >= 0,
            "==": x == 0,
            "eq": x == 0,
            "!=": x != 0,
            "ne": x != 0,
            ">": -x < 0,
            "<=": -x >= 0,
            "< 1": x - 1 < 0,
            "== -1": x == -1,
            "itself": torch.ones_like(x),
            "less": torch.zeros_like(x),
            "sign": torch.where(x < 0, -1, 1),
        }
        assert found.keys() == expected.keys()
        for name, values in expected.items():
            assert torch.equal(found[name], values.long()), name


def shapes(session: Session) -> list[tuple[Tensor, Tensor]]:
    """Comparisons of shared values of many shapes, beside those in the clear."""
    found = []
    for size in [(), (0,), (1,), (7,), (8,), (9,), (65,), (3, 1, 5), (2, 0, 3)]:
        a, b = (torch.randint(-2, 3, size, generator=generator(seed)).double() for seed in (2, 3))
        x, y = share(session, DEVELOPER, a), share(session, AUDITOR, b)
        found += [((x < y).reveal(), a < b), ((x == y).reveal(), a == b)]
    a, b = of_norm((4, 6), 3.0, 4), of_norm((1, 4), 3.0, 5)
    x, y = share(session, DEVELOPER, a), share(session, AUDITOR, b)
    return [*found, ((y > x.t()).reveal(), b > a.T), ((x.t()[::2] >= y).reveal(), a.T[::2] >= b)]


@pytest.mark.parametrize("parties", [2, 3])
def test_values_of_any_shape_are_compared(parties: int) -> None:
    for pairs in run(shapes, parties=parties):
        for found, expected in pairs:
            assert found.shape == expected.shape
            assert torch.equal(found, expected.long())


def functions(session: Session) -> list[tuple[Tensor | None, Tensor]]:
    """Functions that rest on comparisons, opened to the developer, beside those in the clear."""
    a, b = of_norm((5, 7), 9.0, 6), of_norm((5, 7), 9.0, 7)
    x, y = share(session, DEVELOPER, a), share(session, AUDITOR, b)
    found = [(x.relu(), a.relu()), (x.abs(), a.abs()), (x.sign(), a.sign()), (x.hardtanh(), a.clamp(-1, 1))]
    found += [(x.where(x < y, y), torch.minimum(a, b)), (x * (x > y) + y * (x <= y), torch.maximum(a, b))]
    return [(open_to(session, DEVELOPER, shared), expected) for shared, expected in found]


@pytest.mark.parametrize("parties", [2, 3])
def test_what_rests_on_comparisons_is_right(parties: int) -> None:
    for found, expected in run(functions, parties=parties)[0]:
        assert float((found - expected).abs().max()) < 1e-4


def binary(session: Session) -> list[Tensor]:
    """CrypTen's tensors shared by XOR, of integers."""
    import crypten

    a, b = torch.tensor([5, -3, 0, MOST, LEAST]), torch.tensor([5, 4, -1, 7, -2])
    x, y = (crypten.mpc.primitives.BinarySharedTensor(values, src=0) for values in (a, b))
    as_tensor = crypten.mpc.MPCTensor.from_shares(x.share, precision=0, ptype=crypten.mpc.binary)
    shared = [x & y, x + y, x == y, x < y, x >= y, as_tensor._ltz(), as_tensor.to(crypten.mpc.arithmetic, precision=0)]
    return [one.reveal() for one in shared]


@pytest.mark.parametrize("parties", [2, 3])
def test_tensors_that_are_shared_by_xor_are_as_they_were(parties: int) -> None:
    a, b = torch.tensor([5, -3, 0, MOST, LEAST]), torch.tensor([5, 4, -1, 7, -2])
    for found in run(binary, parties=parties):
        for value, expected in zip(found, [a & b, a + b, a == b, a < b, a >= b, a < 0, a], strict=True):
            assert torch.equal(value, expected.long())


# what it costs

COUNT = 12_800
COMPARISONS: dict[str, Callable[[Any], Any]] = {"order": lambda x: x < 0, "equality": lambda x: x == 0}


def cost(session: Session, count: int, name: str, known: bool) -> dict[str, int]:
    """Rounds, requests to the dealer, and bytes that this party sends and that the dealer sends it, in one call.

    ``known``: by an operation that asks ahead. Otherwise by what comes along.
    """
    x = share(session, DEVELOPER, torch.arange(count).double() % 100)

    def compare(here: Session, value: Any) -> Any:
        return COMPARISONS[name](value)

    if known:
        scheduled(session, name, [(count,)], compare, x)
        session.prefetch(name, (count,))
    before = session._cost_so_far()
    if known:
        scheduled(session, name, [(count,)], compare, x)
    else:
        compare(session, x)
    spent = session._cost_so_far() - before
    return {
        "rounds": spent.rounds,
        "requests": spent.dealer_messages,
        "sent": spent.bytes_sent,
        "dealt": spent.dealer_bytes_received,
    }


@pytest.mark.parametrize(("name", "sent", "dealt"), [("order", 12.38, 51.0), ("equality", 10.63, 44.88)])
@pytest.mark.parametrize("parties", [2, 3])
@pytest.mark.parametrize("known", [False, True])
def test_a_comparison_takes_four_rounds_one_request_and_few_bytes(
    name: str, sent: float, dealt: float, parties: int, known: bool
) -> None:
    for found, last in zip(
        run(cost, COUNT, name, known, parties=parties), [*[False] * (parties - 1), True], strict=True
    ):
        assert found["rounds"] == 4
        assert found["requests"] == (0 if known else 1)
        assert found["sent"] / (parties - 1) / COUNT == pytest.approx(sent, rel=0.01)
        assert found["dealt"] / COUNT == pytest.approx(dealt if last else 0, rel=0.01)


@pytest.mark.parametrize("name", COMPARISONS)
def test_what_a_lone_session_counts_is_what_a_comparison_takes(name: str) -> None:
    with lone_session([DEVELOPER, AUDITOR], 16) as lone:
        counted = cost(lone, COUNT, name, known=False)
    facts = run(cost, COUNT, name, False)[0]
    assert counted.pop("sent") == pytest.approx(facts.pop("sent"), rel=0.01)
    assert counted == facts


def test_128_comparisons_take_less_than_eleven_thousand_bytes_of_all_parties() -> None:
    found = run(cost, 128, "order", False)
    assert sum(each["sent"] + each["dealt"] for each in found) < 11_000
