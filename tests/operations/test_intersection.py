"""Memberships of intersections on shares: right, for any number of parties, and of no use to any party by itself."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from secure_fair.errors import UsageError
from secure_fair.mpc.session import OPENING_CHANNEL, Session
from secure_fair.mpc.shares import from_share
from tests.mpc.harness import run
from tests.mpc.test_openings_are_uniform import assert_uniform, record
from tests.mpc.values import AUDITOR, DEVELOPER, generator, memberships, open_to, share, share_integers, unit_rows
from tests.operations import computations as ops

SECOND = "second"
SHAPES = [(1, 1, 1), (7, 1, 1), (300, 1, 5), (300, 5, 1), (300, 3, 4)]


def intersections(session: Session, owners: list[str]) -> list[Tensor | None]:
    results = []
    for n, left, right in SHAPES:
        first = share_integers(session, owners[0], memberships(n, left, 1))
        second = share_integers(session, owners[1], memberships(n, right, 2))
        results.append(open_to(session, DEVELOPER, ops.intersection(session, first, second)))
    three = [
        share_integers(session, owners[i % 2], memberships(200, columns, i)) for i, columns in enumerate((1, 3, 1))
    ]
    joint = ops.intersection(session, ops.intersection(session, three[0], three[1]), three[2])
    results.append(open_to(session, DEVELOPER, joint))
    query = share(session, DEVELOPER, unit_rows(200, 4, 9))
    results.append(open_to(session, DEVELOPER, ops.moment(session, query, ops.fix(session, joint))))
    return results


@pytest.mark.parametrize("parties", [2, 3, 4])
def test_it_is_that_of_its_twin(parties: int) -> None:
    owners = [AUDITOR, AUDITOR if parties == 2 else SECOND]
    *found, three, moment = run(intersections, owners, parties=parties)[0]
    for (n, left, right), value in zip(SHAPES, found, strict=True):
        assert torch.equal(value, ops.plain_intersection(memberships(n, left, 1), memberships(n, right, 2)))
        assert value.sum() == n  # everybody is in one group
    codes = [torch.randint(0, max(2, columns), (200,), generator=generator(i)) for i, columns in enumerate((1, 3, 1))]
    one_hot = torch.nn.functional.one_hot(codes[0] * 6 + codes[1] * 2 + codes[2], 12).double()
    assert torch.equal(three, one_hot)
    query = torch.round(unit_rows(200, 4, 9) * 65536) / 65536
    assert torch.equal(moment, query.T @ one_hot)


def fixed_point(session: Session) -> str:
    a = share_integers(session, AUDITOR, memberships(4, 1, 1))
    scaled = from_share(a.share * session.scale, session.scale)
    try:
        ops.intersection(session, a, scaled)
    except UsageError as error:
        return str(error)
    return ""


def test_memberships_of_another_scale_are_refused() -> None:
    assert all("integers at scale 1" in said for said in run(fixed_point, parties=2))


def cost(session: Session) -> tuple[int, int]:
    first, second = (share_integers(session, AUDITOR, memberships(500, columns, 1)) for columns in (1, 5))
    before = session.meter.summary().get("intersection")
    ops.intersection(session, first, second)
    after = session.meter.summary()["intersection"]
    rounds = after.rounds - (before.rounds if before else 0)
    return rounds, after.bytes_sent - (before.bytes_sent if before else 0)


def test_it_takes_one_round_and_two_numbers_a_record_and_group() -> None:
    for rounds, sent in run(cost):
        assert rounds == 1
        assert 2 * 8 * 500 * 10 <= sent < 2 * 8 * 500 * 10 + 2000


# --- what one auditor can tell of the other's attribute ---------------------------------------------------------------

N = 4000


def as_it_is(session: Session, memberships: Tensor) -> None:
    """Nothing is said about the second auditor's memberships."""


def in_the_clear(session: Session, memberships: Tensor) -> None:
    """A build that sends the second auditor's memberships to the first, so that it may multiply them itself."""
    if session.name == SECOND:
        session._network.send(AUDITOR, OPENING_CHANNEL, memberships.numpy().tobytes())
    if session.name == AUDITOR:
        session._network.receive(SECOND, OPENING_CHANNEL, limit=8 * N)


def joint_moment(session: Session, said: Any) -> dict[str, bytes]:
    """All that this party receives while an intersection is made and a moment of it is opened to the developer."""
    query = share(session, DEVELOPER, unit_rows(N, 8, 5))
    first = share_integers(session, AUDITOR, memberships(N, 1, 3))

    def act() -> None:
        second = share_integers(session, SECOND, memberships(N, 1, 4))
        said(session, memberships(N, 1, 4))
        held = [ops.fix(session, value) for value in (first, second)]
        joint = ops.fix(session, ops.intersection(session, *(value.shared for value in held)))
        rows = torch.arange(N)
        open_to(session, DEVELOPER, ops.moment(session, query, joint.rows(rows)))

    return record(session, act)


def words_of_records(transcript: dict[str, bytes]) -> np.ndarray:
    """Every received or opened ring element that can belong to a record, a row a record: size, sign and low bits."""
    columns = []
    for channel, seen in transcript.items():
        bits = channel.endswith(" bits")
        words = np.unpackbits(np.frombuffer(seen, np.uint8)).astype(np.int64) if bits else np.frombuffer(seen, np.int64)
        for start in range(0, len(words) - N + 1, N):
            chunk = words[start : start + N]
            columns += [chunk / 2.0**63, chunk & 1, chunk >> 1 & 1, chunk < 0]
        for wide in (2, 4):  # several columns of a record beside each other
            for start in range(0, len(words) - N * wide + 1, N * wide):
                block = words[start : start + N * wide].reshape(N, wide)
                columns += [(block.sum(1)) & 1, block.sum(1) < 0, *(block.T & 1)]
    return np.stack(columns, axis=1).astype(np.float64)


def attack(transcript: dict[str, bytes], secret: np.ndarray) -> float:
    """AUC of the best linear guess of the secret, learned from half of the records and tried on the other half."""
    from sklearn.linear_model import LogisticRegression
    from sklearn.metrics import roc_auc_score

    words = words_of_records(transcript)
    known = np.arange(N) < N // 2
    guess = LogisticRegression(C=0.1, max_iter=500).fit(words[known], secret[known])
    return float(roc_auc_score(secret[~known], guess.decision_function(words[~known])))


@pytest.mark.parametrize("own", [1, 2])
def test_an_auditor_learns_nothing_of_the_other_s_attribute(own: int) -> None:
    """What it receives is uniform, and predicts neither the other's attribute nor the intersection."""
    transcript = run(joint_moment, as_it_is, parties=3)[own]
    others = memberships(N, 1, 4 if own == 1 else 3).flatten().numpy()
    assert 0.43 < attack(transcript, others) < 0.57  # more than five standard errors
    assert "opening" not in transcript
    wide = b"".join(transcript.values())
    assert len(wide) > 8 * N * 10


def long_transcript(session: Session) -> dict[str, bytes]:
    first = share_integers(session, AUDITOR, torch.ones(6000, 1).long())
    second = share_integers(session, SECOND, torch.ones(6000, 1).long())
    return record(session, lambda: [ops.intersection(session, first, second) for _ in range(4)])


def test_the_transcript_is_uniform_though_all_are_alike() -> None:
    for rank in (0, 1, 2):
        transcript = run(long_transcript, parties=3)[rank]
        assert_uniform(transcript["compute"])
        assert_uniform(transcript["opened"])


def test_the_same_attack_finds_it_where_it_is_sent() -> None:
    transcript = run(joint_moment, in_the_clear, parties=3)[1]
    assert attack(transcript, memberships(N, 1, 4).flatten().numpy()) > 0.999
