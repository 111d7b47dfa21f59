"""What a party sees of an operation is uniform, whatever the other parties' inputs are.

Everything that a party receives between sharing and opening is recorded, and what is opened to all with it, and tested
byte by byte with a chi-square test, for constant and for adversarial inputs.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from scipy.stats import chi2
from torch import Tensor

from secure_fair.mpc.menu import Source
from secure_fair.mpc.session import Session
from secure_fair.mpc.shares import from_share
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
    """What the party receives while it acts, per channel, and what is opened to everybody.

    A comparison ends with opening single bits, a word each: they are kept apart, eight to a byte.
    """
    seen: dict[str, bytearray] = {}

    def keep(channel: str, message: bytes) -> None:
        words = np.frombuffer(message, dtype=np.int64)
        if len(words) > 64 and not (words & ~1).any():
            channel, message = f"{channel} bits", np.packbits(words.astype(np.uint8)).tobytes()
        seen.setdefault(channel, bytearray()).extend(message)

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
    return {channel: bytes(message) for channel, message in seen.items()}


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
        from_share(z.share[:, :64].contiguous(), z.encoder.scale)._ltz()

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
    assert SMALLEST_P < p_value(by_operation["comparison"]["compute bits"]) < 1 - SMALLEST_P
    assert_uniform(by_operation["moment"]["opened"])
    assert_uniform(by_operation["adversary"]["opened"])
    assert by_operation["openings"] == {}  # an opening to the developer shows the auditor nothing at all


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

    stock = Source.mask
    if not protected:
        Source.mask = lambda self, operand: (
            torch.zeros(operand.whole).long() if operand.owners else stock(self, operand)
        )
    try:
        return record(session, products)
    finally:
        Source.mask = stock


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
