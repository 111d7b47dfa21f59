"""What a party sees of an operation is uniform, whatever the other parties' inputs are.

Everything that a party receives between sharing and opening is recorded, and what is opened to all with it, and tested
byte by byte with a chi-square test, for constant and for adversarial inputs.
"""

from __future__ import annotations

from typing import Any

import pytest
import torch
from scipy.stats import chi2
from torch import Tensor

from secure_fair.mpc import menu, planes
from secure_fair.mpc.menu import SharedKeySource
from secure_fair.mpc.session import Session
from secure_fair.mpc.transcript import BYTES
from tests.mpc.harness import Settings, run, run_fresh
from tests.mpc.values import AUDITOR, DEVELOPER, memberships, open_to, own, share, share_integers, unit_rows
from tests.operations import computations as ops

LEAST_BYTES = 1 << 20
SMALLEST_P = 1e-10  # of some 400 tests on fresh randomness, each with both tails: one in ten million runs fails


def p_value(transcript: bytes, every: int = 1, offset: int = 0) -> float:
    """Of the chi-square test that bytes are uniform (those at ``offset`` of ``every``)."""
    values = torch.frombuffer(bytearray(transcript), dtype=torch.uint8)[offset::every]
    expected = len(values) / 256
    counts = torch.bincount(values.int(), minlength=256).double()
    return float(chi2.sf(float(((counts - expected) ** 2 / expected).sum()), 255))


def assert_uniform(transcript: bytes) -> None:
    assert len(transcript) >= LEAST_BYTES
    assert SMALLEST_P < p_value(transcript) < 1 - SMALLEST_P
    for byte in range(8):  # of a ring element: small values show in the highest
        assert SMALLEST_P < p_value(transcript, 8, byte) < 1 - SMALLEST_P


def record(session: Session, action: Any) -> dict[str, bytes]:
    """What the party receives while it acts, per channel, and what is opened to everybody."""
    return {channel: b"".join(messages) for channel, messages in messages_of(session, action).items()}


def messages_of(session: Session, action: Any) -> dict[str, list[bytes]]:
    """The same, message by message."""
    seen: dict[str, list[bytes]] = {}

    def keep(channel: str, message: bytes) -> None:
        seen.setdefault(channel, []).append(message)

    communicator, receive = session.communicator, session._network.receive
    reduce, open_parts = communicator.all_reduce, communicator.open_parts

    def watch_receive(peer: str, channel: str, **options: Any) -> bytes:
        message = receive(peer, channel, **options)
        keep(channel, message)
        return message

    def watch_opening(opening: Any) -> Any:
        def watched(*arguments: Any, **options: Any) -> Any:
            result = opening(*arguments, **options)
            for tensor in result if isinstance(result, list) else [result]:
                keep("opened", tensor.contiguous().numpy().tobytes())
            return result

        return watched

    session._network.receive = watch_receive  # type: ignore[method-assign]
    communicator.all_reduce, communicator.open_parts = watch_opening(reduce), watch_opening(open_parts)  # type: ignore[method-assign]
    try:
        action()
    finally:
        session._network.receive = receive  # type: ignore[method-assign]
        communicator.all_reduce, communicator.open_parts = reduce, open_parts  # type: ignore[method-assign]
    return seen


def features(kind: str, n: int, d: int) -> Tensor:
    rows = {
        "zero": torch.zeros(n, d, dtype=torch.float64),
        "one entry": torch.eye(1, d, dtype=torch.float64).repeat(n, 1),
        "alternating": torch.cat([unit_rows(1, d, 1), -unit_rows(1, d, 1)]).repeat(n // 2, 1),
        "random": unit_rows(n, d, 2),
    }
    return rows[kind]


def transcripts(session: Session, kind: str) -> dict[str, dict[str, bytes]]:
    n, d = 256, 192
    z = features(kind, n, d)
    a = share_integers(session, AUDITOR, memberships(n, 1, 3) if kind == "random" else torch.ones(n, 1).long())
    w = share(session, DEVELOPER, torch.zeros(d, 1) if kind == "zero" else features(kind, 2, d)[:1].T)
    z = share(session, DEVELOPER, z)

    def moments() -> None:
        for _ in range(3):
            ops.moment(session, z, a)

    def adversary() -> None:
        for _ in range(3):
            ops.adversary(session, z, a, w, learning_rate=0.05, ball=4.0)

    def comparison() -> None:
        for compare in (z.lt, z.eq):
            compare(0)

    def openings() -> None:
        for _ in range(3):
            open_to(session, DEVELOPER, z)

    actions = {"moment": moments, "adversary": adversary, "comparison": comparison, "openings": openings}
    return {name: record(session, action) for name, action in actions.items()}


@pytest.mark.parametrize("kind", ["zero", "one entry", "alternating", "random"])
@pytest.mark.parametrize("parties", [2, 3])
def test_the_auditors_transcript_is_uniform(kind: str, parties: int) -> None:
    by_operation = run(transcripts, kind, parties=parties)[1]
    for name in ("moment", "adversary", "comparison"):
        assert_uniform(by_operation[name]["compute"])
    assert_uniform(by_operation["moment"]["opened"])
    assert_uniform(by_operation["adversary"]["opened"])
    assert by_operation["openings"] == {}  # an opening to the developer shows the auditor nothing at all


def openings_of_comparisons(session: Session, kind: str, unmasked: type | None) -> list[list[bytes]]:
    """What is opened by each step of a comparison of order, and of equality. ``unmasked``: whose masks are zeros."""
    z, stock = share(session, DEVELOPER, features(kind, 256, 192)), menu.draw_masks

    def zeros(item: menu.Item, source: SharedKeySource, stream: Any) -> tuple[Tensor, ...]:
        masks = stock(item, source, stream)
        return tuple(torch.zeros_like(mask) for mask in masks) if type(item) is unmasked else masks

    menu.draw_masks = zeros
    try:
        return [messages_of(session, lambda compare=compare: compare(0))["opened"] for compare in (z.lt, z.eq)]
    finally:
        menu.draw_masks = stock


def is_uniform(transcript: bytes, *places: int) -> bool:
    return SMALLEST_P < p_value(transcript, *places) < 1 - SMALLEST_P


def uniform_steps(steps: list[bytes]) -> list[bool]:
    """Whether each step's opening is uniform: the first, of ring elements, in each of their bytes; the last, of bits,
    also together with the signs of the first."""
    first, *joins, last = steps
    assert [len(first), len(last)] == [8 * 256 * 192, 256 * 192 // 8]
    signs = planes.pack((torch.frombuffer(bytearray(first), dtype=torch.int64) < 0).long()).tobytes()
    with_signs = bytes(bit ^ sign for bit, sign in zip(last, signs, strict=True))
    return [
        all(is_uniform(first, 8, byte) for byte in range(8)),
        *(is_uniform(step) for step in joins),
        is_uniform(last) and is_uniform(with_signs),
    ]


@pytest.mark.parametrize("kind", ["zero", "one entry", "alternating", "random"])
@pytest.mark.parametrize("parties", [2, 3])
def test_whatever_a_comparison_opens_is_uniform(kind: str, parties: int) -> None:
    for by_kind in run(openings_of_comparisons, kind, None, parties=parties):
        assert [uniform_steps(steps) for steps in by_kind] == [[True] * 4] * 2


@pytest.mark.parametrize(
    ("unmasked", "seen"), [(menu.Digits, {0}), (menu.Conjunctions, {1, 2}), (menu.Bit, {3})], ids=["r", "joins", "bit"]
)
def test_no_mask_of_a_comparison_can_be_left_out(unmasked: type, seen: set[int]) -> None:
    for by_kind in run_fresh(openings_of_comparisons, "one entry", unmasked)[:2]:
        for steps in by_kind:
            found = {step for step, uniform in enumerate(uniform_steps(steps)) if not uniform}
            assert found == seen


def test_the_developers_transcript_is_uniform_until_something_is_opened_to_it() -> None:
    by_operation = run(transcripts, "one entry")[0]
    for name in ("moment", "adversary", "comparison"):
        assert_uniform(by_operation[name]["compute"])
    assert len(by_operation["openings"]["opening"]) == 3 * (BYTES + 8 * 256 * 192)


def owned_transcripts(session: Session, kind: str, protected: bool) -> dict[str, bytes]:
    """The same of what the developer owns: it alone sends. Unprotected: owned masks are zero."""
    n, d = 256, 192
    a = share_integers(session, AUDITOR, memberships(n, 1, 3))
    w = share(session, DEVELOPER, torch.zeros(d, 1))
    rows = features(kind, n, d)

    def products() -> None:
        for _ in range(3):
            ops.moment(session, own(session, DEVELOPER, rows), a)
            ops.adversary(session, own(session, DEVELOPER, rows), a, w, learning_rate=0.05, ball=4.0)

    stock = SharedKeySource.mask
    if not protected:
        SharedKeySource.mask = lambda self, operand: (
            torch.zeros(operand.whole).long() if operand.owners else stock(self, operand)
        )
    try:
        return record(session, products)
    finally:
        SharedKeySource.mask = stock


@pytest.mark.parametrize("kind", ["zero", "random"])
@pytest.mark.parametrize("parties", [2, 3])
def test_what_an_owner_sends_is_uniform(kind: str, parties: int) -> None:
    for other in run(owned_transcripts, kind, True, parties=parties)[1:]:
        assert_uniform(other["compute"])
        assert_uniform(other["opened"])
    with pytest.raises(AssertionError):
        assert_uniform(run_fresh(owned_transcripts, kind, False, settings=Settings(parties))[1]["compute"])


def test_what_the_dealer_sends_is_uniform() -> None:
    by_operation = run(transcripts, "zero")[1]
    assert_uniform(by_operation["comparison"]["dealer"])


@pytest.mark.parametrize("kind", ["zero", "random"])
def test_the_test_sees_values_that_are_not_masked(kind: str) -> None:
    ring = torch.round(features(kind, 1024, 192) * 65536).long()
    with pytest.raises(AssertionError):
        assert_uniform(ring.numpy().tobytes())
    weak = torch.randint(0, 1 << 60, (1 << 18,))  # four bits of the mask missing
    with pytest.raises(AssertionError):
        assert_uniform(weak.numpy().tobytes())
