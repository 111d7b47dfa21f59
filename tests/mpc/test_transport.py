"""The network between parties: what arrives, who may connect, which frames are refused, and whose loss is reported."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import socket
import ssl
import subprocess
import sys
import threading
import time
import tracemalloc
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from secure_fair.errors import PartyLost, ProtocolError, SecureFairError, UsageError
from secure_fair.mpc import frames, tls, transport
from secure_fair.mpc.addresses import held_addresses
from secure_fair.mpc.frames import Frame, FrameReader, FrameWriter, Hello, Kind, session_id
from secure_fair.mpc.link import Link, Pacer
from secure_fair.mpc.tls import grpc  # set up before it is loaded
from secure_fair.mpc.transport import Credentials, LinkSettings, Network
from secure_fair.parties import identity

PARTIES = ("alice", "bob", "carol")
LIMIT = 1 << 26
OPEN = "/secure_fair.Link/Open"


@pytest.fixture(scope="module")
def identities(tmp_path_factory: pytest.TempPathFactory) -> Path:
    directory = tmp_path_factory.mktemp("identities")
    identity.create_authority(directory)
    for name in PARTIES:
        identity.issue_for_simulation(directory, name)
    return directory


@pytest.fixture(scope="module")
def credentials(identities: Path) -> dict[str, Credentials]:
    return {name: identity.load(identities / name) for name in PARTIES}


@contextlib.contextmanager
def mesh(credentials: Mapping[str, Credentials], *names: str, **settings: Any) -> Iterator[list[Network]]:
    """Connected networks of the parties ``names``, in this process."""
    networks = [Network(credentials[name], **{"timeout": 10.0, **settings}) for name in names]
    try:
        outcomes = together(*(lambda n=n: n.connect(addresses(networks, n), {"scenario": "s"}) for n in networks))
        assert outcomes == [None] * len(networks)
        yield networks
    finally:
        together(*(network.close for network in networks))


def addresses(networks: list[Network], of: Network) -> dict[str, str]:
    return {network.name: network.address for network in networks if network is not of}


def together(*functions: Callable[[], Any]) -> list[Any]:
    """Runs all functions at once; their results, or what they raised."""

    def outcome(function: Callable[[], Any]) -> Any:
        try:
            return function()
        except SecureFairError as error:
            return error

    with ThreadPoolExecutor(len(functions)) as pool:
        return list(pool.map(outcome, functions))


# messages


def test_messages_arrive_whole_and_in_order_on_every_channel(credentials: dict[str, Credentials]) -> None:
    with mesh(credentials, *PARTIES) as networks:

        def talk(network: Network) -> None:
            peers = addresses(networks, network)
            for size in (0, 1, 1000, frames.CHUNK, frames.CHUNK + 1, 5 * frames.CHUNK + 17):
                for peer in peers:
                    network.send(peer, network.name[-1:], bytes([size % 251]) * size)
            for size in (0, 1, 1000, frames.CHUNK, frames.CHUNK + 1, 5 * frames.CHUNK + 17):
                for peer in peers:
                    assert network.receive(peer, peer[-1:], limit=LIMIT) == bytes([size % 251]) * size

        assert together(*(lambda n=n: talk(n) for n in networks)) == [None] * 3


def test_parts_are_any_contiguous_buffers_and_arrive_as_one_message(credentials: dict[str, Credentials]) -> None:
    ring = np.arange(200_000, dtype=np.int64).reshape(400, 500)
    with mesh(credentials, "alice", "bob") as (alice, bob):
        alice.send("bob", "tensors", b"head", ring, bytearray(b"tail"), np.zeros((0, 3)))
        assert bob.receive("alice", "tensors", limit=LIMIT) == b"head" + ring.tobytes() + b"tail"
        with pytest.raises(TypeError, match="C-contiguous"):
            alice.send("bob", "tensors", ring.T)


def test_channels_do_not_wait_for_each_other(credentials: dict[str, Credentials]) -> None:
    with mesh(credentials, "alice", "bob") as (alice, bob):
        alice.send("bob", "first", b"1")
        alice.send("bob", "second", b"2")
        assert bob.receive("alice", "second", limit=1) == b"2"
        assert bob.receive("alice", "first", limit=1) == b"1"


def test_threads_on_many_channels_all_get_their_messages(
    credentials: dict[str, Credentials], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Receivers read for each other and hand over; a mistake there is a wait for the next heartbeat, or for ever."""
    monkeypatch.setattr(transport, "HEARTBEAT_SECONDS", 6.0)  # else a slow machine could not be told from a mistake
    channels, rounds = [f"channel-{number}" for number in range(6)], 300
    with mesh(credentials, "alice", "bob", timeout=60) as (alice, bob):

        def ask(channel: str) -> float:
            longest = 0.0
            for number in range(rounds):
                start = time.monotonic()
                alice.send("bob", channel, number.to_bytes(4, "big"))
                assert alice.receive("bob", channel, limit=4) == number.to_bytes(4, "big")
                longest = max(longest, time.monotonic() - start)
            return longest

        def answer(channel: str) -> None:
            for _ in range(rounds):
                bob.send("alice", channel, bob.receive("alice", channel, limit=4))

        longest = together(*(lambda c=c: ask(c) for c in channels), *(lambda c=c: answer(c) for c in channels))[:6]
    assert max(longest) < 4


def test_bursts_with_pauses_between_them_arrive_at_once(
    credentials: dict[str, Credentials], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Around the time after which the reader thread takes over from the receiver, and the other way round."""
    monkeypatch.setattr(transport, "HEARTBEAT_SECONDS", 6.0)  # what would wake who was forgotten
    with mesh(credentials, "alice", "bob", timeout=60) as (alice, bob):

        def answer() -> None:
            for _ in range(30):
                bob.send("alice", "c", bob.receive("alice", "c", limit=4))

        def ask() -> float:
            longest = 0.0
            for number in range(30):
                time.sleep(0.01 * (number % 10))
                start = time.monotonic()
                alice.send("bob", "c", b"ping")
                alice.receive("bob", "c", limit=4)
                longest = max(longest, time.monotonic() - start)
            return longest

        assert together(ask, answer)[0] < 4


def test_traffic_counts_every_message_and_its_frames_at_both_ends(credentials: dict[str, Credentials]) -> None:
    with mesh(credentials, "alice", "bob") as (alice, bob):
        payload = bytes(3 * frames.CHUNK)
        alice.send("bob", "data", payload)
        alice.send("bob", "data", b"")
        unread = bob.traffic()
        bob.receive("alice", "data", limit=LIMIT)
        bob.receive("alice", "data", limit=LIMIT)
        sent, received = alice.traffic()["bob", "data"], bob.traffic()["alice", "data"]
        assert not unread or unread["alice", "data"].messages_received == 0  # counted when it is read
        assert (sent.messages_sent, sent.messages_received) == (2, 0)
        assert (received.messages_sent, received.messages_received) == (0, 2)
        assert sent.bytes_sent == received.bytes_received
        assert len(payload) < sent.bytes_sent < len(payload) + 500


def test_everything_sent_before_close_arrives_and_a_clean_close_is_no_loss(credentials: dict[str, Credentials]) -> None:
    payload = os.urandom(6 * frames.CHUNK)
    with mesh(credentials, *PARTIES) as (alice, bob, carol):
        carol.send("alice", "last-words", payload)
        carol.close()
        time.sleep(1.0)
        alice.send("bob", "data", b"still here")  # two are left, and go on
        assert bob.receive("alice", "data", limit=LIMIT) == b"still here"
        assert alice.receive("carol", "last-words", limit=LIMIT) == payload
        with pytest.raises(PartyLost, match="carol: it has left") as lost:
            alice.receive("carol", "last-words", limit=LIMIT)
        assert lost.value.party == "carol"


def test_use_after_close_and_unknown_peers_are_errors(credentials: dict[str, Credentials]) -> None:
    with mesh(credentials, "alice", "bob") as (alice, _):
        with pytest.raises(UsageError, match="'dave' is not connected; connected peers"):
            alice.send("dave", "data", b"")
        with pytest.raises(UsageError, match="channel name"):
            alice.send("bob", "two words", b"")
        with pytest.raises(UsageError, match="channel name"):
            alice.receive("bob", "", limit=1)
        alice.close()
        with pytest.raises(ProtocolError, match="closed"):
            alice.receive("bob", "data", limit=1)
        with pytest.raises(ProtocolError, match="closed"):
            alice.send("bob", "data", b"")
        alice.close()  # twice is once
    Network(credentials["alice"]).close()  # never connected


# the simulated link


def test_latency_is_added_to_every_message_one_way(credentials: dict[str, Credentials]) -> None:
    with mesh(credentials, "alice", "bob", link=LinkSettings(latency_ms=40)) as (alice, bob):

        def answer() -> None:
            for _ in range(3):
                bob.send("alice", "c", bob.receive("alice", "c", limit=10))

        def ask() -> float:
            start = time.monotonic()
            for _ in range(3):
                alice.send("bob", "c", b"x")
                alice.receive("bob", "c", limit=10)
            return time.monotonic() - start

        taken = [together(answer, ask)[1] for _ in range(5)]  # a busy machine is late at times
        assert 3 * 0.080 <= min(taken) < 3 * 0.080 + 0.2  # and 3 * 0.160 were the delay added twice


def test_bandwidth_holds_per_direction_and_only_there(credentials: dict[str, Credentials]) -> None:
    size = 2_500_000  # 20 Mbit: 0.25 s at 80 Mbit/s
    with mesh(credentials, "alice", "bob", link=LinkSettings(bandwidth_mbps=80)) as (alice, bob):

        def exchange(network: Network, peer: str) -> float:
            start = time.monotonic()
            network.send(peer, "c", bytes(size))
            network.send(peer, "c", bytes(size))
            network.receive(peer, "c", limit=size)
            network.receive(peer, "c", limit=size)
            return time.monotonic() - start

        taken = [max(together(lambda: exchange(alice, "bob"), lambda: exchange(bob, "alice"))) for _ in range(3)]
        assert 0.5 <= min(taken) < 0.5 + 0.4  # a busy machine is slower at times


def test_pacer_lets_messages_queue_up_behind_each_other() -> None:
    pacer = Pacer(LinkSettings(latency_ms=10, bandwidth_mbps=8))  # 1 byte per microsecond
    assert pacer.due(100.0, 1000) == pytest.approx(100.011)
    assert pacer.due(100.0, 1000) == pytest.approx(100.012)
    assert pacer.due(200.0, 1000) == pytest.approx(200.011)
    assert Pacer(LinkSettings()).due(5.0, 10**9) == 5.0


# agreement and connecting


@pytest.mark.parametrize(
    ("ours", "theirs", "named"),
    [
        ({"scenario": "1", "version": "0.1"}, {"scenario": "2", "version": "0.1"}, ["scenario", "'1'", "'2'"]),
        ({"scenario": "1"}, {"scenario": "1", "precision": "16"}, ["precision", "no value", "'16'"]),
    ],
)
def test_parties_that_disagree_stop_and_name_the_key_and_both_values(
    credentials: dict[str, Credentials], ours: dict[str, str], theirs: dict[str, str], named: list[str]
) -> None:
    alice, bob, carol = networks = [Network(credentials[name], timeout=10) for name in PARTIES]
    outcomes = together(
        lambda: alice.connect(addresses(networks, alice), ours),
        lambda: bob.connect(addresses(networks, bob), ours),
        lambda: carol.connect(addresses(networks, carol), theirs),
    )
    assert all(isinstance(outcome, ProtocolError | PartyLost) for outcome in outcomes)
    disagreements = [str(outcome) for outcome in outcomes if isinstance(outcome, ProtocolError)]
    assert disagreements
    for text in [str(outcome) for outcome in outcomes]:
        assert all(part in text for part in named), text


def test_a_party_that_does_not_come_is_named_within_the_timeout(credentials: dict[str, Credentials]) -> None:
    alice, bob = networks = [Network(credentials[name], timeout=3.0) for name in ("alice", "bob")]
    with held_addresses(1) as (nobody,):
        absent = {"carol": nobody}
        start = time.monotonic()
        outcomes = together(
            lambda: alice.connect(addresses(networks, alice) | absent, {}),
            lambda: bob.connect(addresses(networks, bob) | absent, {}),
        )
    assert time.monotonic() - start < 10
    for outcome in outcomes:
        assert isinstance(outcome, PartyLost)
        assert outcome.party == "carol"
        assert "not connected within 3 s" in str(outcome)


def test_a_late_party_is_waited_for(credentials: dict[str, Credentials]) -> None:
    alice, bob = networks = [Network(credentials[name], timeout=10) for name in ("alice", "bob")]

    def late() -> None:
        time.sleep(2)
        bob.connect(addresses(networks, bob), {})

    assert together(lambda: alice.connect(addresses(networks, alice), {}), late) == [None, None]
    together(alice.close, bob.close)


@pytest.mark.parametrize("port", ["99999", "65536", "-1", "https", ""])
def test_a_port_that_cannot_be_is_refused(credentials: Mapping[str, Credentials], port: str) -> None:
    """gRPC would take 99999 for 34463, where nobody looks for this party."""
    with pytest.raises(UsageError, match="cannot listen at"):
        Network(credentials["alice"], f"127.0.0.1:{port}")


def test_an_address_that_cannot_be_used_is_a_usage_error(credentials: dict[str, Credentials]) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken, pytest.raises(UsageError, match="cannot listen at"):
        Network(credentials["alice"], f"127.0.0.1:{taken.getsockname()[1]}")


# who may connect


def craft(
    identities: Path, name: str, *, alternative: str | None = None, start_days: float = -1, end_days: float = 1
) -> Credentials:
    """Credentials of the right authority that ``identity.issue_for_simulation`` would not make."""
    authority = x509.load_pem_x509_certificate((identities / "authority" / "certificate.pem").read_bytes())
    authority_key = serialization.load_pem_private_key((identities / "authority" / "key.pem").read_bytes(), None)
    assert isinstance(authority_key, ec.EllipticCurvePrivateKey)
    key = ec.generate_private_key(ec.SECP256R1())
    now = datetime.now(UTC)
    certificate = (
        x509.CertificateBuilder()
        .subject_name(x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)]))
        .issuer_name(authority.subject)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now + timedelta(days=start_days))
        .not_valid_after(now + timedelta(days=end_days))
        .add_extension(x509.SubjectAlternativeName([x509.DNSName(alternative or name)]), critical=False)
        .sign(authority_key, hashes.SHA256())
    )
    return Credentials(
        name,
        certificate.public_bytes(serialization.Encoding.PEM),
        key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()),
        authority.public_bytes(serialization.Encoding.PEM),
    )


def meet(alice: Credentials, other: Credentials, called: str = "bob", agreed: Credentials | None = None) -> list[Any]:
    """What comes of alice and somebody who poses as ``called`` connecting, if she has ``agreed`` on a certificate.

    Whom she refuses tries on for another second, and is not let in.
    """
    fingerprints = None if agreed is None else {called: tls.fingerprint(agreed.certificate)}
    networks = [Network(one, timeout=30.0) for one in (alice, other)]

    def ours() -> None:
        try:
            networks[0].connect({called: networks[1].address}, {}, fingerprints)
        except SecureFairError:
            time.sleep(1.0)
            networks[1].close()
            raise

    outcomes = together(ours, lambda: networks[1].connect({alice.name: networks[0].address}, {}))
    together(*(network.close for network in networks))
    return outcomes


def test_certificates_made_by_hand_connect_when_nothing_is_wrong_with_them(
    identities: Path, credentials: dict[str, Credentials]
) -> None:
    assert meet(credentials["alice"], craft(identities, "bob")) == [None, None]


def test_wrong_certificates_are_refused(identities: Path, tmp_path: Path, credentials: dict[str, Credentials]) -> None:
    alice = credentials["alice"]
    identity.create_authority(tmp_path)
    stranger = identity.load(identity.issue_for_simulation(tmp_path, "bob"))
    cases = {
        "certificate has expired": craft(identities, "bob", end_days=-0.5),
        "certificate is not yet valid": craft(identities, "bob", start_days=0.5),
        "Hostname Verification": craft(identities, "bob", alternative="carol"),
        "Hostname Verification Check": credentials["carol"],
        "unable to get local issuer": stranger,
        # one who trusts the right authority, and only shows a certificate of the wrong one
        "unable to get local": replace(stranger, authority=alice.authority),
    }
    outcomes = together(*(lambda other=other: meet(alice, other) for other in cases.values()))
    for reason, (ours, theirs) in zip(cases, outcomes, strict=True):
        assert isinstance(ours, ProtocolError), ours
        assert "does not prove to be bob" in str(ours)
        assert reason in str(ours)
        assert isinstance(theirs, SecureFairError)


def test_only_the_agreed_certificate_is_accepted(
    identities: Path, credentials: dict[str, Credentials], monkeypatch: pytest.MonkeyPatch
) -> None:
    alice, bob, impostor = credentials["alice"], credentials["bob"], craft(identities, "bob")
    assert meet(alice, impostor) == [None, None]  # without agreement: the authority has signed it
    assert meet(alice, bob, agreed=bob) == [None, None]
    refused, _ = meet(alice, impostor, agreed=bob)
    assert isinstance(refused, ProtocolError)
    for one in (bob, impostor):
        assert tls.fingerprint(one.certificate) in str(refused)
    # who shows the agreed certificate, as anybody can who has seen it, and then answers without its key
    monkeypatch.setattr(transport, "shown_certificate", lambda address, timeout: bob.certificate)
    refused, _ = meet(alice, impostor, agreed=bob)
    assert isinstance(refused, ProtocolError)
    assert "does not prove to be bob" in str(refused)


def test_an_agreed_certificate_that_has_expired_is_refused(
    identities: Path, credentials: dict[str, Credentials]
) -> None:
    expired = craft(identities, "bob", end_days=-0.5)
    refused, _ = meet(credentials["alice"], expired, agreed=expired)
    assert isinstance(refused, ProtocolError)
    assert "certificate has expired" in str(refused)


def test_every_peer_has_a_fingerprint_or_none_has(credentials: dict[str, Credentials]) -> None:
    alice = Network(credentials["alice"])
    with pytest.raises(UsageError, match="no fingerprint for 'bob'"):
        alice.connect({"bob": "127.0.0.1:1"}, {}, {})
    alice.close()


def call(address: str, channel_credentials: grpc.ChannelCredentials, request: bytes) -> bytes:
    """What the server that poses as alice answers first to a client made by hand."""
    options = [("grpc.ssl_target_name_override", "alice")]
    with grpc.secure_channel(address, channel_credentials, options=options) as channel:
        answer: bytes = next(channel.unary_stream(OPEN)(request, timeout=5))
        return answer


def test_a_client_without_certificate_reaches_nothing(credentials: dict[str, Credentials]) -> None:
    hello = Hello("bob", "alice", bytes(32), {}).encode()
    anonymous = grpc.ssl_channel_credentials(credentials["alice"].authority)
    with waiting_alice(credentials) as (alice, _), pytest.raises(grpc.RpcError) as refused:
        call(alice.address, anonymous, hello)
    assert refused.value.code() == grpc.StatusCode.UNAVAILABLE
    # the plain twin: a server that does not demand a certificate serves the same client
    twin = grpc.server(ThreadPoolExecutor(1), handlers=[echo_handler()])
    pair = (credentials["alice"].key, credentials["alice"].certificate)
    port = twin.add_secure_port("127.0.0.1:0", grpc.ssl_server_credentials([pair]))
    twin.start()
    assert call(f"127.0.0.1:{port}", anonymous, hello) == hello
    twin.stop(0).wait()


def echo_handler() -> grpc.GenericRpcHandler:
    handler = grpc.unary_stream_rpc_method_handler(lambda request, context: iter([request]))
    return grpc.method_handlers_generic_handler("secure_fair.Link", {"Open": handler})


@contextlib.contextmanager
def waiting_alice(
    credentials: dict[str, Credentials], fingerprints: dict[str, str] | None = None
) -> Iterator[tuple[Network, list[Any]]]:
    """alice, waiting for bob to connect from a port that the test knows; what comes of it is put into the list."""
    alice = Network(credentials["alice"], timeout=3.0)
    outcome: list[Any] = []
    with held_addresses(1) as (bob,):
        thread = threading.Thread(
            target=lambda: outcome.append(together(lambda: alice.connect({"bob": bob}, {}, fingerprints))[0])
        )
        thread.start()
        try:
            yield alice, outcome
        finally:
            alice.close()
            thread.join()


def test_a_caller_with_another_certificate_than_the_agreed_one_is_turned_away(
    identities: Path, credentials: dict[str, Credentials]
) -> None:
    hello = Hello("bob", "alice", bytes(32), {}).encode()
    impostor = tls.channel_credentials(craft(identities, "bob"))
    agreed = {"bob": tls.fingerprint(credentials["bob"].certificate)}
    with waiting_alice(credentials) as (alice, _):  # the unprotected twin
        assert Hello.decode(call(alice.address, impostor, hello)).sender == "alice"
    with waiting_alice(credentials, agreed) as (alice, _):
        with pytest.raises(grpc.RpcError) as refused:
            call(alice.address, impostor, hello)
        assert refused.value.code() == grpc.StatusCode.PERMISSION_DENIED
        assert agreed["bob"] in refused.value.details()
        answer = call(alice.address, tls.channel_credentials(credentials["bob"]), hello)  # she goes on waiting for bob
        assert Hello.decode(answer).sender == "alice"


@pytest.mark.parametrize(
    ("shown", "sender", "receiver", "reason"),
    [
        ("carol", "bob", "alice", "the certificate is carol's, the hello claims to be bob's"),
        ("carol", "carol", "alice", "carol is not a party of this session"),
        ("bob", "bob", "dave", "dave was called; this is alice"),
    ],
)
def test_a_client_that_is_not_who_it_claims_is_turned_away(
    credentials: dict[str, Credentials], shown: str, sender: str, receiver: str, reason: str
) -> None:
    hello = Hello(sender, receiver, bytes(32), {}).encode()
    with waiting_alice(credentials) as (alice, _), pytest.raises(grpc.RpcError) as refused:
        call(alice.address, tls.channel_credentials(credentials[shown]), hello)
    assert refused.value.code() == grpc.StatusCode.PERMISSION_DENIED
    assert refused.value.details() == reason
    with waiting_alice(credentials) as (alice, _):  # the honest twin of the call
        answer = call(
            alice.address, tls.channel_credentials(credentials["bob"]), Hello("bob", "alice", bytes(32), {}).encode()
        )
    assert Hello.decode(answer).sender == "alice"


# TLS 1.3 and nothing else


def tls_context(credentials: Credentials, folder: Path, version: ssl.TLSVersion, *, server: bool) -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER if server else ssl.PROTOCOL_TLS_CLIENT)
    context.load_verify_locations(cadata=credentials.authority.decode())
    context.verify_mode = ssl.CERT_REQUIRED
    context.load_cert_chain(folder / "certificate.pem", folder / "key.pem")
    context.minimum_version = context.maximum_version = version
    context.set_alpn_protocols(["h2"])
    return context


def handshake(context: ssl.SSLContext, address: str) -> str | None:
    """The version that a client of Python's own TLS agrees on with the server, None where it is refused."""
    host, _, port = address.rpartition(":")
    try:
        with (
            socket.create_connection((host, int(port)), 5) as plain,
            context.wrap_socket(plain, server_hostname="alice") as encrypted,
        ):
            return encrypted.version()
    except (ssl.SSLError, ConnectionError):
        return None


def test_the_server_refuses_tls_1_2_from_a_client_with_a_good_certificate(
    identities: Path, credentials: dict[str, Credentials]
) -> None:
    def version_of(version: ssl.TLSVersion, address: str) -> str | None:
        return handshake(tls_context(credentials["bob"], identities / "bob", version, server=False), address)

    with waiting_alice(credentials) as (alice, _):
        assert version_of(ssl.TLSVersion.TLSv1_3, alice.address) == "TLSv1.3"
        assert version_of(ssl.TLSVersion.TLSv1_2, alice.address) is None
        tls.check_version(alice.address, 5.0)
    # the twin without the setting accepts the same client
    with plain_grpc_server(identities / "alice") as address:
        assert version_of(ssl.TLSVersion.TLSv1_2, address) == "TLSv1.2"
        with pytest.raises(ProtocolError, match=r"accepts TLS 1\.2"):
            tls.check_version(address, 5.0)


@contextlib.contextmanager
def plain_grpc_server(folder: Path) -> Iterator[str]:
    """gRPC as it comes, in a process of its own."""
    program = """
import sys, pathlib, concurrent.futures, grpc
folder = pathlib.Path(sys.argv[1])
certificate, key, authority = ((folder / f"{name}.pem").read_bytes() for name in ("certificate", "key", "authority"))
server = grpc.server(concurrent.futures.ThreadPoolExecutor(1))
port = server.add_secure_port("127.0.0.1:0", grpc.ssl_server_credentials([(key, certificate)], authority, True))
server.start()
print(port, flush=True)
sys.stdin.read()
"""
    environment = {name: value for name, value in os.environ.items() if name != "GRPC_SSL_CIPHER_SUITES"}
    command = [sys.executable, "-c", program, str(folder)]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, env=environment) as server:
        assert server.stdout is not None
        yield f"127.0.0.1:{int(server.stdout.readline())}"
        server.communicate()


@pytest.mark.parametrize(
    ("version", "spoken"), [(ssl.TLSVersion.TLSv1_2, [None]), (ssl.TLSVersion.TLSv1_3, ["TLSv1.3"] * 3)]
)
def test_the_client_speaks_tls_1_3_only(
    identities: Path, credentials: dict[str, Credentials], version: ssl.TLSVersion, spoken: list[str | None]
) -> None:
    context = tls_context(credentials["bob"], identities / "bob", version, server=True)
    versions: list[str | None] = []
    outcome: list[Any] = []
    with socket.create_server(("127.0.0.1", 0)) as listener:
        bob = {"bob": f"127.0.0.1:{listener.getsockname()[1]}"}
        alice = Network(credentials["alice"], timeout=30.0)
        connecting = threading.Thread(target=lambda: outcome.extend(together(lambda: alice.connect(bob, {}))))
        connecting.start()
        for _ in spoken:  # until she is told to leave, she calls who speaks 1.3 again: no call is cut off
            connection, _ = listener.accept()
            try:
                with context.wrap_socket(connection, server_side=True) as encrypted:
                    versions.append(encrypted.version())
            except ssl.SSLError:
                versions.append(None)
        alice.close()
        connecting.join()
    assert versions == spoken
    assert isinstance(outcome[0], SecureFairError)


# frames

SESSION = bytes(range(16))


def frame(channel: str = "c", payload: bytes = b"data", *, writer: FrameWriter | None = None) -> bytes:
    return next(iter((writer or FrameWriter(SESSION)).message(channel, payload)))


def replayed(first: bytes, second: bytes) -> list[bytes]:
    return [first, first]


def left_out(first: bytes, second: bytes) -> list[bytes]:
    return [second]


def swapped(first: bytes, second: bytes) -> list[bytes]:
    return [second, first]


def cut_short(first: bytes, second: bytes) -> list[bytes]:
    return [first[:-1]]


def too_long(first: bytes, second: bytes) -> list[bytes]:
    return [first + b"!"]


def headless(first: bytes, second: bytes) -> list[bytes]:
    return [first[:20]]


def empty(first: bytes, second: bytes) -> list[bytes]:
    return [b""]


def other_session(first: bytes, second: bytes) -> list[bytes]:
    return [bytes([first[0] ^ 1]) + first[1:]]


def unknown_kind(first: bytes, second: bytes) -> list[bytes]:
    return [first[:16] + bytes([99]) + first[17:]]


def control_on_a_data_channel(first: bytes, second: bytes) -> list[bytes]:
    return [first[:16] + bytes([Kind.ABORT]) + first[17:]]


def other_channel(first: bytes, second: bytes) -> list[bytes]:
    return [first, second.replace(b"c", b"\x07", 1)]


def longer_message(first: bytes, second: bytes) -> list[bytes]:
    return [first[:26] + (1 << 60).to_bytes(8, "big") + first[34:], second]


def misplaced(first: bytes, second: bytes) -> list[bytes]:
    return [first[:34] + (1).to_bytes(8, "big") + first[42:]]


ATTACKS = [
    (replayed, "replayed, lost or reordered"),
    (left_out, "replayed, lost or reordered"),
    (swapped, "replayed, lost or reordered"),
    (cut_short, "bytes of payload and carries"),
    (too_long, "bytes of payload and carries"),
    (headless, "shorter than its header"),
    (empty, "shorter than its header"),
    (other_session, "another session"),
    (unknown_kind, "kind 99"),
    (control_on_a_data_channel, "kind 3 on channel 'c'"),
    (other_channel, "impossible name"),
    (longer_message, "where byte 4 of"),
    (misplaced, "where byte 0 of"),
]
Attack = Callable[[bytes, bytes], list[bytes]]


@pytest.mark.parametrize(("attack", "reason"), ATTACKS)
def test_frames_that_were_tampered_with_are_refused(attack: Attack, reason: str) -> None:
    writer = FrameWriter(SESSION)
    first, second = frame(writer=writer), frame(payload=b"more", writer=writer)
    honest = FrameReader(SESSION)
    assert [bytes(honest.accept(f).payload) for f in (first, second)] == [b"data", b"more"]
    reader = FrameReader(SESSION)

    def take_all() -> None:
        for tampered in attack(first, second):
            reader.accept(tampered)

    with pytest.raises(ProtocolError, match=reason):
        take_all()


def test_any_altered_header_byte_is_refused_or_changes_nothing() -> None:
    """Every single bit of the header, flipped in the middle frame of a message of three."""
    pieces = list(FrameWriter(SESSION).message("c", bytes(2 * frames.CHUNK + 10)))
    header = len(pieces[1]) - frames.CHUNK
    for position in range(header):
        for bit in range(8):
            reader = FrameReader(SESSION)
            reader.accept(pieces[0])
            altered = bytearray(pieces[1])
            altered[position] ^= 1 << bit
            with pytest.raises(ProtocolError):
                reader.accept(bytes(altered))


def test_a_peer_cannot_open_channels_without_end() -> None:
    reader = FrameReader(SESSION)
    for number in range(frames.MAX_CHANNELS):
        reader.accept(frame(f"channel-{number}"))
    with pytest.raises(ProtocolError, match="more than 256 channels"):
        reader.accept(frame("one-more"))


def test_sessions_depend_on_both_nonces_and_names() -> None:
    nonces = {"alice": bytes(32), "bob": b"\1" * 32}
    assert session_id(nonces) == session_id(dict(reversed(nonces.items())))
    others = [
        {"alice": bytes(32), "bob": b"\2" * 32},
        {"alice": b"\2" * 32, "bob": b"\1" * 32},
        {"alice": bytes(32), "carol": b"\1" * 32},
        {"alice": b"\1" * 32, "bob": bytes(32)},
    ]
    assert len({session_id(n) for n in [nonces, *others]}) == 5


@pytest.mark.parametrize(
    "request_bytes",
    [
        b"",
        b"\x80\x04\x95",
        b"[]",
        b"[" * 60_000,
        b'{"from": "bob", "to": "alice"}',
        b'{"from": "bob", "to": "alice", "nonce": "00", "agreement": {}}',
        b'{"from": 7, "to": "alice", "nonce": "' + b"0" * 64 + b'", "agreement": {}}',
        b'{"from": "bob", "to": "alice", "nonce": "' + b"0" * 64 + b'", "agreement": {"a": 1}}',
    ],
)
def test_a_hello_that_is_none_is_refused(request_bytes: bytes) -> None:
    with pytest.raises(ProtocolError):
        Hello.decode(request_bytes)
    good = Hello("bob", "alice", bytes(32), {"a": "1"})
    assert Hello.decode(good.encode()) == good


# a hostile peer: bob has good credentials, and sends what he likes


class HostileBob:
    """Introduces himself properly, then sends raw frames."""

    def __init__(self, credentials: Credentials, alice: Network, address: str) -> None:
        self.outgoing: list[bytes] = []
        self.hello = Hello("bob", "alice", os.urandom(32), {"network timeout": "10 s"})
        self._sent = threading.Event()
        self._server = grpc.server(
            ThreadPoolExecutor(2),
            handlers=[
                grpc.method_handlers_generic_handler(
                    "secure_fair.Link", {"Open": grpc.unary_stream_rpc_method_handler(self._serve)}
                )
            ],
        )
        self._server.add_secure_port(address, tls.server_credentials(credentials))
        self._server.start()
        options = [("grpc.ssl_target_name_override", "alice")]
        self._channel = grpc.secure_channel(alice.address, tls.channel_credentials(credentials), options=options)
        self.incoming = self._channel.unary_stream(OPEN)(self.hello.encode(), wait_for_ready=True, timeout=10)
        alices = Hello.decode(next(self.incoming))
        self.writer = FrameWriter(session_id({"alice": alices.nonce, "bob": self.hello.nonce}))

    def _serve(self, request: bytes, context: grpc.ServicerContext) -> Iterator[bytes]:
        yield self.hello.encode()
        self._sent.wait(10)
        yield from self.outgoing
        while context.is_active():
            time.sleep(0.05)

    def send(self, outgoing: list[bytes]) -> None:
        self.outgoing = outgoing
        self._sent.set()

    def close(self) -> None:
        self._channel.close()
        self._server.stop(0).wait()


@contextlib.contextmanager
def alice_and_hostile_bob(credentials: dict[str, Credentials]) -> Iterator[tuple[Network, HostileBob]]:
    alice = Network(credentials["alice"], timeout=10)
    with held_addresses(1) as (address,):
        connecting = threading.Thread(target=lambda: alice.connect({"bob": address}, {}))
        connecting.start()
        bob = HostileBob(credentials["bob"], alice, address)
        connecting.join()
        try:
            yield alice, bob
        finally:
            bob.close()
            alice.close()


def test_the_hostile_peer_can_behave(credentials: dict[str, Credentials]) -> None:
    with alice_and_hostile_bob(credentials) as (alice, bob):
        bob.send([frame(writer=bob.writer), frame(payload=b"more", writer=bob.writer)])
        assert alice.receive("bob", "c", limit=4) == b"data"
        assert alice.receive("bob", "c", limit=4) == b"more"


@pytest.mark.parametrize(("attack", "reason"), [ATTACKS[0], ATTACKS[1], ATTACKS[4], ATTACKS[7]])
def test_tampered_frames_end_the_session_and_name_the_peer(
    credentials: dict[str, Credentials], attack: Attack, reason: str
) -> None:
    with alice_and_hostile_bob(credentials) as (alice, bob):
        bob.send(attack(frame(writer=bob.writer), frame(payload=b"more", writer=bob.writer)))
        received = iter(lambda: alice.receive("bob", "c", limit=4), None)
        with pytest.raises(ProtocolError, match=f"bob does not keep to the protocol.*{reason}"):
            assert set(received) == {b"data"}


def test_a_message_beyond_the_limit_is_refused_before_anything_is_allocated(
    credentials: dict[str, Credentials],
) -> None:
    with alice_and_hostile_bob(credentials) as (alice, bob):
        first = bytearray(frame(payload=bytes(1000), writer=bob.writer))
        first[26:34] = (1 << 50).to_bytes(8, "big")  # the message's length: a petabyte
        tracemalloc.start()
        bob.send([bytes(first)])
        with pytest.raises(ProtocolError, match=f"a message of {1 << 50} bytes on channel 'c'; the limit is 5000"):
            alice.receive("bob", "c", limit=5000)
        _, peak = tracemalloc.get_traced_memory()
        tracemalloc.stop()
        assert peak < 5_000_000


def test_a_frame_beyond_the_bound_is_refused_by_grpc(credentials: dict[str, Credentials]) -> None:
    with alice_and_hostile_bob(credentials) as (alice, bob):
        bob.send([bytes(frames.MAX_FRAME_BYTES + 1)])
        with pytest.raises(ProtocolError, match="a frame larger than"):
            alice.receive("bob", "c", limit=LIMIT)


def test_what_nobody_asks_for_is_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("secure_fair.mpc.link.MAX_UNREAD_BYTES", 1000)
    writer = FrameWriter(SESSION)
    link = Link("bob", LinkSettings())
    link.begin(SESSION)
    for _ in range(10):
        link.accept(frame(payload=bytes(100), writer=writer))
    link.inbox("c").taken += 100  # one was received
    link.accept(frame(payload=bytes(100), writer=writer))
    with pytest.raises(ProtocolError, match="more than 1000 bytes"):
        link.accept(frame(channel="d", payload=b"!", writer=writer))


def test_messages_without_a_byte_are_bounded_as_well(monkeypatch: pytest.MonkeyPatch) -> None:
    """Each takes some hundred bytes here, and the bound on bytes never hears of it: the twin, with the second bound
    beyond them, keeps them all."""

    def kept(most: int) -> int:
        monkeypatch.setattr("secure_fair.mpc.link.MAX_UNREAD_PIECES", most)
        writer, link = FrameWriter(SESSION), Link("bob", LinkSettings())
        link.begin(SESSION)
        for _ in range(8000):
            link.accept(frame(payload=b"", writer=writer))
        return link.inbox("c").queue.qsize()

    assert kept(10_000) == 8000
    with pytest.raises(ProtocolError, match="more than 1000 pieces"):
        kept(1000)


def test_a_peers_words_reach_no_terminal_as_commands(credentials: dict[str, Credentials]) -> None:
    with alice_and_hostile_bob(credentials) as (alice, bob):
        words = frames.encode_control({"reason": "\x1b[2Jgone\nexit 0", "culprit": "bob"})
        bob.send(list(bob.writer.message(frames.CONTROL, words, kind=Kind.ABORT)))
        with pytest.raises(PartyLost, match=r"lost bob: it has stopped:  .2Jgone exit 0"):
            alice.receive("bob", "c", limit=1)


def test_nobody_takes_the_place_of_a_connected_party(credentials: dict[str, Credentials]) -> None:
    with alice_and_hostile_bob(credentials) as (alice, bob):
        with pytest.raises(grpc.RpcError) as refused:
            call(alice.address, tls.channel_credentials(credentials["bob"]), bob.hello.encode())
        assert refused.value.details() == "bob is already connected in this session"
        bob.send([frame(writer=bob.writer)])
        assert alice.receive("bob", "c", limit=4) == b"data"


def test_two_hellos_that_differ_are_not_one_peer(credentials: dict[str, Credentials]) -> None:
    alice = Network(credentials["alice"], timeout=10)
    outcome: list[Any] = []
    server = grpc.server(
        ThreadPoolExecutor(1),
        handlers=[
            grpc.method_handlers_generic_handler(
                "secure_fair.Link",
                {
                    "Open": grpc.unary_stream_rpc_method_handler(
                        lambda request, context: iter([Hello("bob", "alice", bytes(32), {}).encode()])
                    )
                },
            )
        ],
    )
    address = f"127.0.0.1:{server.add_secure_port('127.0.0.1:0', tls.server_credentials(credentials['bob']))}"
    connecting = threading.Thread(target=lambda: outcome.extend(together(lambda: alice.connect({"bob": address}, {}))))
    connecting.start()
    call(
        alice.address,
        tls.channel_credentials(credentials["bob"]),
        Hello("bob", "alice", b"\1" * 32, {}).encode(),
    )
    server.start()
    connecting.join()
    server.stop(0).wait()
    assert isinstance(outcome[0], SecureFairError)


# somebody on the wire


class Wire:
    """A TCP relay that records what flows to the server, and flips one bit of its byte number ``flip``."""

    def __init__(self, target: str, flip: int | None = None) -> None:
        host, _, port = target.rpartition(":")
        self._target = (host, int(port))
        self._flip = flip
        self.flipped = False
        self.recorded = b""
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.address = f"127.0.0.1:{self._listener.getsockname()[1]}"
        threading.Thread(target=self._accept, daemon=True).start()

    def _accept(self) -> None:
        with contextlib.suppress(OSError):
            while True:
                client, _ = self._listener.accept()
                server = socket.create_connection(self._target)
                threading.Thread(target=self._relay, args=(client, server, True), daemon=True).start()
                threading.Thread(target=self._relay, args=(server, client, False), daemon=True).start()

    def _relay(self, source: socket.socket, sink: socket.socket, alter: bool) -> None:
        passed = 0
        with contextlib.suppress(OSError):
            while data := source.recv(1 << 16):
                if alter:
                    self.recorded += data
                    if self._flip is not None and passed <= self._flip < passed + len(data):
                        position = self._flip - passed
                        data = data[:position] + bytes([data[position] ^ 1]) + data[position + 1 :]
                        self.flipped = True
                    passed += len(data)
                sink.sendall(data)
            sink.shutdown(socket.SHUT_RDWR)

    def close(self) -> None:
        self._listener.close()


def test_a_bit_flipped_on_the_wire_never_reaches_a_message(credentials: dict[str, Credentials]) -> None:
    payload = bytes(300_000)
    # the plain twin: gRPC without TLS hands the altered message over
    twin = grpc.server(ThreadPoolExecutor(1), handlers=[echo_handler()])
    plain_wire = Wire(f"127.0.0.1:{twin.add_insecure_port('127.0.0.1:0')}", flip=150_000)
    twin.start()
    with grpc.insecure_channel(plain_wire.address) as channel:
        arrived = next(channel.unary_stream(OPEN)(payload, timeout=10))
    assert plain_wire.flipped
    assert len(arrived) == len(payload)
    assert arrived != payload
    plain_wire.close()
    twin.stop(0).wait()

    # what alice sends to bob flows from her server to his client: the relay sits before alice, and alters the other way
    networks = [Network(credentials[name], timeout=5) for name in ("alice", "bob")]
    alice, bob = networks
    wire = FlippingServerWire(alice.address)
    assert together(
        lambda: alice.connect({"bob": bob.address}, {}), lambda: bob.connect({"alice": wire.address}, {})
    ) == [None, None]
    alice.send("bob", "c", payload)
    assert bob.receive("alice", "c", limit=LIMIT) == payload
    wire.armed = True

    def send_and_receive() -> bytes:
        alice.send("bob", "c", payload)
        return bob.receive("alice", "c", limit=LIMIT)

    with pytest.raises(SecureFairError, match="what comes from alice was changed on its way") as failed:
        assert {send_and_receive() for _ in range(50)} == {payload}
    assert wire.flipped
    assert failed.value.exit_code == ProtocolError.exit_code  # whether bob says so, or alice, whom he has told
    together(alice.close, bob.close)
    wire.close()


class FlippingServerWire(Wire):
    """Flips one bit of what the server sends, once armed."""

    armed = False

    def _relay(self, source: socket.socket, sink: socket.socket, alter: bool) -> None:
        with contextlib.suppress(OSError):
            while data := source.recv(1 << 16):
                if not alter and self.armed and not self.flipped and len(data) > 1000:
                    data = data[:500] + bytes([data[500] ^ 1]) + data[501:]
                    self.flipped = True
                sink.sendall(data)
            sink.shutdown(socket.SHUT_RDWR)


def test_a_recorded_connection_replayed_to_the_server_is_worth_nothing(credentials: dict[str, Credentials]) -> None:
    networks = [Network(credentials[name], timeout=10) for name in ("alice", "bob")]
    alice, bob = networks
    wire = Wire(alice.address)
    assert together(
        lambda: alice.connect({"bob": bob.address}, {}), lambda: bob.connect({"alice": wire.address}, {})
    ) == [None, None]
    host, _, port = alice.address.rpartition(":")
    with socket.create_connection((host, int(port)), 5) as replay:
        replay.sendall(wire.recorded)
        replay.settimeout(5)
        with contextlib.suppress(OSError):
            while replay.recv(1 << 16):
                pass
    bob.send("alice", "c", b"undisturbed")
    assert alice.receive("bob", "c", limit=LIMIT) == b"undisturbed"
    together(alice.close, bob.close)
    wire.close()


def test_what_a_party_says_itself_comes_before_what_others_say_of_it(credentials: dict[str, Credentials]) -> None:
    with mesh(credentials, *PARTIES) as (alice, bob, carol):
        link, arrive = alice._links["bob"], threading.Event()
        accept = link.accept

        def late(frame: bytes) -> Frame | None:
            arrive.wait(20)
            return accept(frame)

        # bob's words are on their way for a while, and carol passes on why he has left
        link.accept = late  # type: ignore[method-assign]
        bob.send("alice", "c", b"refused: the table has an unknown id")
        leaving = threading.Thread(target=bob.abort, args=("an unknown id",))
        leaving.start()
        with pytest.raises(PartyLost, match="bob: it has stopped: an unknown id"):
            carol.receive("bob", "c", limit=LIMIT)
        while not (
            alice._detector.failed.is_set() or any(suspicion.teller for suspicion in alice._detector._suspicions)
        ):
            time.sleep(0.001)
        arrive.set()
        assert alice.receive("bob", "c", limit=LIMIT) == b"refused: the table has an unknown id"
        with pytest.raises(PartyLost, match="bob: it has stopped: an unknown id"):
            alice.receive("bob", "c", limit=LIMIT)
        leaving.join()


# waiting in a circle


def test_a_live_peer_is_waited_for_longer_than_the_timeout(credentials: dict[str, Credentials]) -> None:
    with mesh(credentials, "alice", "bob", timeout=1.5) as (alice, bob):

        def late() -> None:
            time.sleep(3.5)
            bob.send("alice", "c", b"at last")

        assert together(lambda: alice.receive("bob", "c", limit=LIMIT), late) == [b"at last", None]


@pytest.mark.parametrize("names", [PARTIES[:2], PARTIES])
def test_parties_that_wait_in_a_circle_are_out_of_step(
    credentials: dict[str, Credentials], names: tuple[str, ...]
) -> None:
    with mesh(credentials, *names, timeout=2.0) as networks:
        waits = [
            lambda network=network, peer=peer: network.receive(peer, "c", limit=LIMIT)
            for network, peer in zip(networks, [*names[1:], names[0]], strict=True)
        ]
        start = time.monotonic()
        outcomes = together(*waits)
        assert time.monotonic() - start < 10  # for ever, else
        assert any(isinstance(outcome, ProtocolError) and "out of step" in str(outcome) for outcome in outcomes)
        assert all("waits for" in str(outcome) for outcome in outcomes)


# losses, between real processes

CHILD = """
import json, os, signal, sys, time
from pathlib import Path
from secure_fair.parties import identity
from secure_fair.errors import PartyLost, SecureFairError
from secure_fair.mpc.transport import Network

signal.signal(signal.SIGINT, signal.default_int_handler)  # ignored where the tests run in a shell's background
folder, timeout, behaviour = Path(sys.argv[1]), float(sys.argv[2]), sys.argv[3]
network = Network(identity.load(folder), timeout=timeout)
print(network.address, flush=True)
peers = json.loads(sys.stdin.readline())
LIMIT = 1 << 26

def exchange(peers, size=100):
    for peer in peers:
        network.send(peer, "c", bytes(size))
    for peer in peers:
        network.receive(peer, "c", limit=LIMIT)

try:
    network.connect(peers, {})
    exchange(peers)
    print("ready", flush=True)
    if behaviour == "exchange":          # with everybody, for ever
        while True:
            exchange(peers)
    elif behaviour == "wait":            # for one that has nothing to say and is well
        network.receive(next(p for p in peers if p != "carol"), "never", limit=1)
    elif behaviour == "send":            # more than the network takes in
        while True:
            network.send("carol", "c", bytes(1 << 22))
    elif behaviour == "idle":
        time.sleep(60)
    elif behaviour == "leave":           # without a word
        time.sleep(0.3)
    elif behaviour == "accuse":
        time.sleep(0.3)
        network.abort("the sum is wrong", "bob")
    elif behaviour.startswith("stop"):
        time.sleep(0.3)
        network.abort("the policy forbids it", None, *json.loads(behaviour.removeprefix("stop") or "[]"))
    elif behaviour == "crash":
        time.sleep(0.3)
        raise ZeroDivisionError
except SecureFairError as error:
    print(json.dumps({"error": type(error).__name__, "party": getattr(error, "party", None), "text": str(error),
                      "code": error.exit_code, "when": time.time()}), flush=True)
    os._exit(5)                          # no close: the others must get it right all the same
"""


class Processes:
    """Parties as real processes, by name."""

    def __init__(self, identities: Path, behaviours: Mapping[str, str], timeout: float) -> None:
        environment = dict(os.environ, OMP_NUM_THREADS="1", PYTHONPATH=str(Path(__file__).parents[2]))
        self.children = {
            name: subprocess.Popen(
                [sys.executable, "-c", CHILD, str(identities / name), str(timeout), behaviour],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=subprocess.DEVNULL,
                text=True,
                env=environment,
            )
            for name, behaviour in behaviours.items()
        }
        listening = {name: self.line(name) for name in behaviours}
        for name, child in self.children.items():
            assert child.stdin is not None
            child.stdin.write(json.dumps({peer: at for peer, at in listening.items() if peer != name}) + "\n")
            child.stdin.flush()
        for name in behaviours:
            assert self.line(name) == "ready"
        time.sleep(0.2)

    def line(self, name: str) -> str:
        stdout = self.children[name].stdout
        assert stdout is not None
        return stdout.readline().strip()

    def outcome(self, name: str) -> dict[str, Any]:
        result = json.loads(self.line(name))
        assert isinstance(result, dict)
        return result

    def signal(self, name: str, number: int) -> float:
        os.kill(self.children[name].pid, number)
        return time.time()

    def close(self) -> None:
        for child in self.children.values():
            if child.poll() is None:
                child.kill()
            child.communicate()


@contextlib.contextmanager
def processes(identities: Path, timeout: float = 60.0, **behaviours: str) -> Iterator[Processes]:
    started = Processes(identities, behaviours, timeout)
    try:
        yield started
    finally:
        started.close()


@pytest.mark.parametrize("behaviour", ["exchange", "wait"])
def test_a_killed_party_is_named_by_all_others_within_seconds(identities: Path, behaviour: str) -> None:
    """Also by those who wait for somebody else, and though the first to notice leaves without a word."""
    carol = "exchange" if behaviour == "exchange" else "idle"
    with processes(identities, alice=behaviour, bob=behaviour, carol=carol) as party:
        killed = party.signal("carol", signal.SIGKILL)
        for name in ("alice", "bob"):
            outcome = party.outcome(name)
            assert (outcome["error"], outcome["party"]) == ("PartyLost", "carol"), outcome
            assert outcome["when"] - killed < 5


@pytest.mark.parametrize("behaviour", ["exchange", "wait", "send"])
def test_a_stopped_party_is_named_within_the_timeout(identities: Path, behaviour: str) -> None:
    timeout = 3.0
    carol = "exchange" if behaviour == "exchange" else "idle"
    with processes(identities, timeout, alice=behaviour, bob="wait", carol=carol) as party:
        stopped = party.signal("carol", signal.SIGSTOP)
        for name in ("alice", "bob"):
            outcome = party.outcome(name)
            assert (outcome["error"], outcome["party"]) == ("PartyLost", "carol"), outcome
            assert outcome["when"] - stopped < timeout + 2.0  # and not after another time-out
        party.signal("carol", signal.SIGCONT)


def test_an_interrupt_ends_a_wait(identities: Path) -> None:
    with processes(identities, alice="exchange", carol="idle") as party:
        time.sleep(0.3)
        start = party.signal("alice", signal.SIGINT)
        assert party.children["alice"].wait(20) != 0
        assert time.time() - start < 15  # of the 60 that it would wait for a peer that is silent


def test_a_short_stop_is_survived(identities: Path) -> None:
    with processes(identities, 4.0, alice="exchange", carol="exchange") as party:
        party.signal("carol", signal.SIGSTOP)
        time.sleep(2)
        party.signal("carol", signal.SIGCONT)
        time.sleep(1)
        assert all(child.poll() is None for child in party.children.values())


@pytest.mark.parametrize("behaviour", ["leave", "crash"])
def test_a_party_that_ends_without_a_word_is_lost(identities: Path, behaviour: str) -> None:
    with processes(identities, alice="wait", bob="wait", carol=behaviour) as party:
        for name in ("alice", "bob"):
            outcome = party.outcome(name)
            assert (outcome["error"], outcome["party"]) == ("PartyLost", "carol"), outcome


@pytest.mark.parametrize(
    ("behaviour", "error"),
    [
        ("stop", "PartyLost"),
        ("stop[4]", "RunRefused"),
        ("stop[3]", "RunRefused"),
        ("stop[0]", "PartyLost"),  # what is no refusal is a loss, whatever the peer says
        ("stop[[4]]", "PartyLost"),
    ],
)
def test_a_party_that_refuses_says_why_and_all_end_as_refused(identities: Path, behaviour: str, error: str) -> None:
    with processes(identities, alice="exchange", bob="wait", carol=behaviour) as party:
        for name in ("alice", "bob"):
            outcome = party.outcome(name)
            assert outcome["error"] == error, outcome
            assert [outcome["code"]] == (json.loads(behaviour[4:]) if error == "RunRefused" else [5])
            assert outcome["party"] == ("carol" if error == "PartyLost" else None), outcome
            assert "carol: " in outcome["text"]
            assert "the policy forbids it" in outcome["text"]


def test_a_party_that_accuses_another_is_believed_by_all_but_the_accused(identities: Path) -> None:
    with processes(identities, alice="exchange", bob="wait", carol="accuse") as party:
        alice, bob = party.outcome("alice"), party.outcome("bob")
        assert (alice["error"], alice["party"]) == ("PartyLost", "bob"), alice
        assert "the sum is wrong" in alice["text"]
        assert (bob["error"], bob["party"]) == ("PartyLost", "carol"), bob
        assert "because of this party: the sum is wrong" in bob["text"]
