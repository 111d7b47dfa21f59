"""Committed inputs: the honest ones give exact products, every lie is refused before anything is answered."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
from scipy.stats import chisquare
from torch import Tensor

from secure_fair.errors import PartyLost, ProtocolError, UsageError
from secure_fair.mpc import bounds, commitment, field, menu, products, requests
from secure_fair.mpc.authenticated import AuthenticatedTable, Integers, OwnersCheck, VerifiersCheck
from secure_fair.mpc.bounds import Blocks, RowSum
from secure_fair.mpc.commitment import commit_bits, commit_rows
from secure_fair.mpc.field import PRIME
from secure_fair.mpc.menu import Keys, Product, Reused, SharedKeySource
from secure_fair.mpc.products import Masked, fix, multiply
from secure_fair.mpc.session import Session
from secure_fair.mpc.shares import from_share
from secure_fair.randomness import PRG, derive
from tests.mpc.harness import Failed, run, run_fresh
from tests.mpc.harness import Settings as Parties
from tests.mpc.test_openings_are_uniform import SMALLEST_P
from tests.mpc.values import AUDITOR, DEVELOPER, memberships, open_to, share_integers, unit_rows
from tests.operations import computations as ops

SECOND = "second"
SIZES = {AUDITOR: 20, SECOND: 40}


def own(session: Session, owner: str, values: Tensor) -> Tensor | None:
    return values if session.name == owner else None


def rows_of(session: Session, values: Tensor, **options: Any) -> Masked:
    return commit_rows(session, DEVELOPER, own(session, DEVELOPER, values), values.shape, **options)


def bits_of(session: Session, owner: str, values: Tensor, rule: RowSum, **options: Any) -> Masked:
    return commit_bits(session, [owner], own(session, owner, values), values.shape, rule=rule, **options)


def product(session: Session, query: Masked, attributes: Masked) -> Tensor | None:
    """F^T A at the developer."""
    before = session.communicator.rounds
    shared = multiply(session, "matmul", query.T, attributes)
    assert session.communicator.rounds == before  # no message after the commitment
    return open_to(session, DEVELOPER, shared, bound=2.0**40)


def fixed(values: Tensor) -> Tensor:
    """What an honest owner of rows is committed to, in real numbers."""
    return torch.from_numpy(bounds.encode_rows(values, (values.shape[0], values.shape[1]))).double() / bounds.SCALE


# honest parties


def honest(session: Session, n: int, k: int, groups: int) -> list[Tensor | None]:
    f, a = unit_rows(n, k, 1), memberships(n, groups, 2)
    query, attributes = rows_of(session, f), fix(session, share_integers(session, AUDITOR, a))
    half = torch.arange(n - 1, -1, -2)
    part = rows_of(session, f[half])
    committed = bits_of(session, AUDITOR, a, RowSum.ANY if groups == 1 else RowSum.ONE)
    return [
        product(session, query, attributes),
        product(session, part, attributes.rows(half)),
        product(session, query, committed),
        product(session, part, committed.rows(half)),
        open_to(session, DEVELOPER, ops.moment(session, query, committed)),
        open_to(session, DEVELOPER, query.shared),
        open_to(session, DEVELOPER, committed.shared),
    ]


@pytest.mark.parametrize("parties", [2, 3, 4])
@pytest.mark.parametrize(("n", "k", "groups"), [(1, 1, 1), (500, 16, 1), (4200, 7, 5)])
def test_products_of_committed_values_are_those_of_the_plain_ones(parties: int, n: int, k: int, groups: int) -> None:
    f, a = fixed(unit_rows(n, k, 1)), memberships(n, groups, 2)
    half = torch.arange(n - 1, -1, -2)
    whole, part = ops.plain_moment(f, a), ops.plain_moment(f[half], a[half])
    results = run(honest, n, k, groups, parties=parties)[0]
    for found, expected in zip(results, [whole, part, whole, part, whole, f, a.double()], strict=True):
        assert torch.equal(found, expected)


def counts(session: Session, n: int) -> Tensor | None:
    strata = memberships(n, 6, 3)
    return product(
        session,
        bits_of(session, DEVELOPER, strata, RowSum.ONE, verifiers=[AUDITOR]),  # the second party only computes
        bits_of(session, SECOND, memberships(n, 1, 4), RowSum.ANY),
    )


def test_counts_of_one_hot_strata() -> None:
    expected = memberships(70, 6, 3).double().T @ memberships(70, 1, 4).double()
    assert torch.equal(run(counts, 70, parties=3)[0], expected)


def parts_of(session: Session, whole: Tensor, sizes: dict[str, int], **options: Any) -> Masked:
    """Memberships whose rows are held by several, one below the other."""
    ends = np.cumsum(list(sizes.values()))
    own = {name: whole[end - size : end] for (name, size), end in zip(sizes.items(), ends.tolist(), strict=True)}
    rule = RowSum.ONE if whole.shape[1] > 1 else RowSum.ANY
    return commit_bits(session, list(sizes), own.get(session.name), whole.shape, rule=rule, sizes=sizes, **options)


def several_holders(session: Session, n: int, sizes: dict[str, int], columns: int) -> list[Tensor | None]:
    whole, f = memberships(n, columns, 5), unit_rows(n, 4, 6)
    people = parts_of(session, whole, sizes)
    some, ranges = torch.arange(0, n, 2), torch.cat([torch.arange(3, n // 3), torch.arange(n // 2, n)])
    return [
        product(session, rows_of(session, f), people),
        product(session, rows_of(session, f[some]), people.rows(some)),
        product(session, rows_of(session, f[ranges]), people.rows(ranges)),
        open_to(session, DEVELOPER, people.shared),
    ]


@pytest.mark.parametrize(
    ("parties", "sizes"),
    [
        (3, {AUDITOR: 20, SECOND: 40}),
        (4, {AUDITOR: 20, SECOND: 40}),
        (4, {AUDITOR: 1, SECOND: 30, "third": 29}),
        (4, {AUDITOR: 10, "third": 30}),  # twenty rows are nobody's
        (3, {DEVELOPER: 30, AUDITOR: 20, SECOND: 10}),  # nobody but owners
        (3, {SECOND: 59}),
    ],
    ids=repr,
)
@pytest.mark.parametrize("columns", [1, 3])
def test_memberships_of_several_holders_are_one_operand(parties: int, sizes: dict[str, int], columns: int) -> None:
    f, a = fixed(unit_rows(60, 4, 6)), memberships(60, columns, 5)
    a[sum(sizes.values()) :] = 0
    some, ranges = torch.arange(0, 60, 2), torch.cat([torch.arange(3, 20), torch.arange(30, 60)])
    whole, part, cut, people = run(several_holders, 60, sizes, columns, parties=parties)[0]
    assert torch.equal(whole, ops.plain_moment(f, a))
    assert torch.equal(part, ops.plain_moment(f[some], a[some]))
    assert torch.equal(cut, ops.plain_moment(f[ranges], a[ranges]))
    assert torch.equal(people, a.double())


def told_alone(session: Session) -> list[Any]:
    """Two queries, each of one holder's rows and for it alone; what else may be made of one of them."""
    whole, f = memberships(60, 3, 5), unit_rows(60, 4, 6)
    people, total = parts_of(session, whole, SIZES), torch.zeros(4, 3, dtype=torch.int64)
    for start, (holder, size) in zip((0, 20), SIZES.items(), strict=True):
        rows = torch.arange(start, start + size)
        query = rows_of(session, f[rows], verifiers=[holder], told=[holder])
        total += multiply(session, "matmul", query.T, people.rows(rows)).share
    refused = []
    for action in (
        lambda: query.shared,
        lambda: products._check_told(session, query.T, people.rows(torch.arange(40))),  # some are the other's people
        lambda: products._check_told(session, people.rows(torch.arange(40)).T, query),
    ):
        try:
            action()
        except ValueError as error:
            refused.append(str(error))
            continue
        refused.append("")
    return [open_to(session, DEVELOPER, from_share(total, bounds.SCALE)), *refused]


def test_what_one_holder_is_told_alone_enters_products_with_its_rows_and_nothing_else() -> None:
    developer, auditor, second, third = run_fresh(told_alone, settings=Parties(4))[:4]
    assert torch.equal(developer[0], fixed(unit_rows(60, 4, 6)).T @ memberships(60, 3, 5).double())
    for party in (developer, auditor, second, third):
        assert "has no shares" in party[1]
        assert "from the left" in party[3]
    assert "that it is not told" in auditor[2]  # it has the first forty of the mask, and not the query
    assert [developer[2], second[2], third[2]] == [""] * 3


def prefetch_of(session: Session) -> list[tuple[int, bool]]:
    session.called.clear()
    f, results = unit_rows(50, 3, 7), []
    for turn in range(4):
        before = session.provider.messages
        query = rows_of(session, f)
        results.append((session.provider.messages - before, turn))
        name, shapes = session.called[-1]
        session.prefetch(name, *shapes)
        opened = open_to(session, DEVELOPER, query.shared)
        assert opened is None or torch.equal(opened, fixed(f))
    return results


def test_what_a_commitment_takes_is_asked_for_in_one_message_ahead() -> None:
    for results in run(prefetch_of):
        assert [messages for messages, _ in results][1:] == [0, 0, 0]


# lies of the owner: nothing of what it does differently is more than this


Patch = pytest.MonkeyPatch
Lie = Callable[[Patch], None]


def square_root(number: int) -> int:
    """Modulo p, which is 3 modulo 4."""
    root = pow(number, (PRIME + 1) // 4, PRIME)
    assert root * root % PRIME == number % PRIME
    return root


def slacks_modulo_p(rows: Integers) -> Integers:
    """Slacks with which the equation of every row holds modulo p, whatever its norm: the best that a liar can do."""
    squares = bounds.LIMIT - np.square(rows).sum(1)
    honest = bounds._three_squares()[np.clip(squares, 0, bounds.LIMIT)]
    for row in np.flatnonzero(squares < 0):
        c = next(c for c in range(100) if pow(int(squares[row]) - c * c - c, (PRIME - 1) // 2, PRIME) == 1)
        honest[row] = square_root(int(squares[row]) - c * c - c), 0, c
    return honest


def rows_that_say(patch: Patch, row: list[int], slacks: Callable[[Integers], Integers]) -> None:
    def encode(values: Tensor, shape: tuple[int, int]) -> Integers:
        integers = HONEST_ENCODE(values, shape)
        integers[3, : len(row)] = row
        return integers

    patch.setattr(bounds, "encode_rows", encode)
    patch.setattr(bounds, "find_slacks", slacks)


def without_slack(rows: Integers) -> Integers:
    return bounds._three_squares()[np.clip(bounds.LIMIT - np.square(rows).sum(1), 0, None)]


HONEST_ENCODE, HONEST_DIGITS, HONEST_ANSWER = bounds.encode_rows, bounds.digits_of, OwnersCheck.answer
HONEST_EXCHANGE = commitment._exchange_differences


def other_differences(patch: Patch) -> None:
    """Proves one query and sends another, a 256th away: the difference is added to what is sent."""

    def exchange(session: Session, roles: Any, shape: Any, values: Any, mask_share: Tensor, *, bound: int) -> Any:
        sent = values.copy()
        sent[5, 0] += 1
        return HONEST_EXCHANGE(session, roles, shape, sent, mask_share, bound=bound)

    patch.setattr(commitment, "_exchange_differences", exchange)


def other_slack(patch: Patch) -> None:
    patch.setattr(bounds, "find_slacks", lambda rows: without_slack(rows) + np.eye(len(rows), 3, dtype=np.int64))


def digits(change: Callable[[Integers], None]) -> Lie:
    def lie(patch: Patch) -> None:
        def digits_of(sums: Integers, count: int) -> Integers:
            found = HONEST_DIGITS(sums, count)
            change(found)
            return found

        patch.setattr(bounds, "digits_of", digits_of)

    return lie


def flip(found: Integers) -> None:
    found[7, 2] ^= 1


def carry(found: Integers) -> None:
    """Digits of the same sum that are no bits: 2^i as -2^i + 2^(i + 1)."""
    i = int(np.argmax(found[9]))
    found[9, i] -= 2
    found[9, i + 1] += 1


def answer(constant: int, slope: int) -> Lie:
    def lie(patch: Patch) -> None:
        def tampered(self: OwnersCheck, blind: AuthenticatedTable) -> Any:
            return field.add(HONEST_ANSWER(self, blind), np.array([constant, slope], dtype=np.uint64))

        patch.setattr(OwnersCheck, "answer", tampered)

    return lie


def no_elements(patch: Patch) -> None:
    patch.setattr(OwnersCheck, "answer", lambda self, blind: np.array([PRIME, 0], dtype=np.uint64))


ROW_LIES: dict[str, Lie] = {
    "a norm just above 1": lambda patch: rows_that_say(patch, [256, 1] + [0] * 4, without_slack),
    "a norm just above 1, slacks modulo p": lambda patch: rows_that_say(patch, [256, 1] + [0] * 4, slacks_modulo_p),
    "an entry of 257": lambda patch: rows_that_say(patch, [257] + [0] * 5, slacks_modulo_p),
    "an entry of -2^20": lambda patch: rows_that_say(patch, [-(1 << 20)], slacks_modulo_p),
    "an entry of 2^20, no slack": lambda patch: rows_that_say(patch, [1 << 20], without_slack),
    "an entry of 2^30": lambda patch: rows_that_say(patch, [1 << 30], slacks_modulo_p),
    "another query than the proved one": other_differences,
    "a slack of another row": other_slack,
    "a digit the other way": digits(flip),
    "digits that are no bits": digits(carry),
    "another constant": answer(1, 0),
    "another slope": answer(0, PRIME - 1),
    "no elements of the field": no_elements,
}


def refusal(commit: Callable[[], Any]) -> str:
    try:
        commit()
    except ProtocolError as error:
        return str(error)
    return ""


def lying(session: Session, kind: str, times: int) -> list[str]:
    """What each party says when the developer lies so many times, in the way of this name."""
    found = []
    for _ in range(times):
        with pytest.MonkeyPatch.context() as patch:
            if kind in ROW_LIES:
                if session.name == DEVELOPER:
                    ROW_LIES[kind](patch)
                found.append(refusal(lambda: rows_of(session, unit_rows(20, 6, 1))))
            else:
                bits, rule = BIT_LIES[kind]
                if session.name == DEVELOPER:
                    patch.setattr(bounds, "encode_bits", lambda values, *rest: values.long().numpy())
                found.append(refusal(lambda: bits_of(session, DEVELOPER, bits, rule)))  # noqa: B023
    return found


def bits_with(row: list[int]) -> Tensor:
    bits = memberships(30, 3, 1)
    bits[4] = torch.tensor(row)
    return bits


BIT_LIES: dict[str, tuple[Tensor, RowSum]] = {
    "two ones": (bits_with([1, 1, 0]), RowSum.ONE),
    "no one": (bits_with([0, 0, 0]), RowSum.ONE),
    "a two": (bits_with([2, 0, 0]), RowSum.ANY),
    "a one made of two and minus one": (bits_with([2, -1, 0]), RowSum.ONE),
    "a minus one": (bits_with([0, 0, -1]), RowSum.ANY),
    "2^8 for a bit": (bits_with([1 << 8, 0, 0]), RowSum.ANY),
}
HONEST_BITS: list[tuple[Tensor, RowSum]] = [
    (bits_with([1, 1, 1]), RowSum.ANY),
    (bits_with([0, 0, 0]), RowSum.ANY),
    (bits_with([0, 0, 1]), RowSum.ONE),
]


@pytest.mark.parametrize("kind", [*ROW_LIES, *BIT_LIES])
def test_a_lie_is_refused_three_times_out_of_three(kind: str) -> None:
    liar, auditor = run(lying, kind, 3)
    assert liar == [""] * 3
    assert len(auditor) == 3
    assert all(said.startswith("developer ") for said in auditor)


def test_every_verifier_refuses() -> None:
    liar, *others = run(lying, "an entry of -2^20", 1, parties=4)
    assert liar == [""]
    assert all("developer" in said[0] for said in others)


# one of several holders lies


PART_LIES = {"two ones": [1, 1, 0], "a two": [2, 0, 0], "minus one and two": [-1, 2, 0], "no one": [0, 0, 0]}


def lying_holder(session: Session, liar: str, row: list[int], checked: bool) -> Tensor | None:
    """What is computed with when this holder has another row in the place of its fourth."""

    def encode(values: Tensor, *rest: Any) -> Integers:
        integers = values.long().numpy().copy()
        integers[3] = row
        return integers

    with pytest.MonkeyPatch.context() as patch:
        if session.name == liar:
            patch.setattr(bounds, "encode_bits", encode)
        elif not checked:
            patch.setattr(VerifiersCheck, "holds", lambda *_: True)
        return open_to(session, DEVELOPER, parts_of(session, memberships(60, 3, 5), SIZES).shared)


@pytest.mark.parametrize("row", PART_LIES.values(), ids=PART_LIES)
@pytest.mark.parametrize("liar", SIZES)
def test_a_holder_of_a_part_that_lies_about_its_rows_is_named(liar: str, row: list[int]) -> None:
    developer, *auditors, _ = run_fresh(lying_holder, liar, row, True, settings=Parties(3))
    assert developer.kind == "NotProved"
    assert f"{liar} has not proved" in str(developer)
    assert isinstance(auditors[liar == AUDITOR], Failed)  # it sees it too, or hears that it is over
    expected = memberships(60, 3, 5).double()
    expected[3 if liar == AUDITOR else 23] = torch.tensor(row).double()
    taken = run(lying_holder, liar, row, False, parties=3)  # the twin, in which nobody checks
    assert torch.equal(taken[0], expected)


def skipping(session: Session, liar: str) -> Tensor | None:
    """The developer believes; the other holder is the only one that checks."""
    with pytest.MonkeyPatch.context() as patch:
        if session.name == DEVELOPER:
            patch.setattr(VerifiersCheck, "holds", lambda *_: True)
        return lying_holder(session, liar, [2, 0, 0], True)


@pytest.mark.parametrize("liar", SIZES)
def test_every_holder_checks_what_the_other_holders_put_in(liar: str) -> None:
    _, *auditors, _ = run_fresh(skipping, liar, settings=Parties(3))
    other = auditors[liar == AUDITOR]
    assert other.kind == "NotProved"
    assert f"{liar} has not proved" in str(other)


HONEST_PARTS, HONEST_RECEIVE = commitment._exchange_parts, commitment._receive_differences


def take_any_rows(patch: Patch) -> None:
    """Have a party take as many rows as a holder sends: those beyond its own go on top of the next holder's."""
    more = dict[int, Integers]()

    def receive(session: Session, roles: Any, shape: tuple[int, ...], bound: int) -> Integers:
        rows = np.frombuffer(session._network.receive(session.parties[roles.owner], commitment.CHANNEL, limit=1 << 20))
        rows = rows.view("<i8").reshape(-1, shape[1])
        more[roles.owner] = rows[shape[0] :]
        return rows[: shape[0]]

    def exchange(session: Session, parts: Any, *rest: Any) -> tuple[Integers, dict[str, Integers]]:
        differences, sent = HONEST_PARTS(session, parts, *rest)
        for part in parts:
            beyond = more.get(part.roles.owner, differences[:0])
            differences[part.start + part.rows :][: len(beyond)] += beyond
        return differences, sent

    patch.setattr(commitment, "_receive_differences", receive)
    patch.setattr(commitment, "_exchange_parts", exchange)


def row_of_another(session: Session, checked: bool) -> Tensor | None:
    """The auditor sends a row more than it holds: a one for the first record of the second."""
    send = session._network.send

    def longer(peer: str, channel: str, *parts: Any) -> None:
        if channel == commitment.CHANNEL and np.array(parts[0]).shape == (20, 3):
            parts = (np.concatenate([np.array(parts[0]), [[0, 1, 0]]]).data,)
        send(peer, channel, *parts)

    with pytest.MonkeyPatch.context() as patch:
        if session.name == AUDITOR:
            patch.setattr(session._network, "send", longer)
        elif not checked:
            take_any_rows(patch)
        return open_to(session, DEVELOPER, parts_of(session, memberships(60, 3, 5), SIZES).shared)


def test_a_holder_of_a_part_has_no_say_in_another_s_rows() -> None:
    developer, _, second, _ = run_fresh(row_of_another, True, settings=Parties(3))
    for other in (developer, second):
        assert isinstance(other, Failed)
        assert "auditor" in str(other)
    assert "ProtocolError" in (developer.kind, second.kind)
    expected = memberships(60, 3, 5).double()
    expected[20, 1] += 1
    assert torch.equal(run_fresh(row_of_another, False, settings=Parties(3))[0], expected)


def honest_bits(session: Session) -> list[str]:
    return [refusal(lambda: bits_of(session, DEVELOPER, bits, rule)) for bits, rule in HONEST_BITS]  # noqa: B023


def test_what_the_rules_allow_is_accepted() -> None:
    assert run(honest_bits) == [[""] * 3, [""] * 3]


def out_of_range(patch: Patch, session: Session) -> None:
    """F - p in place of F: the same modulo p, another modulo 2^64."""
    send = session._network.send

    def changed(peer: str, channel: str, *parts: Any) -> None:
        if channel == commitment.CHANNEL and np.array(parts[0]).shape == (20, 6):
            sent = np.array(parts[0])
            sent[3, 1] -= PRIME
            parts = (sent.data,)
        send(peer, channel, *parts)

    patch.setattr(session._network, "send", changed)


def too_short(patch: Patch, session: Session) -> None:
    send = session._network.send

    def changed(peer: str, channel: str, *parts: Any) -> None:
        send(peer, channel, *((np.array(parts[0])[1:].copy().data,) if channel == commitment.CHANNEL else parts))

    patch.setattr(session._network, "send", changed)


def two_commitments(patch: Patch, session: Session) -> None:
    """Another query to the second party than to the auditor, each within its bound."""
    send = session._network.send

    def changed(peer: str, channel: str, *parts: Any) -> None:
        if peer == SECOND and channel == commitment.CHANNEL:
            sent = np.array(parts[0])
            sent[0, 0] -= 1
            parts = (sent.data,)
        send(peer, channel, *parts)

    patch.setattr(session._network, "send", changed)


def answered(session: Session, lie: Callable[[Patch, Session], None]) -> int:
    """A whole release to a lying developer: the bytes that it has got from openings once it is turned away."""
    attributes = fix(session, share_integers(session, AUDITOR, memberships(20, 1, 2)))
    with pytest.MonkeyPatch.context() as patch:
        if session.name != DEVELOPER:
            product(session, rows_of(session, unit_rows(20, 6, 1)), attributes)
            return -1
        lie(patch, session)
        try:
            product(session, rows_of(session, unit_rows(20, 6, 1)), attributes)
        except PartyLost:
            return sum(
                t.bytes_received for (_, channel), t in session._network.traffic().items() if channel == "opening"
            )
        return -1


def long_row(patch: Patch, session: Session) -> None:
    ROW_LIES["an entry of -2^20"](patch)


@pytest.mark.parametrize(
    ("lie", "parties", "kind", "said"),
    [
        (long_row, 2, "NotProved", "has not proved"),
        (out_of_range, 2, "NotProved", "outside the range"),
        (too_short, 2, "ProtocolError", "where 960 were due"),
        (two_commitments, 3, "ProtocolError", "another commitment"),
    ],
    ids=["long row", "out of range", "too short", "two commitments"],
)
def test_nothing_is_answered_to_a_liar(lie: Any, parties: int, kind: str, said: str) -> None:
    developer, auditor, *_ = run_fresh(answered, lie, settings=Parties(parties))
    assert developer == 0
    assert auditor.kind == kind
    assert "developer" in str(auditor)
    assert said in str(auditor)


# the same lies where nobody checks


def without_check(session: Session, query: list[list[int]], attributes: Tensor, check: bool = False) -> Tensor | None:
    with pytest.MonkeyPatch.context() as patch:
        if not check:
            patch.setattr(VerifiersCheck, "holds", lambda *_: True)
        patch.setattr(bounds, "encode_rows", lambda values, shape: np.array(query, dtype=np.int64))
        patch.setattr(bounds, "find_slacks", slacks_modulo_p)
        masked = fix(session, share_integers(session, AUDITOR, attributes))
        return product(session, rows_of(session, torch.zeros(len(query), len(query[0]))), masked)


def test_without_the_check_powers_of_two_yield_everybodys_attribute() -> None:
    secret, query = memberships(31, 1, 9), [[1 << i] for i in range(31)]
    total = int(run(without_check, query, secret)[0].item() * bounds.SCALE)
    assert [total >> i & 1 for i in range(31)] == secret[:, 0].tolist()
    _, auditor, _ = run_fresh(without_check, query, secret, True)
    assert auditor.kind == "NotProved"
    assert "developer has not proved" in str(auditor)


def test_without_the_check_one_long_row_yields_its_attribute() -> None:
    for attribute in (0, 1):
        secret = memberships(20, 1, 9)
        secret[3] = attribute
        value = run(without_check, [[1 << 20 if i == 3 else 1] for i in range(20)], secret)[0]
        assert (value.item() > 4000) == bool(attribute)


def packed_memberships(session: Session, secret: Tensor) -> Tensor | None:
    """An auditor that shares powers of two for bits: what another's attribute, multiplied with it, becomes."""
    powers = 1 << torch.arange(len(secret))[:, None]
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(VerifiersCheck, "holds", lambda *_: True)
        patch.setattr(bounds, "encode_bits", lambda values, *rest: values.long().numpy())
        mine = bits_of(session, AUDITOR, powers, RowSum.ANY)
        others = bits_of(session, DEVELOPER, secret, RowSum.ANY)
        return open_to(session, AUDITOR, multiply(session, "matmul", mine.T, others))


def test_without_the_check_memberships_that_are_powers_of_two_yield_anothers() -> None:
    secret = memberships(15, 1, 10)
    value = run(packed_memberships, secret)[1]
    assert [int(value.item()) >> i & 1 for i in range(15)] == secret[:, 0].tolist()


# what a verifier sees


def seen(session: Session, rows: Tensor) -> tuple[list[bytes], list[bytes]]:
    """Everything that the auditor receives from the developer's commitment, and from the dealer for it."""
    messages: dict[str, list[bytes]] = {commitment.CHANNEL: [], "dealer": []}
    receive = session._network.receive
    with pytest.MonkeyPatch.context() as patch:

        def noted(peer: str, channel: str, *, limit: int) -> bytes:
            messages[channel].append(receive(peer, channel, limit=limit))
            return messages[channel][-1]

        patch.setattr(session._network, "receive", noted)
        rows_of(session, rows)
    return messages[commitment.CHANNEL], messages["dealer"]


def uniform(numbers: np.ndarray, bits: int) -> bool:
    """Whether the 64 values of the upper six of ``bits`` are as frequent, by a chi-square test."""
    counts = np.bincount((numbers >> (bits - 6)) & 63, minlength=64)
    return SMALLEST_P < chisquare(counts).pvalue < 1 - SMALLEST_P


@pytest.mark.parametrize("value", [0.0, -0.25, 0.25])
def test_what_a_verifier_sees_is_uniform_whatever_the_query(value: float) -> None:
    both = [run(seen, torch.full((4096, 16), value))[1] for _ in range(2)]
    sizes = [[len(message) // 8 for message in messages] for messages, _ in both]
    assert sizes == [[4096 * 16, 4096 * 3, 64 * Blocks.of(4096, 16).digits, 2]] * 2
    rows, *others = [np.frombuffer(b"".join(parts), np.int64) for parts in zip(*(one for one, _ in both), strict=True)]
    assert uniform(rows & ((1 << 60) - 1), 60)
    assert uniform(rows & ((1 << 20) - 1), 20)
    for numbers in others[:2]:
        assert uniform(numbers, 61)
        assert uniform(numbers & 63, 6)
    keys = np.frombuffer(b"".join(message for _, dealt in both for message in dealt), np.int64)
    assert uniform(keys, 61)
    for (committed, *_), dealt in both:
        rows, keys = (np.frombuffer(message, np.int64) for message in (committed, b"".join(dealt)))
        assert abs(np.corrcoef(rows, keys[: len(rows)])[0, 1]) < 0.02


# the parts


def test_every_slack_is_a_sum_of_three_squares() -> None:
    a, b, c = bounds._three_squares().T
    assert (bounds._three_squares() >= 0).all()
    assert np.array_equal(a**2 + b**2 + c**2 + c, np.arange(bounds.LIMIT + 1))


def test_rows_are_rounded_within_their_bound() -> None:
    rows = torch.cat(
        [unit_rows(5000, 16, 1), unit_rows(10, 16, 2, 1 + 9e-7), torch.full((1, 16), 0.25), torch.zeros(1, 16)]
    )
    integers = bounds.encode_rows(rows, (5012, 16))
    assert (np.square(integers).sum(1) <= bounds.LIMIT).all()
    assert np.abs(integers / 256 - rows.numpy()).max() < 2**-8
    with pytest.raises(UsageError, match="row 4999 has norm"):
        bounds.encode_rows(torch.cat([rows[:4999], 1.1 * rows[:1]]), (5000, 16))
    with pytest.raises(UsageError, match="row 1 has norm nan"):
        bounds.encode_rows(torch.tensor([[0.0], [torch.nan]]), (2, 1))


@pytest.mark.parametrize("k", [1, 16, 64, 192, 768, 4096])
def test_honest_sums_fit_their_digits_and_equations_do_not_wrap(k: int) -> None:
    blocks = Blocks.of(100_000, k)
    assert blocks.count * blocks.rows >= 100_000
    assert blocks.rows * (k + 3) ** 0.5 * bounds.SCALE < 2 ** (blocks.digits - 1)
    assert (k + 3) * 4**blocks.digits + 2**blocks.digits + bounds.LIMIT < PRIME
    worst = np.full(64, -(1 << (blocks.digits - 1)))
    found = bounds.digits_of(worst, blocks.digits), bounds.digits_of(-worst - 1, blocks.digits)
    assert (found[0].max(), found[1].min()) == (0, 1)


def test_a_random_subset_hides_a_large_value_at_most_half_of_the_time() -> None:
    digits = 10
    for large in (1 << digits, -(1 << digits), 3 << 40):
        values = np.array([large, 511, -512, 3], dtype=np.int64)
        sums = np.concatenate(
            [field.sum_subsets(field.draw_subsets(PRG(bytes([i]) * 32), 4), values) for i in range(200)]
        )
        inside = ((sums >= -(1 << (digits - 1))) & (sums < 1 << (digits - 1))).mean()
        assert inside < 0.5 + 5 * 0.5 / len(sums) ** 0.5


def sides(
    values: list[list[int]], seed: int
) -> tuple[AuthenticatedTable, AuthenticatedTable, AuthenticatedTable, AuthenticatedTable, field.Field]:
    """A table and a blind, at the owner and at the verifier, and Delta."""
    stream = PRG(derive(bytes(32), "test", seed))
    x, delta = field.encode(np.array(values)), field.draw(stream, (1,))
    tags, tag, blind = field.draw(stream, x.shape), field.draw(stream, (1, 1)), field.draw(stream, (1, 1))
    keys, key = field.subtract(tags, field.multiply(delta, x)), field.subtract(tag, field.multiply(delta, blind))
    return (
        AuthenticatedTable(tags, x),
        AuthenticatedTable(tag, blind),
        AuthenticatedTable(keys, None),
        AuthenticatedTable(key, None),
        delta,
    )


def checked(values: list[list[int]], public: int, seed: int) -> bool:
    """Whether sum_j (x_ij^2 + j x_ij) + public = 0 for every row i is accepted."""
    owners, blind, verifiers, hidden, delta = sides(values, seed)
    prover, check = OwnersCheck(), VerifiersCheck(delta)
    weights = field.draw(PRG(derive(bytes(32), "weights", seed)), (len(values),))
    for side, table in ((prover, owners), (check, verifiers)):
        side.add(weights, table, square=True, linear=range(len(values[0])))
        side.add_public(weights, public)
    return check.holds(hidden, prover.answer(blind))


def test_a_check_accepts_what_is_true_and_nothing_else() -> None:
    for seed in range(100):
        assert checked([[3, 2], [-3, -3], [0, -4]][:2], -15, seed)
        assert not checked([[3, 2], [3, -4]], -15, seed)
        assert not checked([[3, 2], [3, 2]], -16, seed)


def entries_that_fit(entry: int, blinded: bool, seed: int) -> list[int]:
    """The entries that a verifier, who knows its key and Delta, finds to fit the answer on the square of one."""
    owners, blind, verifiers, _, delta = sides([[entry]], seed)
    weights, prover = field.draw(PRG(derive(bytes(32), "weights", seed)), (1,)), OwnersCheck()
    prover.add(weights, owners, square=True)
    nothing = np.zeros((1, 1), dtype=np.uint64)
    slope = int(prover.answer(blind if blinded else AuthenticatedTable(nothing, nothing))[1])
    key, weight = int(verifiers.codes[0, 0]), int(weights[0])
    tags = {guess: key + int(delta[0]) * guess for guess in range(-bounds.SCALE, bounds.SCALE + 1)}
    return [guess for guess, tag in tags.items() if (-weight * tag * 2 * guess - slope) % PRIME == 0]


def test_without_the_blind_a_verifier_reads_an_entry() -> None:
    for seed, entry in enumerate((-256, -7, 1, 200)):
        assert entries_that_fit(entry, False, seed) == [entry]
        assert entries_that_fit(entry, True, seed) == []  # each is as likely as any other


def noting(real: Callable[..., Any], name: str, passed: list[str]) -> Callable[..., Any]:
    """The same, noting what belongs to a commitment."""

    def noted(peer: str, channel: str, *rest: Any, **more: Any) -> Any:
        if channel == commitment.CHANNEL:
            passed.append(name)
        return real(peer, channel, *rest, **more)

    return noted


def in_order(session: Session) -> list[str]:
    """What passes between this party and the other while it is proved to, or proves."""
    network, passed = session._network, list[str]()
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(network, "send", noting(network.send, "send", passed))
        patch.setattr(network, "receive", noting(network.receive, "receive", passed))
        rows_of(session, unit_rows(20, 6, 1))
    return passed


def test_a_verifier_sends_a_seed_only_once_it_has_what_is_tested_with_it() -> None:
    """Differences and slacks, seed, digits, seed, answer."""
    verifier = ["receive", "receive", "send", "receive", "send", "receive"]
    prover = ["receive" if step == "send" else "send" for step in verifier]
    assert run(in_order) == [prover, verifier]


# the dealer's menu


KEYS = [
    Keys(3, (70_000,), 1, (0, 2), ring=True),
    Keys(4, (5, 2), 0, (1,), ring=False),
]


@pytest.mark.parametrize("item", KEYS, ids=repr)
def test_keys_fit_the_owners_mask_and_tags(item: Keys) -> None:
    sources = [SharedKeySource(derive(bytes(32), "party", rank), rank) for rank in range(3)]
    owner = sources[item.owner]
    keys = {v: np.concatenate([part for rank, part in menu.keys(item, sources) if rank == v]) for v in item.verifiers}
    if item.ring:
        mask = owner.mask(Reused(item.mask, item.shape, owners=(item.owner,), committed=True)).numpy()
        assert 0 <= mask.min() <= mask.max() < 1 << menu.COMMITTED_BITS
    else:
        mask = field.draw(owner.committed(item.mask, item.shape, ring=False), item.shape).reshape(-1)
    for verifier in item.verifiers:
        shift = field.multiply(sources[verifier].delta, field.encode(mask.astype(np.int64)))
        tags = field.draw(owner.tags(item, verifier), item.shape).reshape(-1)
        assert np.array_equal(keys[verifier], field.subtract(tags, shift))
    assert len({int(source.delta[0]) for source in sources}) == 3


def test_a_mask_has_parts_at_its_owners_alone() -> None:
    operand = Reused(7, (9, 2), owners=(0, 2), committed=True, sizes=(4, 3))
    sources = [SharedKeySource(derive(bytes(32), "party", rank), rank) for rank in range(3)]
    first, nothing, last = (source.mask(operand) for source in sources)
    assert not nothing.any()
    assert first[:4].all()
    assert last[4:7].all()
    assert not first[4:].any()
    assert not last[:4].any()
    assert not last[7:].any()
    for rank, mask in ((0, first[:4]), (2, last[4:7])):  # what its keys are of
        start, part = operand.part_of(rank)
        assert (start, part.whole) == ((0, (4, 2)) if rank == 0 else (4, (3, 2)))
        assert torch.equal(sources[rank].mask(part), mask)
    for rows in ((0, 9), (2, 5), (3, 4), (5, 8), (7, 9)):
        assert torch.equal(sources[2].mask(operand, rows), last[slice(*rows)])


OWNED = Product("matmul", Reused(7, (4, 2), (3, 1), True, owners=(1,)), Reused(8, (2, 3)))
COMMITTED = Product("matmul", Reused(7, (4, 2), None, True, owners=(1,), committed=True), Reused(8, (4, 3)))
PARTS = Product("matmul", Reused(7, (4, 2), None, True, (0, 1), True, sizes=(1, 2)), Reused(8, (4, 3)))


@pytest.mark.parametrize("item", [*KEYS, OWNED, COMMITTED, PARTS], ids=repr)
def test_items_survive_the_wire(item: Any) -> None:
    assert requests.decode(requests.encode([item])) == [item]


@pytest.mark.parametrize(
    "entry",
    [
        ["keys", 0, [3], 0, [1]],
        ["keys", -1, [3], 0, [1], True],
        ["keys", True, [3], 0, [1], True],
        ["keys", 0, [1 << 28], 0, [1], True],
        ["keys", 0, [3], 64, [1], True],
        ["keys", 0, [3], 0, [1, 1], True],
        ["keys", 0, [3], 0, [2, 1], True],
        ["keys", 0, [3], 0, 1, True],
        ["keys", 0, [3], 0, [1], 1],
        ["mul", ["fresh", [3]], ["mask", 0, [3], None, False, [], True]],
        ["mul", ["fresh", [3]], ["mask", 0, [3], None, False, [64], True]],
        ["mul", ["fresh", [3]], ["mask", 0, [3], None, False, [0], 1]],
        ["mul", ["fresh", [3]], ["mask", 0, [3], None, False, [0]]],
        ["mul", ["fresh", [3]], ["mask", 0, [3], None, False, [0], True, 1]],
        ["mul", ["fresh", [3]], ["mask", 0, [3], None, False, [0, 1], True]],
        ["mul", ["fresh", [3]], ["mask", 0, [3], None, False, [0, 1], True, [3]]],
        ["mul", ["fresh", [3]], ["mask", 0, [3], None, False, [0, 1], True, [2, 2]]],
        ["mul", ["fresh", [3]], ["mask", 0, [3], None, False, [0, 1], True, [3, 0]]],
        ["mul", ["fresh", [3]], ["mask", 0, [3], None, False, [0, 1], True, [4, -1]]],
        ["mul", ["fresh", [3]], ["mask", 0, [3], None, False, [0, 1], True, [1, True]]],
        ["mul", ["fresh", []], ["mask", 0, [], None, False, [0, 1], True, [1, 1]]],
        ["mul", ["fresh", [3]], ["mask", 0, [3], None, False, [0, 1], True, [1, 1], 1]],
    ],
    ids=repr,
)
def test_nothing_else_can_be_asked_for(entry: Any) -> None:
    with pytest.raises(ProtocolError):
        requests.decode(json.dumps([entry]).encode())


def keys_among(session: Session, owner: int, verifiers: tuple[int, ...]) -> None:
    session.provider.take_keys(Keys(0, (2,), owner, verifiers, ring=True))


@pytest.mark.parametrize(("owner", "verifiers"), [(0, (2,)), (2, (0,)), (0, (0, 1))])
def test_the_dealer_knows_its_parties(owner: int, verifiers: tuple[int, ...]) -> None:
    *_, dealer = run_fresh(keys_among, owner, verifiers)
    assert isinstance(dealer, Failed)
    assert dealer.kind == "ProtocolError"
    assert "among 2 parties" in str(dealer)


def product_owned_by(session: Session, owners: tuple[int, ...]) -> None:
    sizes = (1,) * len(owners) if len(owners) > 1 else ()
    session.provider.take_product(Product("mul", Reused(0, (2,), owners=owners, sizes=sizes), Reused(1, (2,))))


@pytest.mark.parametrize("owners", [(2,), (0, 2)])
def test_the_dealer_makes_no_product_of_what_nobody_here_owns(owners: tuple[int, ...]) -> None:
    """Its mask would be zeros, or lack a part that the request says is in it."""
    *_, dealer = run_fresh(product_owned_by, owners)
    assert isinstance(dealer, Failed)
    assert dealer.kind == "ProtocolError"
    assert "own, among 2 parties" in str(dealer)


MISUSES: list[tuple[str, Any]] = [
    ("and nobody else, pass values", lambda s: commit_rows(s, DEVELOPER, None, (2, 2))),
    ("and nobody else, pass values", lambda s: commit_rows(s, AUDITOR, torch.zeros(2, 2), (2, 2))),
    ("were to be committed to as", lambda s: commit_rows(s, DEVELOPER, torch.zeros(2, 3), (2, 2))),
    ("has norm 2", lambda s: commit_rows(s, DEVELOPER, torch.eye(2) * 2, (2, 2))),
    ("a matrix", lambda s: commit_rows(s, DEVELOPER, torch.zeros(2), (2,))),
    ("compute parties are", lambda s: commit_rows(s, DEVELOPER, torch.zeros(1, 1), (1, 1), verifiers=["dealer"])),
    ("nobody verifies", lambda s: commit_rows(s, DEVELOPER, torch.zeros(1, 1), (1, 1), verifiers=[])),
    ("too long", lambda s: commit_rows(s, DEVELOPER, torch.zeros(1, 1 << 24), (1, 1 << 24))),
    ("must be 0 or 1", lambda s: bits_of(s, DEVELOPER, torch.tensor([[2]]), RowSum.ANY)),
    ("are integers", lambda s: bits_of(s, DEVELOPER, torch.tensor([[0.5]]), RowSum.ANY)),
    ("add up to one", lambda s: bits_of(s, DEVELOPER, torch.tensor([[0, 0]]), RowSum.ONE)),
    (
        "were to be committed to as",
        lambda s: commit_bits(s, [DEVELOPER], torch.ones(3, 1), (3, 1), rule=RowSum.ANY, sizes={DEVELOPER: 2}),
    ),
    ("all together have 3", lambda s: parts_of(s, torch.ones(3, 1), {DEVELOPER: 3, AUDITOR: 1})),
    ("one row at least", lambda s: parts_of(s, torch.ones(3, 1), {DEVELOPER: 3, AUDITOR: 0})),
    (
        "are told alone",
        lambda s: commit_rows(s, DEVELOPER, torch.zeros(1, 1), (1, 1), verifiers=[AUDITOR], told=[]),
    ),
    (
        "for all",
        lambda s: parts_of(s, torch.ones(3, 1), {DEVELOPER: 2, AUDITOR: 1}, told=[AUDITOR]),
    ),
    (
        "how many rows",
        lambda s: commit_bits(s, [DEVELOPER, AUDITOR], torch.tensor([[1]]), (1, 1), rule=RowSum.ANY),
    ),
    (
        "and nobody else",
        lambda s: commit_bits(
            s, [DEVELOPER], torch.tensor([[1]]), (2, 1), rule=RowSum.ANY, sizes={DEVELOPER: 1, AUDITOR: 1}
        ),
    ),
]


def misuse(session: Session) -> list[str]:
    """Only the developer acts, and nothing is sent, so that the parties stay in step."""
    said = []
    for _, action in MISUSES if session.name == DEVELOPER else []:
        try:
            action(session)
        except UsageError as error:
            said.append(str(error))
    return said


def test_misuse_is_said() -> None:
    said = run(misuse)[0]
    assert len(said) == len(MISUSES)
    for (expected, _), found in zip(MISUSES, said, strict=True):
        assert expected in found


def products_of_new_commitments(session: Session) -> list[int]:
    """Requests to the dealer of each call of an operation that commits and then multiplies."""
    attributes, found = fix(session, share_integers(session, AUDITOR, memberships(20, 1, 2))), []
    for seed in range(3):
        before = session.provider.messages
        with session.operation("outer"):
            query = rows_of(session, unit_rows(20, 3, seed))
            with session.operation("product of a commitment", (20, 3)):
                once = multiply(session, "matmul", query.T, attributes)
                multiply(session, "matmul", query.T, fix(session, attributes.shared))
        found.append(session.provider.messages - before)
        value = open_to(session, DEVELOPER, once)
        expected = unit_rows(20, 3, seed).T @ memberships(20, 1, 2).double()
        assert value is None or float((value - expected).abs().max()) < 0.1
    return found


def test_a_schedule_follows_what_was_committed_to_in_the_same_operation() -> None:
    for first, *others in run(products_of_new_commitments):
        assert first > 2
        assert others == [2, 2]  # the commitment's and the product's, each in one message
