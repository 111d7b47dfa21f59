"""The health of a party: who asks is told how far it is and who is silent, strangers' garbage changes nothing."""

from __future__ import annotations

import contextlib
import json
import os
import socket
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner

from secure_fair.errors import PartyLost, UsageError
from secure_fair.mpc.addresses import held_addresses
from secure_fair.mpc.transport import Credentials
from secure_fair.parties import health
from secure_fair.parties.health import HealthServer, Pulse, ask
from secure_fair.scenarios.cli.main import main
from tests.mpc.test_transport import credentials, identities, mesh  # noqa: F401
from tests.parties.company import Company, tiny
from tests.parties.test_lost_parties import wait_for_epoch


@pytest.fixture
def pulse() -> Pulse:
    return Pulse("auditor")


@pytest.fixture
def place(pulse: Pulse) -> Iterator[str]:
    with HealthServer("0", pulse) as server:
        yield f"127.0.0.1:{server.server_port}"


def test_partners_are_told_of_from_their_coming_to_their_loss(
    place: str,
    pulse: Pulse,
    credentials: dict[str, Credentials],  # noqa: F811
) -> None:
    assert ask(place) == {
        "health": "healthy",
        "role": "auditor",
        "run": "",
        "stage": "starting",
        "epoch": 0,
        "partners": {},
    }
    with mesh(credentials, "alice", "bob") as (alice, bob):
        pulse.network = alice
        pulse.follow("some-run", lambda: 3)
        pulse.note_stage("training: parity, 4711 records")
        told = ask(place)
        assert (told["health"], told["run"], told["stage"], told["epoch"]) == ("healthy", "some-run", "training", 3)
        assert told["partners"]["bob"]["state"] == "connected"
        assert told["partners"]["bob"]["seconds_silent"] < 5
        assert "4711" not in json.dumps(told)
        with contextlib.suppress(Exception):
            bob.abort("enough")
        deadline = time.monotonic() + 10
        while ask(place)["health"] != "lost":
            assert time.monotonic() < deadline
            time.sleep(0.05)
        asked = CliRunner().invoke(main, ["party", "health", place])
        assert asked.exit_code == PartyLost.exit_code
        assert "auditor: lost, training, run some-run, 3 whole epochs" in asked.stdout


def answer_to(place: str, content: bytes) -> bytes:
    host, _, port = place.rpartition(":")
    with socket.create_connection((host, int(port)), 5) as stranger, contextlib.suppress(OSError):
        stranger.sendall(content)
        stranger.shutdown(socket.SHUT_WR)
        found = b""
        while more := stranger.recv(1 << 16):
            found += more
        return found
    return b""


GARBAGE = {
    "nothing": b"",
    "noise": os.urandom(50_000),
    "half a line": b"GET /hea",
    "a long line": b"GET /" + b"a" * 100_000,
    "many heads": b"GET /health HTTP/1.1\r\n" + b"X: y\r\n" * 5_000,
    "a TLS hello": b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03" + os.urandom(300),
    "another path": b"GET /../../etc/passwd HTTP/1.1\r\n\r\n",
    "another verb": b"POST /health HTTP/1.1\r\nContent-Length: 1000000000\r\n\r\n",
    "a bad version": b"GET /health HTTP/9.9\r\n\r\n",
}


@pytest.mark.parametrize("what", GARBAGE)
def test_whatever_strangers_send_is_answered_with_nothing_of_the_party_and_the_next_one_is_told(
    place: str, capfd: pytest.CaptureFixture[str], what: str
) -> None:
    answer = answer_to(place, GARBAGE[what])
    assert b"auditor" not in answer
    assert b"200" not in answer.split(b"\r\n")[0]
    assert ask(place)["health"] == "healthy"
    assert capfd.readouterr() == ("", "")


def test_strangers_that_say_nothing_have_few_places_for_moments(place: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(health, "SECONDS", 0.5)
    host, _, port = place.rpartition(":")
    before = threading.active_count()
    idle = [socket.create_connection((host, int(port)), 5) for _ in range(50)]
    time.sleep(0.2)
    assert threading.active_count() - before <= health.MOST_AT_ONCE
    deadline = time.monotonic() + 10
    while True:
        with contextlib.suppress(PartyLost):
            assert ask(place)["health"] == "healthy"
            break
        assert time.monotonic() < deadline
    for one in idle:
        one.close()


@pytest.mark.parametrize(
    ("words", "said"),
    [
        ("nowhere", "--health nowhere: expected HOST:PORT, or a PORT of this machine alone"),
        ("70000", "--health 70000: expected HOST:PORT"),
        ("203.0.113.7:7701", "--health 203.0.113.7:7701: cannot listen there"),
    ],
)
def test_a_place_that_cannot_be_listened_at_is_refused(words: str, said: str) -> None:
    with pytest.raises(UsageError, match=said.replace("[", r"\[")):
        HealthServer(words, Pulse())


def test_it_is_of_this_machine_alone_unless_told_otherwise(place: str) -> None:
    with HealthServer("0", Pulse()) as server:
        assert server.server_address[0] == "127.0.0.1"


def answering(content: bytes) -> str:
    """An address at which whoever asks once is sent this."""
    server = socket.create_server(("127.0.0.1", 0))

    def answer() -> None:
        with server, server.accept()[0] as asked:
            asked.recv(1 << 16)
            asked.sendall(content)

    threading.Thread(target=answer, daemon=True).start()
    return f"127.0.0.1:{server.getsockname()[1]}"


@pytest.mark.parametrize("status", [b"200 OK", b"503 Unavailable"])
@pytest.mark.parametrize("told", [b"[" * 50_000, b"\xff", b"[]", b'{"health": "healthy", "partners": [[1, 2]]}'])
def test_whatever_answers_in_a_party_s_place_is_no_party(status: bytes, told: bytes) -> None:
    """Nothing of it is a traceback to whoever asks."""
    for content in (b"HTTP/1.1 %s\r\nContent-Length: %d\r\n\r\n%s" % (status, len(told), told), b"what?\r\n\r\n"):
        with pytest.raises(PartyLost, match="nobody tells its health"):
            ask(answering(content))


def test_what_is_told_moves_no_cursor() -> None:
    told = {"health": "\x1b[2J", "role": "x\ny", "partners": {"\x1b[1A": {"state": "\r"}}}
    assert health.in_words(told).split("\n") == ["x y:  [2J, None", "   [1A:  "]


def test_nobody_there_is_said() -> None:
    with held_addresses(1) as (nobody,), pytest.raises(PartyLost, match=f"nobody tells its health at {nobody}"):
        ask(nobody)


class Watched(Company):
    """A company of whose auditor the health is told."""

    place = ""

    def command_line(self, name: str) -> list[str]:
        line = super().command_line(name)
        return [*line, "--health", self.place] if name == "auditor" else line


def test_a_party_that_serves_a_run_tells_its_health(tmp_path: Path, weights: Path, stores: Path) -> None:
    scenario = tiny(weights, train={"epochs": 200}, lora={"rank": 2, "last_blocks": 1})
    with held_addresses(1) as (Watched.place,), Watched(scenario, stores, tmp_path) as company:
        wait_for_epoch(company, 2)
        told: dict[str, Any] = ask(Watched.place)
        assert (told["health"], told["role"], told["stage"]) == ("healthy", "auditor", "answering")
        assert told["run"].startswith("tiny-parity-")
        assert told["epoch"] >= 1
        assert {name: one["state"] for name, one in told["partners"].items()} == dict.fromkeys(
            ("dealer", "developer"), "connected"
        )
