"""Parties that can only dial out train by a relay on a third machine, which sees nothing of theirs."""

from __future__ import annotations

import multiprocessing
import socket
import time
from collections.abc import Iterator
from contextlib import ExitStack
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from scenarios import assemble
from scenarios.cli.main import main
from scenarios.processes import free_addresses
from scenarios.relay import read_token
from secure_fair.data.store import AuditorStore, DeveloperStore
from tests.parties.company import Company, secure_fair, tiny
from tests.parties.hosts import HOSTS, Hosts, enter, namespaces_missing
from tests.parties.test_two_hosts import at_host, listen

RELAY = ("relay", "10.97.0.5")
_context = multiprocessing.get_context("forkserver")


class RelayedCompany(Company):
    """A company whose parties are told of a relay, and of nobody's address."""

    relay = ""
    token = Path()

    def command_line(self, name: str) -> list[str]:
        words = iter(super().command_line(name))
        line: list[str] = []
        for word in words:
            if word in ("--peer", "--listen"):
                next(words)
            else:
                line.append(word)
        return [*line, "--relay", self.relay, "--relay-token", str(self.token)]


def relay_at(namespace: str | None, listening: str, token: str) -> None:
    if namespace is not None:
        enter(namespace)
    secure_fair(["party", "relay", "--listen", listening, "--token", token])


def reach(namespace: str, address: str, port: int, answer: Any) -> None:
    enter(namespace)
    try:
        socket.create_connection((address, port), 1.5).close()
    except ConnectionRefusedError:
        answer.put("reached")  # nobody listens there, which that machine itself has said
    except OSError:
        answer.put("not reached")
    else:
        answer.put("reached")


def reached(hosts: Hosts, one: str, other: str) -> str:
    answer = _context.Queue()
    process = _context.Process(target=reach, args=(hosts.names[one], hosts.addresses[other], 9, answer))
    process.start()
    told = answer.get(timeout=60)
    process.join()
    return str(told)


@pytest.fixture
def ended() -> Iterator[list[Any]]:
    """Processes to end whatever comes."""
    processes: list[Any] = []
    yield processes
    for process in processes:
        process.kill()
        process.join()


@pytest.mark.slow
def test_parties_that_can_only_dial_out_train_by_a_relay(
    tmp_path: Path, weights: Path, stores: Path, ended: list[Any]
) -> None:
    scenario = tiny(weights, train={"epochs": 1}, lora={"last_blocks": 1})
    RelayedCompany.token = tmp_path / "relay.token"
    read_token(RelayedCompany.token, new=True)
    with ExitStack() as stack:
        missing = namespaces_missing()
        print(f"loopback addresses: {missing}" if missing else "network namespaces")
        if missing:
            entries, (listening,) = {}, free_addresses(1)
            RelayedCompany.relay, place = listening, None
        else:
            hosts = stack.enter_context(Hosts(RELAY))
            assert reached(hosts, "developer", "relay") == "reached"
            assert reached(hosts, "developer", "auditor") == "not reached"
            entries = {party: partial(at_host, hosts.names[party]) for party in HOSTS}
            RelayedCompany.relay, listening, place = f"{RELAY[1]}:7800", "0.0.0.0:7800", hosts.names["relay"]
            done, ready, frames = _context.Event(), _context.Event(), tmp_path / "frames"
            stack.callback(done.set)
            tap = _context.Process(target=listen, args=(hosts.switch, hosts.ports["relay"], str(frames), ready, done))
            tap.start()
            ended.append(tap)
            assert ready.wait(60)
        process = _context.Process(target=relay_at, args=(place, listening, str(RelayedCompany.token)))
        process.start()
        ended.append(process)
        time.sleep(1.0)  # it listens at once, for it has nothing to read
        company = RelayedCompany(scenario, stores, tmp_path / "company", entries=entries, simulated=False)
        with company:
            company.succeed()
        if not missing:
            done.set()
            tap.join(30)
            content = frames.read_bytes()
            assert b"secure-fair-relay-1 park developer " in content  # nothing was missed
            auditor = AuditorStore.open(stores / "auditor")
            unseen = [*DeveloperStore.open(stores / "developer").ids, *auditor.groups["male"], "group_counts"]
            assert len(content) > 200_000
            assert [text for text in unseen if text.encode() in content] == []
            assert RelayedCompany.token.read_bytes().strip() not in content
    assert (company.out(assemble.DEVELOPER) / "predictions.csv").exists()


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["--relay", "nowhere"], "--relay nowhere: expected HOST:PORT"),
        (["--relay", "127.0.0.1:1"], "--relay-token FILE: is missing"),
    ],
)
def test_what_a_relay_needs_is_said(
    tmp_path: Path, weights: Path, stores: Path, words: list[str], said: str, capsys: pytest.CaptureFixture[str]
) -> None:
    with Company(tiny(weights), stores, tmp_path) as company:
        line = company.command_line("dealer")
    with pytest.raises(SystemExit) as stopped:
        main([*line, *words])
    assert stopped.value.code == 2
    assert said in capsys.readouterr().err
