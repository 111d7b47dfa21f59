"""Attributes of which several auditors hold the people in parts: the values are those of one holder, and each auditor
hears and checks the query's rows of its own people alone."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from secure_fair.errors import UsageError
from secure_fair.groups import columns, membership_matrix
from secure_fair.mpc import bounds, commitment
from secure_fair.mpc.session import Session
from secure_fair.operations import OPERATIONS
from secure_fair.operations.common.ask import Ask
from secure_fair.operations.common.operation import Update
from secure_fair.operations.common.state import PublicFacts, SharedState, places_of, plain_intersection
from tests.mpc.harness import Failed, Settings, run, run_fresh
from tests.mpc.values import AUDITOR, DEVELOPER, memberships, unit_rows

SECOND, THIRD = "second", "third"
ENROLLED, WIDTH = 90, 4
SEX, RACE, BOTH = "sex", "race", "sex x race"  # two groups and three; the third holds all of another
GROUPS = {SEX: 2, RACE: 3, "age": 2, BOTH: 4}
HOLDERS = {SEX: (AUDITOR, SECOND), RACE: (SECOND, AUDITOR), "age": (THIRD,)}
OF = (SEX, "age")
RECORDS = {"training": np.arange(60), "some": np.random.default_rng(3).permutation(ENROLLED)[:40]}


def parts() -> dict[str, np.ndarray]:
    """Who holds whom."""
    first = np.random.default_rng(1).random(ENROLLED) < 0.3
    return {AUDITOR: first, SECOND: ~first}


def codes_of(attribute: str) -> np.ndarray:
    """Everybody's group codes."""
    return np.random.default_rng(len(attribute)).integers(0, GROUPS[attribute], ENROLLED)


def shared_by_parts(session: Session) -> SharedState:
    """All attributes, as their holders share them."""
    state = SharedState(session, PublicFacts(DEVELOPER, GROUPS, {BOTH: OF}, ENROLLED, False, {}))
    for attribute, holders in HOLDERS.items():
        codes = codes_of(attribute)
        if attribute != "age" and session.name in holders:
            codes = np.where(parts()[session.name], codes, -1)
        state.share_memberships(attribute, holders, codes if session.name in holders else None, parts())
    state.intersect(BOTH)
    return state


def query_of(operation: str, records: np.ndarray) -> Tensor:
    """The developer's rows."""
    return memberships(len(records), WIDTH, 5).double() if "counts" in operation else unit_rows(len(records), WIDTH, 6)


def opened(state: SharedState, operation: str, attribute: str, records: np.ndarray, checking: list[str]) -> Any:
    """The value at the developer."""
    ask = Ask(operation=operation, attribute=attribute, width=WIDTH if operation != "penalty_rows" else 0)
    rows = [query_of(operation, records)] if state.session.name == DEVELOPER and ask.width else []
    inputs = OPERATIONS[operation].share(state, ask, records, rows, checking)
    value = OPERATIONS[operation].compute(state, ask, records, inputs, Update())
    if state.session.name == DEVELOPER:
        return state.session.receive_opening(value, bound=1e6)
    state.session.reveal_to(DEVELOPER, value)
    return None


def values(session: Session, operation: str, attribute: str, checking: list[str]) -> list[Any]:
    state = shared_by_parts(session)
    return [opened(state, operation, attribute, records, checking) for records in RECORDS.values()]


@pytest.mark.parametrize(
    ("operation", "attribute", "checking"),
    [
        ("moment", SEX, []),
        ("moment", SEX, [AUDITOR, SECOND]),
        ("moment", RACE, [SECOND]),  # the other trusts the developer
        ("group_counts", RACE, [AUDITOR, SECOND]),
        ("moment", "age", [THIRD]),
        ("moment", BOTH, [AUDITOR, SECOND, THIRD]),
        ("penalty_rows", SEX, []),
        ("penalty_rows", RACE, []),
    ],
)
def test_values_of_parts_are_those_of_one_holder(operation: str, attribute: str, checking: list[str]) -> None:
    held = {name: membership_matrix(codes_of(name), GROUPS[name]).double() for name in HOLDERS}
    held[BOTH] = plain_intersection(held[SEX], held["age"])
    found = run(values, operation, attribute, checking, parties=4)[0]
    for records, value in zip(RECORDS.values(), found, strict=True):
        members = held[attribute][torch.from_numpy(records)]
        expected = members if operation == "penalty_rows" else query_of(operation, records).T @ members
        assert value.shape == (len(expected), columns(GROUPS[attribute]))
        assert float((value - expected).abs().max()) <= (0 if operation != "moment" else len(records) * 2.0**-9)


def heard(session: Session, checking: list[str]) -> tuple[int, int]:
    """How many bytes of a query's commitment, and of what is opened, a party has received."""
    state = shared_by_parts(session)
    channels = (commitment.CHANNEL, "compute")

    def received() -> list[int]:
        traffic = session._network.traffic()
        return [sum(t.bytes_received for (_, name), t in traffic.items() if name == one) for one in channels]

    before = received()
    opened(state, "moment", SEX, RECORDS["training"], checking)
    return tuple(now - then for now, then in zip(received(), before, strict=True))


@pytest.mark.parametrize("checking", [[AUDITOR, SECOND], []], ids=["proved", "unproved"])
def test_each_holder_is_sent_the_rows_of_its_own_people_alone(checking: list[str]) -> None:
    own = {name: int(part[RECORDS["training"]].sum()) for name, part in parts().items()}
    _, *found = run(heard, checking, parties=4)
    for name, sent in zip((AUDITOR, SECOND, THIRD), found, strict=True):
        rows = 8 * WIDTH * own.get(name, 0)
        assert sent[0 if checking else 1] >= rows
        proof = 8 * (3 * own.get(name, 0) + 64 * bounds.Blocks.of(60, WIDTH).digits) if checking else 0
        assert sent[0 if checking else 1] <= (rows + proof + 400 if name != THIRD else 0)
        assert sent[1 if checking else 0] == 0


def short_slacks(rows: Any) -> Any:
    """Slacks of rows that are short enough; none of others."""
    return bounds._three_squares()[np.clip(bounds.LIMIT - np.square(rows).sum(1), 0, None)]


def stretched(session: Session, record: int, checked: bool) -> Any:
    """A developer whose row of one record is 2^10 times too long."""
    state = shared_by_parts(session)
    honest = bounds.encode_rows

    def encode(values: Tensor, shape: tuple[int, int]) -> Any:
        long = values.norm(dim=1) > 1.5
        integers = honest(torch.where(long[:, None], torch.zeros(()).double(), values), shape)
        integers[long.numpy(), 0] = 1 << 18
        return integers

    with pytest.MonkeyPatch.context() as patch:
        if session.name == DEVELOPER:
            query = unit_rows(60, WIDTH, 6)
            query[record] *= 2
            patch.setattr(bounds, "encode_rows", encode)
            patch.setattr(bounds, "find_slacks", short_slacks)
            patch.setattr(__name__ + ".query_of", lambda *_: query)
        elif not checked:
            patch.setattr("secure_fair.mpc.authenticated.VerifiersCheck.holds", lambda *_: True)
        return opened(state, "moment", SEX, RECORDS["training"], [AUDITOR, SECOND])


@pytest.mark.parametrize("holder", [AUDITOR, SECOND])
def test_a_row_that_is_too_long_is_refused_by_the_holder_of_its_record(holder: str) -> None:
    record = int(np.flatnonzero(parts()[holder][:60] & (codes_of(SEX)[:60] == 1))[0])
    _, *auditors, _ = run_fresh(stretched, record, True, settings=Settings(4))
    refusing = auditors[(AUDITOR, SECOND, THIRD).index(holder)]
    assert isinstance(refusing, Failed)
    assert refusing.kind == "NotProved"
    assert "developer has not proved" in str(refusing)
    taken = run_fresh(stretched, record, False, settings=Settings(4))[0]  # the twin: the attribute is read
    assert float(taken[0, 0]) > 900


def test_a_record_that_two_hold_is_refused() -> None:
    with pytest.raises(UsageError, match="held by two"):
        places_of([np.array([0, 3]), np.array([3, 4])], 6)
    assert places_of([np.array([4, 5]), np.array([0])], 6).tolist() == [2, 3, 4, 5, 0, 1]
