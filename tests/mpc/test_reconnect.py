"""A line that breaks and comes back in time: nothing is lost, doubled or reordered, and nobody slips in."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from bench.proxy import Proxy
from secure_fair.errors import PartyLost, ProtocolError
from secure_fair.mpc.frames import Hello
from secure_fair.mpc.resending import Window
from secure_fair.mpc.tls import channel_credentials, grpc
from secure_fair.mpc.transport import Credentials, LinkSettings, Network
from tests.mpc.test_transport import LIMIT, OPEN, credentials, identities, together  # noqa: F401

SIZES = (1, 100, 5_000, 300_000)


@dataclass
class Pair:
    """Alice and Bob, who reach each other through a relay each."""

    alice: Network
    bob: Network
    to_alice: Proxy
    to_bob: Proxy

    @property
    def lines(self) -> tuple[Proxy, Proxy]:
        return self.to_alice, self.to_bob


@contextlib.contextmanager
def pair(credentials: dict[str, Credentials], reconnect: float, timeout: float = 10.0) -> Iterator[Pair]:  # noqa: F811
    with Proxy() as to_alice, Proxy() as to_bob:
        link = LinkSettings(reconnect=reconnect)
        alice, bob = (Network(credentials[name], timeout=timeout, link=link) for name in ("alice", "bob"))
        to_alice.target, to_bob.target = alice.address, bob.address
        try:
            peers = ((alice, {"bob": to_bob.address}), (bob, {"alice": to_alice.address}))
            assert together(*(lambda n=n, p=p: n.connect(p, {"scenario": "s"}) for n, p in peers)) == [None, None]
            yield Pair(alice, bob, to_alice, to_bob)
        finally:
            together(alice.close, bob.close)


def talk(network: Network, peer: str, rounds: int, before: Callable[[int], None] = lambda number: None) -> list[int]:
    """Send numbered messages of several sizes and receive the peer's; the numbers in which they came."""
    came = []
    for number in range(rounds):
        before(number)
        size = SIZES[number % len(SIZES)]
        network.send(peer, "talk", number.to_bytes(8, "big"), bytes(size))
        message = network.receive(peer, "talk", limit=LIMIT)
        assert len(message) == 8 + size
        came.append(int.from_bytes(message[:8], "big"))
    return came


def both(two: Pair, rounds: int) -> list[Any]:
    return together(lambda: talk(two.alice, "bob", rounds), lambda: talk(two.bob, "alice", rounds))


def through_resets(two: Pair) -> list[Any]:
    """Sixty messages each way, with a reset of one line or the other at every tenth."""

    def reset(number: int) -> None:
        if number % 10 == 5:
            two.lines[number // 10 % 2].reset()

    return together(lambda: talk(two.alice, "bob", 60, reset), lambda: talk(two.bob, "alice", 60))


def test_every_message_arrives_once_and_in_order_through_resets(credentials: dict[str, Credentials]) -> None:  # noqa: F811
    with pair(credentials, reconnect=20) as two:
        assert through_resets(two) == [list(range(60))] * 2
        for network in (two.alice, two.bob):
            (traffic,) = [held for (_, channel), held in network.traffic().items() if channel == "talk"]
            assert (traffic.messages_sent, traffic.messages_received) == (60, 60)


def test_without_it_one_reset_ends_the_session(credentials: dict[str, Credentials]) -> None:  # noqa: F811
    with pair(credentials, reconnect=0) as two:
        outcomes = through_resets(two)
    assert all(isinstance(outcome, PartyLost) for outcome in outcomes), outcomes


@pytest.mark.parametrize("seconds", [1.5, pytest.param(30.0, marks=pytest.mark.long)])
def test_a_line_that_is_away_for_a_while_is_waited_for(credentials: dict[str, Credentials], seconds: float) -> None:  # noqa: F811
    with pair(credentials, reconnect=60) as two:
        assert both(two, 4) == [list(range(4))] * 2
        for line in two.lines:
            line.cut(seconds)
        began = time.monotonic()
        assert both(two, 8) == [list(range(8))] * 2
        assert time.monotonic() - began >= seconds - 0.5


@pytest.mark.slow
def test_a_line_that_stays_away_is_a_loss_of_the_peer(credentials: dict[str, Credentials]) -> None:  # noqa: F811
    with pair(credentials, reconnect=1.5) as two:
        for line in two.lines:
            line.cut(60)
        began = time.monotonic()
        outcomes = both(two, 4)
        assert 1.5 <= time.monotonic() - began < 6
    assert {outcome.party for outcome in outcomes} == {"alice", "bob"}
    assert any("did not come back within 1.5 s" in str(outcome) for outcome in outcomes)


@pytest.mark.slow
def test_a_line_on_which_nothing_comes_any_more_is_asked_for_again(credentials: dict[str, Credentials]) -> None:  # noqa: F811
    """A router has forgotten the connection and tells nobody: what is sent is swallowed, and new calls go through."""
    with pair(credentials, reconnect=20, timeout=6) as two:
        swallow(two.to_bob)
        assert both(two, 4) == [list(range(4))] * 2


def swallow(line: Proxy) -> None:
    """What is connected now stays so, and nothing of it is passed on."""
    with line._lock:
        line._swallowed = list(line._pairs)  # type: ignore[attr-defined]  # kept open
        line._pairs.clear()


def test_a_byte_that_was_changed_on_the_way_is_sent_again(credentials: dict[str, Credentials]) -> None:  # noqa: F811
    """TLS ends such a connection."""
    with pair(credentials, reconnect=20) as two:
        two.to_bob.flip()
        assert both(two, 12) == [list(range(12))] * 2
        assert not two.to_bob._flip


@pytest.mark.parametrize(
    "wrong", ["replayed", *(pytest.param(how, marks=pytest.mark.slow) for how in ("left out", "reordered"))]
)
def test_a_peer_that_goes_on_from_elsewhere_is_refused(
    credentials: dict[str, Credentials],  # noqa: F811
    monkeypatch: pytest.MonkeyPatch,
    wrong: str,
) -> None:
    after = Window.after

    def elsewhere(self: Window, received: Any) -> Iterator[bytes]:
        """Alice's frames from the wrong place: one that Bob has had, without the next, or the last first."""
        frames = list(after(self, received))
        if self is not two.alice._links["bob"].window:
            return iter(frames)
        return iter({"replayed": sent[:1] + frames, "left out": frames[1:], "reordered": frames[::-1]}[wrong])

    with pair(credentials, reconnect=20) as two:
        sent: list[bytes] = []
        add = Window.add
        monkeypatch.setattr(Window, "add", lambda self, frame: (sent.append(frame), add(self, frame))[1])
        monkeypatch.setattr(Window, "after", elsewhere)
        two.alice.send("bob", "talk", b"first")
        assert two.bob.receive("alice", "talk", limit=9) == b"first"
        two.to_alice.cut(0.5)
        for number in range(3):
            two.alice.send("bob", "talk", bytes([number]))
        (outcome,) = together(lambda: [two.bob.receive("alice", "talk", limit=9) for _ in range(3)])
        assert isinstance(outcome, ProtocolError)
        assert "alice does not keep to the protocol: frame" in str(outcome)


def test_another_session_with_the_same_key_does_not_get_the_stream(
    credentials: dict[str, Credentials],  # noqa: F811
    identities: Path,  # noqa: F811
) -> None:
    with pair(credentials, reconnect=20) as two:
        options = [("grpc.ssl_target_name_override", "alice")]
        trusted = credentials["bob"].authority
        with grpc.secure_channel(
            two.alice.address, channel_credentials(credentials["bob"], trusted), options=options
        ) as channel:
            other = Hello("bob", "alice", bytes(32), {"scenario": "s"})
            stream = channel.unary_stream(OPEN)(other.encode())
            with pytest.raises(grpc.RpcError) as refused:
                next(stream)
        assert refused.value.code() == grpc.StatusCode.PERMISSION_DENIED
        assert both(two, 4) == [list(range(4))] * 2


def test_a_peer_cannot_have_what_it_has_acknowledged() -> None:
    window = Window()
    for number in range(4):
        window.add(bytes([number]))
    window.acknowledge(2)
    assert list(window.after(3)) == [b"\3"]
    for impossible in (2, 5, "3", None):
        with pytest.raises(ProtocolError):
            window.after(impossible)
