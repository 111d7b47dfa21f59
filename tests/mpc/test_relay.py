"""A relay: parties that only dial out reach each other; it learns nothing, changes nothing, and serves no stranger."""

from __future__ import annotations

import contextlib
import os
import socket
import threading
import time
from collections.abc import Iterator, Mapping
from pathlib import Path

import pytest

from secure_fair.errors import PartyLost, ProtocolError, RunRefused, SecureFairError, UsageError
from secure_fair.mpc import relay as relays
from secure_fair.mpc.relay import Relay
from secure_fair.mpc.tls import fingerprint
from secure_fair.mpc.transport import Credentials, Network
from secure_fair.mpc.tunnel import Tunnel
from secure_fair.parties import identity
from tests.mpc.test_transport import together
from tests.relays import TOKEN, Misleading, Watching, running

NAMES = ("alice", "bob", "carol")
SECRET = b"ZQ" + os.urandom(16).hex().encode()


@pytest.fixture(scope="module")
def credentials(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Credentials]:
    folder = tmp_path_factory.mktemp("identities")
    identity.create_authority(folder)
    return {name: identity.load(identity.issue_for_simulation(folder, name)) for name in NAMES}


@contextlib.contextmanager
def relayed(
    address: str, credentials: Mapping[str, Credentials], *names: str, timeout: float = 10.0
) -> Iterator[tuple[list[Network], list[SecureFairError | None]]]:
    """Networks of these parties, which know nothing but the relay, and how each has connected."""
    agreed = {name: fingerprint(one.certificate) for name, one in credentials.items()}
    with contextlib.ExitStack() as stack:
        networks = [Network(credentials[name], timeout=timeout) for name in names]
        peers = []
        for network in networks:
            stack.callback(network.close)
            others = set(names) - {network.name}
            peers.append(stack.enter_context(Tunnel(address, TOKEN, network.name, network.address, others)).addresses)
        ended = together(*(lambda n=n, p=p: n.connect(p, {}, agreed) for n, p in zip(networks, peers, strict=True)))
        yield networks, ended
        together(*(network.close for network in networks))


def test_parties_that_know_only_the_relay_exchange_messages(credentials: dict[str, Credentials]) -> None:
    """What passes is sealed: the relay has kept all of it, and the secret is not in there."""
    payload = SECRET + os.urandom(3_000_000)
    watching = Watching()
    with running(watching) as address, relayed(address, credentials, *NAMES) as (networks, ended):
        assert ended == [None] * 3
        alice, bob, carol = networks
        alice.send("bob", "c", payload)
        assert bob.receive("alice", "c", limit=len(payload)) == payload
        for one, other in ((bob, "carol"), (carol, "alice")):
            one.send(other, "c", SECRET)
        assert carol.receive("bob", "c", limit=100) == alice.receive("carol", "c", limit=100) == SECRET
    kept = b"".join(watching.seen)
    assert len(kept) > len(payload)
    assert SECRET not in kept
    assert all(stream[:2] == b"\x16\x03" for stream in watching.seen if stream)  # a TLS handshake


def test_a_changed_byte_never_reaches_a_message(credentials: dict[str, Credentials]) -> None:
    watching = Watching(flip=400_000)
    payload = bytes(300_000)
    with running(watching) as address, relayed(address, credentials, "alice", "bob", timeout=5) as (networks, ended):
        assert ended == [None, None]
        alice, bob = networks

        def talk() -> bytes:
            alice.send("bob", "c", payload)
            return bob.receive("alice", "c", limit=len(payload))

        with contextlib.suppress(PartyLost, ProtocolError, RunRefused):  # the run ends by it, or the line is made anew
            assert {talk() for _ in range(50)} == {payload}
    assert watching.flipped


def test_without_tls_a_relay_reads_and_changes_at_will() -> None:
    """The twin: what the two send is not sealed, and arrives changed."""
    watching = Watching(flip=0)
    with socket.create_server(("127.0.0.1", 0)) as server, running(watching) as address:
        local = f"127.0.0.1:{server.getsockname()[1]}"
        with Tunnel(address, TOKEN, "bob", local, []), Tunnel(address, TOKEN, "alice", local, ["bob"]) as alice:
            host, _, port = alice.addresses["bob"].rpartition(":")
            with socket.create_connection((host, int(port)), 5) as caller:
                called, _ = server.accept()
                with called:
                    caller.sendall(SECRET)
                    arrived = called.recv(100)
    assert SECRET in b"".join(watching.seen)
    assert arrived != SECRET
    assert len(arrived) == len(SECRET)


def test_a_relay_that_joins_the_wrong_parties_is_found_out(credentials: dict[str, Credentials]) -> None:
    misleading = Misleading(TOKEN, {"bob": "carol"})
    with running(misleading) as address, relayed(address, credentials, *NAMES, timeout=5) as (_, ended):
        found = next(one for one in ended if isinstance(one, ProtocolError))
        assert "bob shows another certificate than the agreed one" in str(found)
        assert all(isinstance(one, SecureFairError) for one in ended)


# --- strangers --------------------------------------------------------------------------------------------------------


def knock(address: str, line: bytes | None = None) -> list[bytes]:
    """What a stranger is told: the number, and what comes after its line."""
    host, _, port = address.rpartition(":")
    with socket.create_connection((host, int(port)), 5) as opened:
        number = opened.recv(100)
        if line is None or not number:
            return [number]
        opened.sendall(line)
        return [number, opened.recv(100)]


@pytest.mark.parametrize(
    ("line", "told"),
    [
        (b"secure-fair-relay-1 park alice " + b"0" * 64 + b"\n", b"another token than this relay's\n"),
        (b"secure-fair-relay-1 listen alice " + b"0" * 64 + b"\n", b"not an opening"),
        (b"secure-fair-relay-1 park Alice! " + b"0" * 64 + b"\n", b"not an opening"),
        (b"GET / HTTP/1.1\n", b"not an opening"),
        (b"x" * 1000 + b"\n", b"not an opening"),
    ],
)
def test_who_has_not_the_token_gets_nowhere(line: bytes, told: bytes) -> None:
    with running(Relay(TOKEN)) as address:
        number, answer = knock(address, line)
    assert len(number) == 33
    assert answer.startswith(told)


def test_an_answer_is_good_for_one_connection(monkeypatch: pytest.MonkeyPatch) -> None:
    """Whoever overhears one does not get in by it; if the relay said the same number twice it would."""
    for fresh in (True, False):
        with monkeypatch.context() as patched, running(Relay(TOKEN)) as address:
            if not fresh:
                patched.setattr(relays.secrets, "token_hex", lambda size: "0" * 32)
            (number,) = knock(address)
            overheard = relays.proof(TOKEN, number.decode().strip(), "park", "alice")
            _, answer = knock(address, f"{relays.VERSION} park alice {overheard}\n".encode())
            assert (answer == relays.OK) is not fresh


def test_strangers_that_hang_on_are_few_and_are_dropped(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(relays, "HELLO_SECONDS", 0.5)
    with running(Relay(TOKEN)) as address, contextlib.ExitStack() as stack:
        host, _, port = address.rpartition(":")
        opened = [
            stack.enter_context(socket.create_connection((host, int(port)), 5))
            for _ in range(relays.MOST_STRANGERS_OF_ONE)
        ]
        assert all(len(one.recv(100)) == 33 for one in opened)
        assert knock(address) == [b""]  # one more is not even given a number
        assert opened[-1].recv(100) == b""  # the time is over
        with Tunnel(address, TOKEN, "alice", "127.0.0.1:1", []):
            pass


def dialled(address: str, name: str) -> tuple[socket.socket, bytes]:
    """A call that says nothing after its opening, and what it was told."""
    host, _, port = address.rpartition(":")
    opened = socket.create_connection((host, int(port)), 5)
    number = opened.recv(100).decode().strip()
    opened.sendall(f"{relays.VERSION} dial {name} {relays.proof(TOKEN, number, 'dial', name)}\n".encode())
    said = b""
    while said.count(b"\n") < 2 and (data := opened.recv(100)):
        said += data
    return opened, said


def test_silent_calls_do_not_stay(monkeypatch: pytest.MonkeyPatch) -> None:
    """The party's server closes a call that says nothing; then both ends of the way are given up, soon."""
    monkeypatch.setattr(relays, "LAST_SECONDS", 0.2)
    relay = Relay(TOKEN)
    with running(relay) as address, socket.create_server(("127.0.0.1", 0)) as server, contextlib.ExitStack() as stack:
        own = f"127.0.0.1:{server.getsockname()[1]}"
        with Tunnel(address, TOKEN, "alice", own, []) as tunnel:
            for _ in range(8):
                call, said = dialled(address, "alice")
                stack.enter_context(call)
                assert said.endswith(relays.GO)
                server.accept()[0].close()
            deadline = time.monotonic() + 10
            while (tunnel._carried or relay._calls.total()) and time.monotonic() < deadline:
                time.sleep(0.05)
            assert (len(tunnel._carried), relay._calls.total()) == (0, 0)
            assert list(relay._names) == ["alice"]


def test_a_token_or_a_relay_that_is_not_there_is_said_at_once() -> None:
    other = pytest.raises(UsageError, match="refuses this party: another token than this relay's")
    with running(Relay(TOKEN)) as address, other:
        Tunnel(address, bytes(32), "alice", "127.0.0.1:1", []).__enter__()
    with pytest.raises(PartyLost, match=r"lost the relay: not reached at .*Connect call failed"):
        Tunnel(address, TOKEN, "alice", "127.0.0.1:1", []).__enter__()
    with socket.create_server(("127.0.0.1", 0)) as other:  # somebody else, who hangs up
        threading.Thread(target=lambda: other.accept()[0].close(), daemon=True).start()
        with pytest.raises(PartyLost, match="it does not answer as a relay does"):
            Tunnel(f"127.0.0.1:{other.getsockname()[1]}", TOKEN, "alice", "127.0.0.1:1", []).__enter__()


def test_a_call_for_nobody_ends(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(relays, "DIAL_SECONDS", 0.2)
    with running(Relay(TOKEN)) as address, Tunnel(address, TOKEN, "alice", "127.0.0.1:1", ["bob"]) as alice:
        host, _, port = alice.addresses["bob"].rpartition(":")
        with socket.create_connection((host, int(port)), 5) as caller:
            assert caller.recv(1) == b""


def test_the_token_s_file(tmp_path: Path) -> None:
    from secure_fair.scenarios.relay import read_token

    token = read_token(tmp_path / "token", new=True)
    assert len(token) == 32
    assert read_token(tmp_path / "token") == token
    assert (tmp_path / "token").stat().st_mode & 0o777 == 0o600
    (tmp_path / "token").write_text("short")
    with pytest.raises(UsageError, match="is no relay's token"):
        read_token(tmp_path / "token")
    with pytest.raises(UsageError, match="neither read nor written"):
        read_token(tmp_path / "missing")
