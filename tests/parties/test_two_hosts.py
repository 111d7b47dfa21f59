"""Three machines, as network namespaces on one switch: the parties train together, and the cable carries TLS alone."""

from __future__ import annotations

import csv
import multiprocessing
import select
import socket
import struct
from collections.abc import Iterator
from functools import partial
from multiprocessing.synchronize import Event
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner

from secure_fair.scenarios.cli.main import main
from secure_fair.scenarios.launch import run_plain
from secure_fair.scenarios.progress import LineReporter
from tests.parties.company import Company, program, tiny
from tests.parties.hosts import HOSTS, Hosts, enter, namespaces_missing
from tests.parties.planted import Planted, plant

PORT = 7700
HANDSHAKE, CIPHER_CHANGE, ALERT, APPLICATION = 22, 20, 21, 23


@pytest.fixture
def hosts() -> Iterator[Hosts]:
    missing = namespaces_missing()
    if missing:
        pytest.skip(missing)
    with Hosts() as made:
        yield made


def at_host(namespace: str, arguments: list[str]) -> None:
    """The program on another host."""
    enter(namespace)
    program(arguments)


# --- the cable --------------------------------------------------------------------------------------------------------


def listen(namespace: str, port: str, file: str, ready: Event, done: Event) -> None:
    """Write every frame that passes one port of the switch to a file, with its length before it."""
    enter(namespace)
    with socket.socket(socket.AF_PACKET, socket.SOCK_RAW, socket.htons(3)) as tap, open(file, "wb") as out:
        tap.setsockopt(socket.SOL_SOCKET, 33, 256 * 2**20)  # SO_RCVBUFFORCE: nothing may be missed
        tap.bind((port, 0))
        ready.set()
        while True:
            readable, _, _ = select.select([tap], [], [], 0.2)
            if readable:
                frame = tap.recv(1 << 18)
                out.write(struct.pack("<I", len(frame)) + frame)
            elif done.is_set():
                return


def streams(file: Path) -> dict[tuple[str, int, str, int], bytes]:
    """Payload of each direction of each TCP connection, in order, from captured frames."""
    pieces: dict[tuple[str, int, str, int], dict[int, bytes]] = {}
    starts: dict[tuple[str, int, str, int], int] = {}
    content, place = file.read_bytes(), 0
    while place < len(content):
        (length,) = struct.unpack_from("<I", content, place)
        frame = content[place + 4 : place + 4 + length]
        place += 4 + length
        if frame[12:14] != b"\x08\x00" or frame[23] != 6:  # IPv4, TCP
            continue
        header = 14 + 4 * (frame[14] & 15)
        end = 14 + struct.unpack_from("!H", frame, 16)[0]
        source, target, sequence = struct.unpack_from("!HHI", frame, header)
        key = (socket.inet_ntoa(frame[26:30]), source, socket.inet_ntoa(frame[30:34]), target)
        payload = frame[header + 4 * (frame[header + 12] >> 4) : end]
        if frame[header + 13] & 2:  # SYN
            starts[key] = sequence + 1
        if payload:
            pieces.setdefault(key, {})[(sequence - starts[key]) % 2**32] = payload
    joined = {}
    for key, parts in pieces.items():
        stream = b""
        for offset, payload in sorted(parts.items()):
            if offset <= len(stream):
                stream += payload[len(stream) - offset :]
            else:
                raise AssertionError(f"{key}: the capture lacks {offset - len(stream)} bytes at {len(stream)}")
        joined[key] = stream
    return joined


def records(stream: bytes) -> Iterator[tuple[int, bytes]]:
    """Type and body of each TLS record; an AssertionError where there is anything else."""
    place = 0
    while place + 5 <= len(stream):
        kind, version, length = struct.unpack_from("!BHH", stream, place)
        assert kind in (HANDSHAKE, CIPHER_CHANGE, ALERT, APPLICATION), f"no TLS record: type {kind} at {place}"
        assert version in (0x0301, 0x0303), f"no TLS record: version {version:#x} at {place}"
        assert length <= 2**14 + 256, f"no TLS record: {length} bytes at {place}"
        yield kind, stream[place + 5 : place + 5 + length]
        place += 5 + length


def assert_tls_alone(file: Path, secrets_: list[str]) -> int:
    """Every connection is TLS records, encrypted ones after the hellos; returns how many bytes were encrypted."""
    encrypted = 0
    for key, stream in streams(file).items():
        kinds = [kind for kind, _ in records(stream)]
        bodies = [body for _, body in records(stream)]
        assert kinds[0] == HANDSHAKE, key
        assert bodies[0][0] in (1, 2), key  # client hello, server hello
        assert b"\x03\x04" in bodies[0], key  # supported_versions names TLS 1.3
        # in TLS 1.3 all but the first message each way is encrypted, certificates too; an alert ends a refused hello
        assert set(kinds[1:]) <= {CIPHER_CHANGE, APPLICATION, ALERT}, (key, kinds)
        encrypted += sum(len(body) for kind, body in records(stream) if kind == APPLICATION)
    content = file.read_bytes()
    for text in secrets_:
        assert text.encode() not in content, text
    return encrypted


# --- the tests --------------------------------------------------------------------------------------------------------


def predictions(folder: Path) -> tuple[list[str], np.ndarray]:
    with (folder / "predictions.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    return [row["id"] for row in rows], np.array(
        [[float(value) for key, value in row.items() if key.startswith("probability")] for row in rows]
    )


@pytest.fixture(scope="module")
def planted(tmp_path_factory: pytest.TempPathFactory) -> Planted:
    return plant(tmp_path_factory.mktemp("data set") / "people")


def test_three_hosts_train_together_over_tls_alone(
    tmp_path: Path, hosts: Hosts, planted: Planted, weights: Path
) -> None:
    scenario = tiny(weights, data=planted.data, lora={"last_blocks": 1})
    (tmp_path / "scenario.toml").write_text(scenario.to_toml())
    stores = tmp_path / "stores"
    prepared = CliRunner().invoke(
        main, ["data", "prepare", "together", str(tmp_path / "scenario.toml"), "--out", str(stores)]
    )
    assert prepared.exit_code == 0, prepared.output
    assert {entry.name for entry in stores.iterdir() if entry.is_dir()} == {"developer", "auditor"}
    context = multiprocessing.get_context("forkserver")
    done = context.Event()
    taps = []
    for party in ("developer", "auditor"):  # between them they see every connection
        ready = context.Event()
        file = str(tmp_path / f"{party}.frames")
        taps.append(context.Process(target=listen, args=(hosts.switch, hosts.ports[party], file, ready, done)))
        taps[-1].start()
        assert ready.wait(60)
    entries = {party: partial(at_host, name) for party, name in hosts.names.items()}
    addresses = {party: f"{address}:{PORT}" for party, address in HOSTS.items()}
    everywhere = dict.fromkeys(HOSTS, f"0.0.0.0:{PORT}")  # as by default
    try:
        with Company(
            scenario, stores, tmp_path / "far", entries=entries, addresses=addresses, listen=everywhere, simulated=False
        ) as company:
            company.succeed()
    finally:
        done.set()
        for tap in taps:
            tap.join(30)
            tap.kill()
    run_plain(scenario, stores, tmp_path / "near", LineReporter())
    far_ids, far = predictions(company.out("developer"))
    near_ids, near = predictions(tmp_path / "near" / "developer")
    assert far_ids == near_ids
    assert np.abs(far - near).max() < 1e-4
    unseen = [*planted.personal, *planted.groups, *planted.classes, *far_ids, "group_counts", "auditor refused"]
    for party in ("developer", "auditor"):
        assert assert_tls_alone(tmp_path / f"{party}.frames", unseen) > 50_000


def test_a_clear_connection_would_be_noticed(tmp_path: Path) -> None:
    """The check of the capture finds a frame that is not TLS, and a word in the clear."""

    def frame(sequence: int, payload: bytes, flags: int = 16) -> bytes:
        ip_header = struct.pack("!BBHHHBBH4s4s", 69, 0, 40 + len(payload), 0, 0, 64, 6, 0, b"\n\0\0\1", b"\n\0\0\2")
        tcp = struct.pack("!HHIIBBHHH", 1000, PORT, sequence, 0, 5 << 4, flags, 0, 0, 0)
        whole = bytes(12) + b"\x08\x00" + ip_header + tcp + payload
        return struct.pack("<I", len(whole)) + whole

    hello = b"\x16\x03\x01\x00\x04\x01\x00\x03\x04"
    sealed = b"\x17\x03\x03\x00\x06secret"
    file = tmp_path / "frames"
    file.write_bytes(frame(9, b"", 2) + frame(10, hello) + frame(10 + len(hello), sealed))
    assert assert_tls_alone(file, ["word"]) == 6
    with pytest.raises(AssertionError, match="secret"):
        assert_tls_alone(file, ["secret"])
    file.write_bytes(frame(9, b"", 2) + frame(10, hello) + frame(10 + len(hello), b"PRI * HTTP/2.0"))
    with pytest.raises(AssertionError, match="no TLS record"):
        assert_tls_alone(file, [])
    file.write_bytes(frame(9, b"", 2) + frame(10, hello) + frame(90, sealed))
    with pytest.raises(AssertionError, match="the capture lacks"):
        assert_tls_alone(file, [])
