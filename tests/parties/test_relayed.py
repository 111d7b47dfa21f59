"""Parties that can only dial out train by a relay on a third machine, which sees nothing of theirs."""

from __future__ import annotations

import contextlib
import multiprocessing
import re
import signal
import socket
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from secure_fair.data.store import AuditorStore, DeveloperStore
from secure_fair.mpc.addresses import held_addresses
from secure_fair.mpc.transport import LinkSettings
from secure_fair.scenarios import assemble
from secure_fair.scenarios.cli.main import main
from secure_fair.scenarios.relay import read_token
from secure_fair.scenarios.schema import Scenario
from tests.parties.company import Company, program, tiny
from tests.parties.hosts import HOSTS, Hosts, enter, namespaces_missing
from tests.parties.test_lost_parties import wait_for_epoch
from tests.parties.test_resume import few, short  # noqa: F401
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
    program(["party", "relay", "--listen", listening, "--token", token])


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
            entries, (listening,) = {}, stack.enter_context(held_addresses(1))
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


@pytest.fixture(scope="module")
def at_relay(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Callable[[], Any]]:
    """Starts the relay of ``RelayedCompany``, always at the same address; the one before is ended."""
    RelayedCompany.token = tmp_path_factory.mktemp("relay") / "relay.token"
    read_token(RelayedCompany.token, new=True)
    running: list[Any] = []

    def start() -> Any:
        for process in running:
            process.kill()
            process.join()
        running.append(_context.Process(target=relay_at, args=(None, RelayedCompany.relay, str(RelayedCompany.token))))
        running[-1].start()
        host, _, port = RelayedCompany.relay.rpartition(":")
        while True:
            with contextlib.suppress(OSError), socket.create_connection((host, int(port))):
                return running[-1]
            time.sleep(0.02)

    with held_addresses(1) as (RelayedCompany.relay,):
        yield start
    for process in running:
        process.kill()
        process.join()


def lasting(weights: Path, epochs: int, reconnect: float) -> Scenario:
    train = {"epochs": epochs, "batch_size": 40}
    scenario = short(weights, method={"name": "parity"})
    tree = {"train": scenario.train.model_copy(update=train), "link": LinkSettings(reconnect=reconnect)}
    return scenario.model_copy(update=tree)


@pytest.mark.slow
def test_a_run_by_a_relay_is_gone_on_with_after_a_party_was_killed(
    tmp_path: Path,
    weights: Path,
    few: Path,  # noqa: F811
    at_relay: Callable[[], Any],
) -> None:
    """By the same relay, which still has what the killed one had parked, or by one that was started anew."""
    at_relay()
    scenario = lasting(weights, 12, 0.0)
    places = {"states": tmp_path / "states", "simulated": False}
    with RelayedCompany(scenario, few, tmp_path / "first", timeout=10.0, **places) as company:
        wait_for_epoch(company, 2)
        company.signal("auditor", signal.SIGKILL)
        ended = company.wait(60)
    assert {name: ended[name].code for name in ("developer", "dealer")} == {"developer": 5, "dealer": 5}
    assert "lost auditor" in ended["developer"].said
    with RelayedCompany(scenario, few, tmp_path / "second", timeout=10.0, resume=True, **places) as company:
        wait_for_epoch(company, 6)
        at_relay()
        ended = company.wait(60)
        assert {one.code for one in ended.values()} == {5}, {name: one.said for name, one in ended.items()}
    with RelayedCompany(scenario, few, tmp_path / "third", resume=True, **places) as company:
        company.succeed()
    said = company.log("developer").read_text()
    assert re.search(r"going on with run \S+ after ([5-9]|1[01]) of 12 epochs", said)
    assert not (tmp_path / "states" / "auditor" / "runs").exists()


@pytest.mark.slow
def test_a_relay_that_is_started_anew_ends_no_run_whose_lines_may_come_back(
    tmp_path: Path,
    weights: Path,
    few: Path,  # noqa: F811
    at_relay: Callable[[], Any],
) -> None:
    at_relay()
    with RelayedCompany(lasting(weights, 12, 30.0), few, tmp_path, timeout=30.0, simulated=False) as company:
        wait_for_epoch(company, 2)
        at_relay()
        company.succeed()


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
