"""Schedules from shapes: the first call of any operation asks the dealer once, and tells nobody anything by it."""

from __future__ import annotations

from functools import partial
from typing import Any

import pytest
import torch

from secure_fair.mpc.products import mask, multiply, rescale
from secure_fair.mpc.schedule import scheduled
from secure_fair.mpc.session import Session
from tests.mpc.harness import run
from tests.mpc.values import AUDITOR, DEVELOPER, memberships, of_norm, own, share, share_integers, unit_rows
from tests.operations import computations as ops

BATCH, DIM = 13, 7  # shapes that no other test has: parties stay from test to test


def first_calls(session: Session) -> dict[str, int]:
    """Requests to the dealer in the first call of each operation; of one whose items nobody foresees too."""
    z, w = own(session, DEVELOPER, unit_rows(BATCH, DIM, 1)), share(session, AUDITOR, of_norm((DIM, 3), 2.0, 2))
    a = ops.fix(session, share_integers(session, AUDITOR, memberships(20, 3, 3))).rows(torch.arange(BATCH) + 2)
    task = [own(session, DEVELOPER, of_norm((2, DIM), 1.0, seed)) for seed in (4, 5)]
    sensitive = [ops.fix(session, share(session, AUDITOR, of_norm((2, DIM), 1.0, seed))) for seed in (6, 7)]
    calls: dict[str, Any] = {
        "adversary": lambda: ops.adversary(session, z, a, w, ball=4.0),
        "entropy": lambda: ops.entropy(session, z, w, ball=4.0),
        "orthogonality": lambda: ops.orthogonality(session, task, sensitive),
    }
    found = {}
    for name, call in calls.items():
        session.provider.discard()
        before = session.provider.messages
        call()
        found[name] = session.provider.messages - before
    before = session.provider.messages
    with session.operation("one by one", (BATCH, DIM), (DIM, 3)):
        ops.adversary(session, z, a, w, ball=4.0)
    return {**found, "not foreseen": session.provider.messages - before}


@pytest.mark.parametrize("parties", [2, 3])
def test_a_first_call_waits_for_the_dealer_once(parties: int) -> None:
    for found in run(first_calls, parties=parties):
        unforeseen = found.pop("not foreseen")
        assert found == {"adversary": 1, "entropy": 1, "orthogonality": 1}
        assert unforeseen >= 10


def squares(session: Session) -> tuple[list[tuple[bool, float]], list[int]]:
    """At each call of a function: whether it is in this session, and its input's largest share; then the messages of
    three operations, of which the last takes more than its rehearsal did."""
    seen: list[tuple[bool, float]] = []
    values = share(session, DEVELOPER, of_norm((3, 5), 2.0, 8))

    def power(times: int, here: Session, x: Any) -> Any:
        seen.append((here is session, float(x.share.abs().max())))
        for _ in range(times if here is session else 1):
            (held,) = mask(here, x)
            (x,) = rescale(here, multiply(here, "mul", held, held))
        return x

    messages = []
    for name, times in (("square", 1), ("square", 1), ("eighth power", 3)):
        before = session.provider.messages
        scheduled(session, name, [(3, 5)], partial(power, times), values)
        messages.append(session.provider.messages - before)
    return seen, messages


def test_a_rehearsal_is_on_zeros_and_a_wrong_one_costs_messages_alone() -> None:
    for seen, messages in run(squares):
        assert [here for here, _ in seen] == [False, True, True, False, True]
        assert all((largest > 0) == here for here, largest in seen)
        assert messages == [1, 1, 3]


def sent_meanwhile(session: Session) -> tuple[int, int]:
    """Bytes that the rehearsal of an operation has sent, and the operation itself."""
    x = share(session, DEVELOPER, of_norm((4, 6), 2.0, 9))
    counts: list[int] = []

    def count() -> int:
        return sum(traffic.bytes_sent for traffic in session._network.traffic().values())

    def product(here: Session, value: Any) -> None:
        before = count()
        mask(here, value)
        counts.append(count() - before)

    scheduled(session, "counted", [(4, 6)], product, x)
    return counts[0], counts[1]


def test_what_is_masked_in_a_rehearsal_reaches_nobody() -> None:
    for rehearsed, sent in run(sent_meanwhile):
        assert rehearsed == 0
        assert sent > 4 * 6 * 8
