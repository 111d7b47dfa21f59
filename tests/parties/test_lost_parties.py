"""A party is killed or stalls at any moment: everybody else soon ends, says who it was, and leaves nothing torn."""

from __future__ import annotations

import csv
import json
import os
import random
import signal
import time
from functools import partial
from pathlib import Path

import numpy as np
import pytest
from safetensors import safe_open

from secure_fair.errors import BudgetExceeded, Refusal, SecureFairError
from secure_fair.operations.common.ask import Ask
from secure_fair.parties.service import AuditorService
from secure_fair.privacy.chain import verify
from secure_fair.privacy.request import Grant
from secure_fair.scenarios.schema import Scenario
from tests.parties.company import Company, Ended, program, tiny

SOON = 6.0  # seconds after a kill within which the others have ended
TIMEOUT = 15.0
BRIEF = 8.0  # a time-out that is waited out
PARTIES = ("developer", "auditor", "dealer")
OTHERS = ("developer", "dealer")
LOST = 5


def lasting(weights: Path, **sections: dict[str, object]) -> Scenario:
    """Long enough to be interrupted, with an exchange between all parties at every step."""
    return tiny(weights, train={"epochs": 200}, method={"name": "adv", "strength": 0.1}, **sections)


def wait_for_epoch(company: Company, epoch: int) -> None:
    deadline = time.monotonic() + 60
    while f"epoch {epoch}/" not in company.log("developer").read_text():
        assert time.monotonic() < deadline, company.log("developer").read_text()
        time.sleep(0.02)


def assert_whole(company: Company) -> None:
    """Whatever a party has left is a whole file of its kind."""
    kept = [file for name in company.names for file in company.out(name).rglob("*") if file.is_file()]
    for file in kept:
        if file.name.startswith(".") or file.suffix == ".draft":
            continue  # being written: it has no name yet that anybody would look for
        match file.suffix:
            case ".json":
                json.loads(file.read_text())
            case ".jsonl":
                assert all(json.loads(line) for line in file.read_text().splitlines())
            case ".safetensors":
                with safe_open(file, "pt") as tensors:
                    assert list(tensors.keys())
            case ".csv":
                with file.open(newline="") as rows:
                    widths = {len(row) for row in csv.reader(rows)}
                assert len(widths) == 1, file
                assert file.read_text().endswith("\n"), file
            case other:
                raise AssertionError(f"{file}: a test of {other} files is missing")
    adapter = company.out("developer") / "adapter"
    if adapter.exists():
        assert {file.name for file in adapter.iterdir()} >= {"adapter_config.json", "adapter_model.safetensors"}
    for name in ("developer", "auditor"):
        ledger = company.folder / "states" / name / "ledger"
        if (ledger / "ledger.jsonl").exists():
            verify(ledger)  # a torn last line is what a killed writer may leave; anything else is an error


def assert_named(ended: dict[str, Ended], victim: str, since: float, within: float) -> None:
    """All of them ended in time with the exit code of a loss and one line that names the party really lost."""
    for name, end in ended.items():
        assert end.code == LOST, (name, end)
        assert end.at - since < within, (name, end.at - since)
        complaints = [line for line in end.said.splitlines() if line.startswith("error: ")]
        assert len(complaints) == 1, (name, end.said)
        assert complaints[0].startswith(f"error: lost {victim}: "), (name, complaints)
        assert "Traceback" not in end.said, name


@pytest.mark.parametrize("victim", PARTIES)
def test_a_killed_party_is_named_within_seconds(tmp_path: Path, weights: Path, stores: Path, victim: str) -> None:
    with Company(lasting(weights), stores, tmp_path, timeout=TIMEOUT) as company:
        wait_for_epoch(company, 2)
        since = company.signal(victim, signal.SIGKILL)
        ended = company.wait(SOON + 10)
    assert ended.pop(victim).code == -signal.SIGKILL
    assert_named(ended, victim, since, SOON)
    assert_whole(company)


@pytest.mark.parametrize("victim", ["auditor", *(pytest.param(name, marks=pytest.mark.long) for name in OTHERS)])
def test_a_stalled_party_is_named_after_the_timeout(tmp_path: Path, weights: Path, stores: Path, victim: str) -> None:
    with Company(lasting(weights), stores, tmp_path, timeout=BRIEF) as company:
        wait_for_epoch(company, 2)
        since = company.signal(victim, signal.SIGSTOP)
        ended = company.wait(BRIEF + SOON + 10, without=victim)
        company.signal(victim, signal.SIGCONT)
        woken = company.wait(BRIEF + SOON + 10)[victim]
    assert_named(ended, victim, since, BRIEF + SOON)
    assert woken.code in (4, LOST)  # it finds that the others have gone
    assert "Traceback" not in woken.said
    assert_whole(company)


@pytest.mark.parametrize("artefact", ["adapter", "predictions.csv", "result.json"])
def test_a_developer_killed_while_it_saves_leaves_whole_files(
    tmp_path: Path, weights: Path, stores: Path, artefact: str
) -> None:
    scenario = tiny(weights, train={"epochs": 1}, method={"name": "erm"})
    with Company(scenario, stores, tmp_path, entries={"developer": stay}) as company:
        wait_for_epoch(company, 1)
        awaited, deadline = company.out("developer") / artefact, time.monotonic() + 100
        while not os.path.exists(awaited):  # as fast as can be: it is to be hit in the act
            assert time.monotonic() < deadline
        company.signal("developer", signal.SIGKILL)
        assert company.wait(60)["developer"].code == -signal.SIGKILL
        assert_whole(company)


def test_a_party_that_never_comes_is_named(tmp_path: Path, weights: Path, stores: Path) -> None:
    with Company(lasting(weights), stores, tmp_path, timeout=BRIEF, entries={"dealer": stay_away}) as company:
        ended = company.wait(60)
    ended.pop("dealer")
    for name, end in ended.items():
        assert end.code == LOST, (name, end)
        assert "error: lost dealer: " in end.said, (name, end.said)
        assert f"not connected within {BRIEF:g} s" in end.said, (name, end.said)


def stay(arguments: list[str]) -> None:
    """A party that is still there when all is done: whoever kills it is never too late."""
    try:
        program(arguments)
    finally:
        time.sleep(100)


def stay_away(arguments: list[str]) -> None:
    """A party that ends before it begins."""


def give_up(error: type[SecureFairError], arguments: list[str]) -> None:
    """An auditor that leaves with a refusal at its second moment, instead of refusing that one request."""
    honest, seen = AuditorService._admit, []

    def admit(self: AuditorService, ask: Ask, records: np.ndarray) -> list[Grant]:
        seen.append(ask.operation)
        if seen.count("moment") == 2:
            raise error("no more")
        return honest(self, ask, records)

    AuditorService._admit = admit  # type: ignore[method-assign]
    program(arguments)


@pytest.mark.parametrize(("error", "code"), [(BudgetExceeded, 3), (Refusal, 4)], ids=["budget", "refusal"])
def test_nobody_goes_on_without_an_auditor_that_has_refused_and_gone(
    tmp_path: Path, weights: Path, stores: Path, error: type[SecureFairError], code: int
) -> None:
    """A budget that is spent for one request is gone on without; an auditor that has gone is not."""
    scenario = tiny(weights, method={"name": "parity"}, train={"epochs": 4})
    with Company(scenario, stores, tmp_path, entries={"auditor": partial(give_up, error)}) as company:
        ended = company.wait(100)
    assert {name: end.code for name, end in ended.items()} == {"auditor": code, "developer": code, "dealer": code}
    assert "auditor: it has stopped: no more" in ended["developer"].said
    assert "epoch 2/" not in ended["developer"].said
    assert not (company.out("developer") / "adapter").exists()


@pytest.mark.long
@pytest.mark.timeout(300)
@pytest.mark.parametrize("case", range(100))
def test_any_party_at_any_moment(tmp_path: Path, weights: Path, stores: Path, case: int) -> None:
    chance = random.Random(case)
    victim = chance.choice(PARTIES)
    stalls = chance.random() < 0.3
    scenario = lasting(weights) if chance.random() < 0.5 else tiny(weights)  # the short one is hit while it ends, too
    with Company(scenario, stores, tmp_path, timeout=TIMEOUT) as company:
        time.sleep(chance.uniform(0, 4))
        try:
            since = company.signal(victim, signal.SIGSTOP if stalls else signal.SIGKILL)
        except ProcessLookupError:  # it was faster, with all that it had to do
            company.succeed()
            return
        ended = company.wait(2 * TIMEOUT + SOON + 10, without=victim)
        if stalls:
            company.signal(victim, signal.SIGCONT)
        company.wait(2 * TIMEOUT + SOON + 10)
    assert_whole(company)
    for name, end in ended.items():  # who had no more need of the victim has ended well
        assert end.code in (0, LOST), (name, end)
        if end.code:
            assert end.at - since < TIMEOUT + SOON, (name, end.at - since)
            assert f"error: lost {victim}: " in end.said, (name, end.said)
