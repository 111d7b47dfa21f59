"""A line that breaks and comes back in time: nothing is lost, doubled or reordered, and nobody slips in."""

from __future__ import annotations

import contextlib
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from secure_fair.bench.proxy import Proxy
from secure_fair.errors import PartyLost, ProtocolError, SecureFairError
from secure_fair.mpc.frames import Hello
from secure_fair.mpc.link import Link, LinkDown
from secure_fair.mpc.mending import AGAIN_SECONDS
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


def test_a_line_that_was_away_is_used_again_at_once_and_by_one_connection(credentials: dict[str, Credentials]) -> None:  # noqa: F811
    """Attempts that failed leave nothing that goes on calling: of a long cut that took all places at the peer."""
    with pair(credentials, reconnect=60) as two:
        began = time.monotonic()
        two.to_bob.cut(2.5)
        assert both(two, 4) == [list(range(4))] * 2
        assert 2.5 <= time.monotonic() - began < 2.5 + AGAIN_SECONDS + 2.0
        time.sleep(1.0)
        assert two.to_bob.connections == 1


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
        two.to_bob.swallow()
        assert both(two, 4) == [list(range(4))] * 2


def test_a_byte_that_was_changed_on_the_way_is_sent_again(credentials: dict[str, Credentials]) -> None:  # noqa: F811
    """TLS ends such a connection."""
    with pair(credentials, reconnect=20) as two:
        two.to_bob.flip()
        assert both(two, 12) == [list(range(12))] * 2
        assert not two.to_bob._flip


def test_a_goodbye_is_waited_for_where_the_line_is_dead_and_nobody_sees_it(credentials: dict[str, Credentials]) -> None:  # noqa: F811
    """Who leaves well stays until a line that swallows everything is seen to be dead, and the peer has called again."""
    with pair(credentials, reconnect=20, timeout=9) as two:
        assert both(two, 4) == [list(range(4))] * 2
        for line in two.lines:
            line.swallow()
        two.alice.send("bob", "talk", b"the last words")
        outcomes = together(two.alice.close, lambda: bytes(two.bob.receive("alice", "talk", limit=LIMIT)))
        assert outcomes == [None, b"the last words"]
        assert two.bob._links["alice"].departed
        assert two.bob._detector.failure is None


@pytest.mark.parametrize(("broken", "seconds"), [("one", 1.0), ("both", 3.0)])
def test_a_goodbye_is_waited_for_where_the_line_breaks_under_it(
    credentials: dict[str, Credentials],  # noqa: F811
    broken: str,
    seconds: float,
) -> None:
    """Who leaves well is not taken for lost: it stays until the peer has called again and heard so, or has said so."""
    with pair(credentials, reconnect=20) as two:
        assert both(two, 4) == [list(range(4))] * 2
        for line in two.lines if broken == "both" else two.lines[:1]:
            line.cut(seconds)
        two.alice.close()
        wait_for(lambda: two.bob._links["alice"].departed)
        assert two.bob._detector.failure is None


@pytest.mark.parametrize("reconnect", [0, 20])
def test_a_byte_that_was_changed_behind_a_goodbye_is_of_no_consequence(
    credentials: dict[str, Credentials],  # noqa: F811
    reconnect: float,
) -> None:
    """Nothing more is due then: the run has ended well."""
    with pair(credentials, reconnect=reconnect) as two:
        assert both(two, 4) == [list(range(4))] * 2
        two.to_bob.hold(2.0)  # so that Alice waits for the answer to her goodbye
        leaving = threading.Thread(target=two.alice.close)
        leaving.start()
        wait_for(lambda: two.bob._links["alice"].departed)
        two.to_alice.flip()
        wait_for(two.bob._links["alice"].ended.is_set)
        leaving.join()
        assert not two.to_alice._flip
        assert two.bob._detector.failure is None


def wait_for(happens: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 20
    while not happens():
        assert time.monotonic() < deadline
        time.sleep(0.02)


PARTIES = ("alice", "bob", "carol")


def disturbed(
    credentials: dict[str, Credentials],  # noqa: F811
    disturb: Callable[[Proxy], None],
    before: Callable[[Network], None] = lambda alice: None,
    timeout: float = 10.0,
) -> dict[str, Any]:
    """How three parties end who talk until it is over, once the line on which Alice reads what Bob sends was disturbed;
    none of theirs may come back. ``before``: what is done to Alice first."""
    with contextlib.ExitStack() as stack:
        lines = {(of, to): stack.enter_context(Proxy()) for of in PARTIES for to in PARTIES if of != to}
        networks = {name: Network(credentials[name], timeout=timeout) for name in PARTIES}
        for (_, to), line in lines.items():
            line.target = networks[to].address
        stack.callback(lambda: together(*(network.close for network in networks.values())))
        peers = {of: {to: line.address for (one, to), line in lines.items() if one == of} for of in PARTIES}
        together(*(lambda n=n: networks[n].connect(peers[n], {}) for n in PARTIES))
        before(networks["alice"])

        def speak(name: str) -> None:
            for number in range(1000):
                if (name, number) == ("alice", 5):
                    disturb(lines["alice", "bob"])
                for peer in peers[name]:
                    networks[name].send(peer, "talk", bytes(2_000))
                for peer in peers[name]:
                    networks[name].receive(peer, "talk", limit=LIMIT)

        return dict(zip(PARTIES, together(*(lambda n=n: speak(n) for n in PARTIES)), strict=True))


def test_a_byte_that_was_changed_on_the_way_ends_the_run_of_all_alike(credentials: dict[str, Credentials]) -> None:  # noqa: F811
    """Whoever sees it says so, and none of the others takes it for a party that was lost; a reset is a loss."""
    changed = disturbed(credentials, Proxy.flip)
    assert {name: error.exit_code for name, error in changed.items()} == dict.fromkeys(PARTIES, 4), changed
    assert all("what comes from bob was changed on its way" in str(error) for error in changed.values())
    reset = disturbed(credentials, Proxy.reset)
    assert {name: error.exit_code for name, error in reset.items()} == dict.fromkeys(PARTIES, 5), reset


def slow_to_tell(alice: Network) -> None:
    """Alice takes her time between seeing what is wrong with a line and telling the others."""
    refuse = alice._detector.refuse

    def late(link: Link, message: str) -> SecureFairError:
        time.sleep(2.0)
        return refuse(link, message)

    alice._detector.refuse = late  # type: ignore[method-assign]


def test_who_sees_a_changed_byte_is_heard_before_it_is_given_up(credentials: dict[str, Credentials]) -> None:  # noqa: F811
    """The others see no more than that a connection has ended; whoever reads it lives, and knows why."""
    changed = disturbed(credentials, Proxy.flip, slow_to_tell)
    assert {name: error.exit_code for name, error in changed.items()} == dict.fromkeys(PARTIES, 4), changed
    assert all("what comes from bob was changed on its way" in str(error) for error in changed.values())


def says_nothing(alice: Network) -> None:
    """Alice, whose connection to Bob has ended, lives on, is heard, and blames him only much later."""
    suspect = alice._detector.suspect

    def late(link: Link, reason: str) -> None:
        time.sleep(4.0)
        suspect(link, reason)

    alice._detector.suspect = late  # type: ignore[method-assign]


def test_who_does_not_say_why_its_connection_has_ended_is_given_up_itself(
    credentials: dict[str, Credentials],  # noqa: F811
) -> None:
    """Within half of the silence that is borne; what it says of another then comes too late for anybody."""
    ended = disturbed(credentials, Proxy.reset, says_nothing, timeout=2.0)
    assert [(ended[name].party, ended[name].exit_code) for name in ("bob", "carol")] == [("alice", 5)] * 2, ended
    assert "says: its connection has ended" in str(ended["carol"])


def test_a_line_that_comes_back_and_brings_nothing_is_given_up(credentials: dict[str, Credentials]) -> None:  # noqa: F811
    """Whoever changes every record that passes has a connection made again and again, and not for ever."""
    with pair(credentials, reconnect=2.0) as two:
        two.to_bob.garble(60)
        began = time.monotonic()
        outcomes = both(two, 50)
        assert time.monotonic() - began < 10
    assert all(isinstance(outcome, SecureFairError) for outcome in outcomes), outcomes


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


class Reading:
    """The stream of a peer that reads on."""

    def is_active(self) -> bool:
        return True

    def cancel(self) -> None: ...


@pytest.mark.parametrize("acknowledges", [True, False])
def test_a_peer_that_acknowledges_nothing_does_not_have_everything_kept(
    monkeypatch: pytest.MonkeyPatch, acknowledges: bool
) -> None:
    """One that does is waited for; without the bound, which a stream that is read never met, all would be kept."""
    monkeypatch.setattr("secure_fair.mpc.link.ROOM_SECONDS", 0.2)
    link = Link("peer", LinkSettings(reconnect=10.0))
    link.window = window = Window(most=4096)
    delivered: list[bytes] = []

    def deliver(frame: bytes) -> None:
        delivered.append(frame)
        if acknowledges and len(delivered) % 3 == 0:
            threading.Timer(0.01, window.acknowledge, [len(delivered) - 2]).start()

    link.open_outgoing(Reading(), deliver, b"hello")  # type: ignore[arg-type]
    link.begin(b"s" * 16)

    def send_much() -> None:
        for _ in range(30):
            link.send("control", (bytes(1000),), lambda: False)

    if acknowledges:
        send_much()
    else:
        with pytest.raises(LinkDown):
            send_much()
    assert sum(map(len, window.after(window._first))) < 4096 + 3 * 1100
