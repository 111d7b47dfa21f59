"""Sessions: inputs, one-sided openings, the dealer's place, keys, known schedules and the cost meter."""

from __future__ import annotations

import contextlib
import inspect
from typing import Any

import pytest
import torch
from torch import Tensor

from secure_fair.errors import UsageError
from secure_fair.mpc.menu import Fresh, Product, Square
from secure_fair.mpc.products import mask, multiply, rescale
from secure_fair.mpc.session import Session
from secure_fair.mpc.shares import from_share
from secure_fair.mpc.transcript import BYTES
from secure_fair.mpc.transport import LinkSettings, Network
from tests.mpc.harness import DEALER, Failed, Settings, credentials, run, run_fresh
from tests.mpc.values import AUDITOR, DEVELOPER, memberships, of_norm, open_to, own, share, share_integers, unit_rows
from tests.operations import computations as ops

# inputs and openings


def shared_and_opened(session: Session) -> list[tuple[Tensor | None, Tensor]]:
    results = []
    for owner in session.parties:
        for receiver in session.parties:
            values = of_norm((3, 4), 5.0, len(owner))
            shared = share(session, owner, values)
            results.append((open_to(session, receiver, shared), shared.share))
    return results


@pytest.mark.parametrize("parties", [2, 3, 4])
def test_every_owners_input_reaches_every_receiver_and_nobody_else(parties: int) -> None:
    by_party = run(shared_and_opened, parties=parties)
    names = [DEVELOPER, AUDITOR, "second", "third"][:parties]
    step = 0
    for owner in names:
        for receiver in range(parties):
            for rank in range(parties):
                value, _ = by_party[rank][step]
                if rank == receiver:
                    assert float((value - of_norm((3, 4), 5.0, len(owner))).abs().max()) <= 2**-17
                else:
                    assert value is None
            total = sum(by_party[rank][step][1] for rank in range(parties)).double() / 65536
            assert float((total - of_norm((3, 4), 5.0, len(owner))).abs().max()) <= 2**-17
            step += 1


def noised(session: Session, noise: Tensor) -> tuple[Tensor | None, int]:
    shared = share_integers(session, AUDITOR, torch.tensor([[3, 4]]), bound=4)
    before = session._network.traffic()
    if session.name == DEVELOPER:
        value = session.receive_opening(shared, bound=1e6)
    else:
        value = session.reveal_to(DEVELOPER, shared, noise=noise if session.name == AUDITOR else None)
    received = {
        key: after.bytes_received - (before[key].bytes_received if key in before else 0)
        for key, after in session._network.traffic().items()
        if "opening" in key
    }
    return value, sum(received.values())


def test_noise_is_added_by_its_owner_and_whoever_opens_receives_nothing() -> None:
    (value, got), *others = run(noised, torch.tensor([[1000, -5]]), parties=3)
    assert value.tolist() == [[1003.0, -1.0]]
    assert got > 0
    assert others == [(None, 0), (None, 0)]


def twice_opened(session: Session) -> list[bytes]:
    """What the developer receives for the same shares of zero, opened twice."""
    shared = share(session, AUDITOR, torch.zeros(100, dtype=torch.float64))
    seen = []
    receive = session._network.receive
    session._network.receive = lambda *a, **k: seen.append(receive(*a, **k)) or seen[-1]  # type: ignore[method-assign]
    try:
        for _ in range(2):
            open_to(session, DEVELOPER, shared)
    finally:
        session._network.receive = receive  # type: ignore[method-assign]
    return seen


def test_shares_are_randomised_before_they_are_opened() -> None:
    messages = run(twice_opened, parties=3)[0]
    assert len(messages) == len(set(messages)) == 4
    words = [torch.frombuffer(bytearray(message[BYTES:]), dtype=torch.int64) for message in messages]
    assert not torch.isin(words[0], words[2]).any()


def beyond_its_bound(session: Session) -> None:
    open_to(session, DEVELOPER, share(session, AUDITOR, torch.tensor([2.0])), bound=1.0)


def test_an_opening_beyond_its_public_bound_stops_the_receiver() -> None:
    developer, auditor, _ = run_fresh(beyond_its_bound)
    assert developer.kind == "OutOfBound"
    assert "is 2 in size; its bound is 1" in str(developer)
    assert auditor is None


MISUSES: list[tuple[str, Any]] = [
    ("nobody else, passes values", lambda s: s.share("auditor", torch.zeros(2), (2,), bound=1.0)),
    ("nobody else, passes values", lambda s: s.share("developer", None, (2,), bound=1.0)),
    ("not a compute party", lambda s: s.share("dealer", None, (2,), bound=1.0)),
    ("were to be shared as", lambda s: s.share("developer", torch.zeros(3), (2,), bound=1.0)),
    ("name another compute party", lambda s: s.reveal_to("developer", from_share(torch.zeros(2).long(), 1))),
    ("name another compute party", lambda s: s.reveal_to("dealer", from_share(torch.zeros(2).long(), 1))),
    (
        "noise is int64",
        lambda s: s.reveal_to("auditor", from_share(torch.zeros(2).long(), 1), noise=torch.zeros(2)),
    ),
]


def misuse(session: Session, number: int) -> str:
    """Only the developer acts, and nothing is sent, so that the parties stay in step."""
    if session.name == DEVELOPER:
        try:
            MISUSES[number][1](session)
        except UsageError as error:
            return str(error)
    return ""


@pytest.mark.parametrize("number", range(len(MISUSES)))
def test_misuse_is_said(number: int) -> None:
    assert MISUSES[number][0] in run(misuse, number)[0]


# who deals, and with what keys


@pytest.mark.parametrize(
    ("parties", "dealer", "message"),
    [
        ((DEVELOPER, AUDITOR), "", "not a compute party"),
        ((DEVELOPER, AUDITOR), DEVELOPER, "know every value"),
        ((DEVELOPER, AUDITOR), AUDITOR, "know every value"),
        ((DEVELOPER,), DEALER, "two or more"),
        ((DEVELOPER, DEVELOPER), DEALER, "once each"),
        ((AUDITOR, "second"), DEALER, "this one"),
    ],
)
def test_without_a_dealer_of_its_own_no_session_opens(parties: tuple[str, ...], dealer: str, message: str) -> None:
    network = Network(credentials()[DEVELOPER])
    try:
        with pytest.raises(UsageError, match=message):
            Session.open(network, parties=parties, dealer=dealer)
    finally:
        network.close()


def test_a_dealer_cannot_be_left_out() -> None:
    assert inspect.signature(Session.open).parameters["dealer"].default is inspect.Parameter.empty


def stock_left_overs(session: Session) -> list[str]:
    """Ways to the stock engine's own providers and generators, and what they end in."""
    import crypten
    from crypten.common.rng import generate_random_ring_element
    from crypten.mpc.primitives import ArithmeticSharedTensor, BinarySharedTensor

    def outcome(action: Any) -> str:
        try:
            return f"returned {action()}"
        except Exception as error:
            return type(error).__name__

    first_party = crypten.mpc.provider.TrustedFirstParty()
    return [
        outcome(lambda: vars(crypten.mpc)["__SUPPORTED_PROVIDERS"]["TFP"]),
        outcome(lambda: generate_random_ring_element((2,), generator=torch.Generator())),
        outcome(lambda: crypten.generators["local"][torch.device("cpu")]),
        outcome(lambda: crypten.communicator.DistributedCommunicator.initialize(0, 2)),
        outcome(lambda: crypten.communicator.get().send_obj({}, 1)),
        outcome(lambda: crypten.communicator.get().recv_obj(1)),
        outcome(lambda: crypten.communicator.get().broadcast_obj({}, 0)),
        outcome(lambda: crypten.mpc.get_default_provider() is session.provider),
        outcome(lambda: first_party.NAME),
        outcome(lambda: ArithmeticSharedTensor.PRZS((3,)).share.shape),
        outcome(lambda: BinarySharedTensor.PRZS(3).share.shape),
    ]


def test_nothing_of_the_stock_engines_randomness_or_pickles_is_left() -> None:
    assert run(stock_left_overs)[0] == [
        "KeyError",
        "ProtocolError",
        "KeyError",
        "ProtocolError",
        "NotOffered",
        "NotOffered",
        "NotOffered",
        "returned True",
        "returned TFP",
        "returned torch.Size([3])",
        "returned torch.Size([3])",
    ]


def shares_of_zero(session: Session) -> tuple[Tensor, Tensor, Tensor]:
    from crypten.mpc.primitives import ArithmeticSharedTensor, BinarySharedTensor

    return (
        ArithmeticSharedTensor.PRZS((500,)).share,
        BinarySharedTensor.PRZS((500,)).share,
        ArithmeticSharedTensor.PRSS((500,)).share,
    )


@pytest.mark.parametrize("parties", [2, 3, 4, 5])
def test_shares_of_zero_add_up_to_zero_and_every_pair_of_parties_has_its_own_stream(parties: int) -> None:
    shares = run(shares_of_zero, parties=parties)
    assert torch.equal(sum(share[0] for share in shares), torch.zeros(500, dtype=torch.int64))
    xor = torch.zeros(500, dtype=torch.int64)
    for share_ in shares:
        xor ^= share_[1]
    assert torch.equal(xor, torch.zeros(500, dtype=torch.int64))
    # no proper part of the parties adds up to anything known, whichever it is
    for kind in (0, 2):
        for mask_ in range(1, 2**parties - 1):
            part = sum(share_[kind] for rank, share_ in enumerate(shares) if mask_ >> rank & 1)
            assert len(part.unique()) == 500


def own_share(session: Session) -> tuple[Tensor, bool]:
    return share(session, AUDITOR, torch.zeros(50)).share, session.private


def test_sessions_are_private_and_differ() -> None:
    first, again = (run_fresh(own_share)[0] for _ in range(2))
    assert first[1]
    assert again[1]
    assert not torch.isin(first[0], again[0]).any()


def test_seeded_sessions_repeat_and_say_that_they_are_not_private() -> None:
    first, again, other = (run_fresh(own_share, settings=Settings(seed=seed))[0] for seed in (3, 3, 4))
    assert not first[1]
    assert torch.equal(first[0], again[0])
    assert not torch.isin(first[0], other[0]).any()


# out of step


def different_requests(session: Session) -> None:
    session.provider.take(Square((2 + session.rank,)))
    session.communicator.barrier()


def test_the_dealer_compares_what_the_parties_ask_for() -> None:
    *parties, dealer = run_fresh(different_requests)
    assert dealer.kind == "ProtocolError"
    assert "out of step" in str(dealer)
    assert "auditor asks the dealer for '[[\"square\",[3]]]'" in str(dealer)
    assert all(isinstance(party, Failed) for party in parties)


def different_pasts(session: Session, then: str) -> None:
    owner = DEVELOPER if session.rank == 0 else AUDITOR
    session._share(owner, torch.zeros(2).long() if owner == session.name else None, (2,), 1)  # both are the owner
    if then == "dealer":
        session.provider.take(Square((2,)))
    else:
        open_to(session, DEVELOPER, from_share(torch.zeros(2).long(), 1))


@pytest.mark.parametrize("then", ["dealer", "opening"])
def test_parties_with_different_pasts_do_not_go_on(then: str) -> None:
    developer, _, dealer = run_fresh(different_pasts, then)
    noticed = dealer if then == "dealer" else developer
    assert noticed.kind == "ProtocolError"
    assert "out of step" in str(noticed)


def different_shapes(session: Session) -> None:
    session.communicator.all_reduce(torch.zeros(2 + session.rank, dtype=torch.int64))


def test_peers_out_of_step_are_an_error_at_once() -> None:
    outcomes = run_fresh(different_shapes)
    assert "ProtocolError" in [outcome.kind for outcome in outcomes[:2]]
    assert any("out of step" in str(outcome) or "limit" in str(outcome) for outcome in outcomes[:2])


# masked values


def masked_products(session: Session) -> list[Any]:
    x, y = share(session, DEVELOPER, of_norm((6, 4), 3.0, 1)), share(session, AUDITOR, of_norm((4, 5), 3.0, 2))
    ops.fix(session, x)  # numbers of masks need not begin at zero
    before = session.communicator.rounds
    left, right = mask(session, x, y)
    rows = torch.tensor([5, 0, 0, 3])
    products = rescale(
        session,
        multiply(session, "matmul", left, right),
        multiply(session, "matmul", right.T, left.T),
        multiply(session, "matmul", left.rows(rows), right),
        multiply(session, "matmul", left.rows(rows).T, left.rows(rows)),
        multiply(session, "mul", left, left),
    )
    rounds = session.communicator.rounds - before
    changed = from_share(x.share + (1 if session.rank == 0 else 0), session.scale)
    again = ops.fix(session, changed)
    return [
        rounds,
        left.operand.mask != again.operand.mask and not torch.isin(left.mask_share, again.mask_share).any(),
        float((left.difference - again.difference).double().abs().min()) > 1e6,
        mask(session, left)[0] is left,
        *[open_to(session, DEVELOPER, product) for product in products],
    ]


@pytest.mark.parametrize("parties", [2, 3])
def test_masked_values_enter_many_products_after_one_opening(parties: int) -> None:
    rounds, other_mask, other_difference, kept, *products = run(masked_products, parties=parties)[0]
    assert rounds == (1 if parties == 2 else 2)  # more than two parties divide in one more round
    assert other_mask
    assert other_difference
    assert kept
    x, y = of_norm((6, 4), 3.0, 1), of_norm((4, 5), 3.0, 2)
    part = x[[5, 0, 0, 3]]
    for product, expected in zip(products, [x @ y, (x @ y).T, part @ y, part.T @ part, x * x], strict=True):
        assert float((product - expected).abs().max()) < 2e-4


def owned_products(session: Session, owners: tuple[str, str]) -> list[Any]:
    """Products of what one party has in the clear, and the bytes that this party sends for them."""
    x, y = of_norm((6, 4), 3.0, 1), of_norm((4, 5), 3.0, 2)
    before = session.meter._read()
    left, right = mask(session, own(session, owners[0], x), own(session, owners[1], y))
    again = ops.fix(session, own(session, owners[0], x))
    sent = (session.meter._read() - before).bytes_sent
    rows = torch.tensor([5, 0, 0, 3])
    products = rescale(
        session,
        multiply(session, "matmul", left, right),
        multiply(session, "matmul", right.T, left.T),
        multiply(session, "matmul", left.rows(rows), right),
        multiply(session, "mul", left, again),
    )
    difference = left.difference - again.difference
    return [
        sent,
        not torch.isin(left.difference, again.difference).any() and float(difference.double().abs().min()) > 1e6,
        left.mask_share.any() == (session.name == owners[0]),
        *[open_to(session, DEVELOPER, product) for product in [*products, left.shared]],
    ]


@pytest.mark.parametrize("owners", [(DEVELOPER, AUDITOR), (AUDITOR, DEVELOPER), (AUDITOR, AUDITOR)])
@pytest.mark.parametrize("parties", [2, 3])
def test_owned_values_are_masked_by_their_owner_alone_and_sent_by_it_alone(
    owners: tuple[str, str], parties: int
) -> None:
    results = run(owned_products, owners, parties=parties)
    x, y = of_norm((6, 4), 3.0, 1), of_norm((4, 5), 3.0, 2)
    for name, (sent, fresh, alone, *_) in zip((DEVELOPER, AUDITOR, "second"), results, strict=False):
        numbers = 2 * 24 * (name == owners[0]) + 20 * (name == owners[1])
        assert 8 * numbers * (parties - 1) <= sent < 8 * numbers * (parties - 1) + 300 * (numbers > 0) + 1
        assert fresh  # another mask each time
        assert alone
    expected = [x @ y, (x @ y).T, x[[5, 0, 0, 3]] @ y, x * x, x]
    for product, value in zip(results[0][3:], expected, strict=True):
        assert float((product - value).abs().max()) < 2e-4


def product_of_fresh_masks(session: Session) -> str:
    with pytest.raises(ValueError, match="take both") as error:
        session.provider.take_product(Product("mul", Fresh((1,)), Fresh((1,))))
    return str(error.value)


def test_masks_that_a_product_draws_cannot_be_left_behind() -> None:
    for message in run(product_of_fresh_masks):
        assert "Fresh(shape=(1,))" in message


# known schedules and cost


def repeated_adversary(session: Session, repetitions: int, prefetched: bool) -> list[tuple[int, float]]:
    weights, results = of_norm((6, 1), 1.0, 3), []
    for _ in range(repetitions):
        before = session.provider.messages
        z, a = share(session, DEVELOPER, unit_rows(9, 6, 4)), share_integers(session, AUDITOR, memberships(9, 1, 5))
        rows, _ = ops.adversary(session, z, a, share(session, DEVELOPER, weights), learning_rate=0.1, ball=4.0)
        if prefetched:
            session.prefetch("adversary", (9, 6), (6, 1))
        value = open_to(session, DEVELOPER, rows)
        expected = ops.plain_adversary(unit_rows(9, 6, 4), memberships(9, 1, 5), weights, learning_rate=0.1, ball=4.0)
        results.append(
            (session.provider.messages - before, 0.0 if value is None else float((value - expected[0]).abs().max()))
        )
    session.provider.discard()
    return results


@pytest.mark.parametrize("parties", [2, 3])
def test_a_known_schedule_is_one_message(parties: int) -> None:
    for results in run(repeated_adversary, 3, False, parties=parties):
        assert [messages for messages, _ in results] == [1, 1, 1]
        assert all(error < 1e-3 for _, error in results)


def test_a_schedule_may_be_asked_for_ahead() -> None:
    for results in run(repeated_adversary, 3, True):
        assert [messages for messages, _ in results] == [2, 1, 1]  # the first one's own, and the second's ahead
        assert all(error < 1e-3 for _, error in results)


def asked_calls_ahead(session: Session, ahead: int) -> list[tuple[int, float]]:
    """Messages inside each call, and its error; two operations in turn, ``ahead`` calls asked for before them."""
    f, results = unit_rows(6, 3, 1), []
    turns = [(name, columns) for _ in range(4) for name, columns in ((f"one {ahead}", 1), (f"five {ahead}", 5))]

    def ask(turn: int) -> None:
        if turn < len(turns):
            session.prefetch(turns[turn][0], (6, 3))

    for number, (name, columns) in enumerate([*turns[:2], *turns]):
        turn = number - 2
        if turn == 0:
            for first in range(ahead):
                ask(first)
        a = memberships(6, columns, 2)
        before = session.provider.messages
        with session.operation(name, (6, 3)):
            query, attributes = mask(session, share(session, DEVELOPER, f), share_integers(session, AUDITOR, a))
            product = multiply(session, "matmul", query.T, attributes)
            (again,) = mask(session, product)
            square = multiply(session, "mul", again, again)
        messages = session.provider.messages - before
        if turn >= 0:
            ask(turn + ahead)
        value = open_to(session, DEVELOPER, from_share(square.share, session.scale**2))
        error = 0.0 if value is None else float((value - (f.T @ a.double()).square()).abs().max())
        results.append((messages, error))
    return results


@pytest.mark.parametrize("ahead", [1, 2, 3])
def test_several_calls_may_be_asked_for_ahead(ahead: int) -> None:
    for results in run(asked_calls_ahead, ahead):
        assert [messages for messages, _ in results] == [2, 2] + [0] * 8
        assert all(error < 1e-3 for _, error in results)


def asked_for_another(session: Session) -> list[int]:
    """Messages inside calls, each after another operation than it was asked for ahead."""
    found = []
    for turn in range(6):
        name, columns = (("one", 1), ("five", 5))[turn % 2]
        before = session.provider.messages
        with session.operation(f"wrong {name}", (6, 3)):
            values = unit_rows(6, 3, 1), memberships(6, columns, 2)
            query, held = mask(
                session, share(session, DEVELOPER, values[0]), share_integers(session, AUDITOR, values[1])
            )
            (again,) = mask(session, multiply(session, "matmul", query.T, held))
            multiply(session, "mul", again, again)
        found.append(session.provider.messages - before)
        session.prefetch(f"wrong {name}", (6, 3))
    return found


def test_asking_ahead_for_the_wrong_operation_costs_one_message() -> None:
    for messages in run(asked_for_another):
        assert messages == [2, 2, 1, 1, 1, 1]


def changing_shapes(session: Session) -> list[float]:
    """Schedules that do not come true: the operation of one name takes other things each time."""
    errors = []
    for size in (3, 5, 4, 4, 1, 5):
        with session.operation("changing", (1,)):
            values = of_norm((size, size), 2.0, size)
            (x,) = mask(session, share(session, DEVELOPER, values))
            for _ in range(size):
                (product,) = rescale(session, multiply(session, "matmul", x, x))
        value = open_to(session, DEVELOPER, product)
        errors.append(0.0 if value is None else float((value - values @ values).abs().max()))
    return errors


@pytest.mark.parametrize("parties", [2, 3])
def test_a_schedule_that_does_not_come_true_is_dropped(parties: int) -> None:
    assert all(error < 1e-3 for error in run(changing_shapes, parties=parties)[0])


def metered(session: Session) -> dict[str, Any]:
    with session.operation("outer"):
        f, a = share(session, DEVELOPER, unit_rows(10, 2, 1)), share_integers(session, AUDITOR, memberships(10, 1, 2))
        product = ops.moment(session, f, a)
    with session.operation("opening"):
        open_to(session, DEVELOPER, product)
    with contextlib.suppress(ZeroDivisionError), session.operation("fails"):
        session.communicator.barrier()
        _ = 1 / 0
    with session.operation("outer"):
        pass
    return session.meter.summary()


def test_the_meter_counts_rounds_bytes_and_the_dealer_per_operation() -> None:
    developer, auditor, _ = run_fresh(metered)
    for costs in (developer, auditor):
        assert list(costs) == ["outer", "opening", "fails"]
        outer = costs["outer"]
        assert (outer.calls, outer.rounds, outer.dealer_messages) == (2, 1, 1)
        assert outer.bytes_sent >= 8 * (20 + 10)
        assert outer.bytes_received >= 8 * (20 + 10)
        assert outer.bytes_sent < 8 * (20 + 10) + 200
        assert outer.dealer_bytes_sent > 0
        assert 0 < outer.seconds < 5
        assert costs["opening"].rounds == costs["fails"].rounds == 1
    assert developer["outer"].dealer_bytes_received == 0
    assert auditor["outer"].dealer_bytes_received >= 16
    assert developer["opening"].bytes_sent == 0 == auditor["opening"].bytes_received
    assert developer["opening"].bytes_received == auditor["opening"].bytes_sent >= 16 + 16


def sum_of_ranks(session: Session) -> tuple[list[int], int, int]:
    """What all get who add up their ranks, in how many rounds, and the bytes that this party has sent for it."""
    before, rounds = session._cost_so_far().bytes_sent, session.communicator.rounds
    totals = session.communicator.all_reduce([torch.full((500,), session.rank), torch.tensor([1])], batched=True)
    sent = session._cost_so_far().bytes_sent - before
    return [int(totals[0].unique()), int(totals[1])], session.communicator.rounds - rounds, sent


@pytest.mark.parametrize("parties", [3, 5])
def test_what_many_parties_open_goes_by_one_of_them(parties: int) -> None:
    """Bytes in all grow with the parties, not with their square; few of them save the second round."""
    told = run(sum_of_ranks, parties=parties)
    assert [totals for totals, _, _ in told] == [[parties * (parties - 1) // 2, parties]] * parties
    sent = sum(sent for _, _, sent in told) / (8 * 501)
    messages, rounds = (6, 1) if parties == 3 else (2 * (parties - 1), 2)
    assert [rounds for _, rounds, _ in told] == [rounds] * parties
    assert messages <= sent < 1.05 * messages


def slow_rounds(session: Session) -> dict[str, Any]:
    weights, z = of_norm((6, 1), 1.0, 3), unit_rows(9, 6, 4)
    for _ in range(2):
        a = share_integers(session, AUDITOR, memberships(9, 1, 5))
        ops.adversary(
            session, share(session, DEVELOPER, z), a, share(session, DEVELOPER, weights), learning_rate=0.1, ball=4.0
        )
    return session.meter.summary()


def test_a_simulated_link_costs_its_latency_once_a_round() -> None:
    cost = run_fresh(slow_rounds, settings=Settings(link=LinkSettings(latency_ms=20)))[0]["adversary"]
    assert cost.seconds >= cost.rounds * 0.020
    assert cost.seconds < (cost.rounds + 2 * cost.dealer_messages + 10) * 0.020 + 1


@pytest.mark.parametrize("bits", [12, 20])
def test_other_precisions(bits: int) -> None:
    errors = [error for _, error in run(repeated_adversary, 2, False, precision_bits=bits)[0]]
    assert max(errors) < (2e-2 if bits == 12 else 5e-5)
