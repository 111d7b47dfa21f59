"""A run that has ended at one party has ended at all, whoever is killed between the last words; or all go on."""

from __future__ import annotations

import json
import os
import shutil
import signal
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

import secure_fair.parties.auditor
import secure_fair.parties.checkpoints
import secure_fair.parties.developer
import secure_fair.parties.secure_auditors
from secure_fair.errors import DamagedFile, Refusal
from secure_fair.mpc.transport import Network
from secure_fair.parties import messages
from secure_fair.parties.checkpoints import ENDED, RUNS, Checkpoints, RunEnd, forget_end, unfinished
from secure_fair.parties.ending import ended_before
from secure_fair.parties.messages import Ended as SaidToHaveEnded
from secure_fair.parties.messages import Own
from secure_fair.parties.sealing import CERTIFICATE
from secure_fair.privacy.ledger import Ledger
from secure_fair.scenarios.launch import run_plain
from secure_fair.scenarios.progress import LineReporter
from secure_fair.scenarios.schema import Scenario
from tests.parties.company import APART, Company, Ended, Entry, program, tiny, write_stores
from tests.parties.test_agreement import assert_ledgers_agree, distance, updates

CLAIM = "selection rate difference by male <= 0.99"
DEAD = -signal.SIGKILL


def die(*_: Any) -> None:
    os.kill(os.getpid(), signal.SIGKILL)


def auditor_that_hears_no_end(arguments: list[str]) -> None:
    """It has said that its results are written, and is killed."""
    secure_fair.parties.auditor.wait_for_end = die  # type: ignore[assignment]
    program(arguments)


def developer_that_notes_no_end(arguments: list[str]) -> None:
    """It has every auditor's word, and is killed before it has noted that."""
    secure_fair.parties.developer.end = die  # type: ignore[assignment]
    program(arguments)


def developer_that_tells_no_end(arguments: list[str]) -> None:
    """It has noted that the run has ended, and is killed before it has told anybody."""
    honest = secure_fair.parties.developer.end

    def end(config: Any, network: Network, *rest: Any) -> None:
        network.send = die  # type: ignore[method-assign]
        honest(config, network, *rest)

    secure_fair.parties.developer.end = end  # type: ignore[assignment]
    program(arguments)


def auditor_that_removes_a_half(arguments: list[str]) -> None:
    """It is killed while it removes its state."""
    secure_fair.parties.checkpoints.shutil.rmtree = die  # type: ignore[assignment]
    program(arguments)


def short(weights: Path, **sections: Mapping[str, Any]) -> Scenario:
    data, train = {"records": 160}, {"epochs": 2, "batch_size": 40}
    method = {"name": "parity", "release": "moments", "strength": 20.0}
    given = {"data": data, "train": train, "lora": {"rank": 4, "last_blocks": 1}, "method": method} | sections
    return tiny(weights, **given)


@pytest.fixture(scope="module")
def few(tmp_path_factory: pytest.TempPathFactory, weights: Path) -> Path:
    folder = tmp_path_factory.mktemp("few")
    write_stores(short(weights), folder)
    return folder


def killed(scenario: Scenario, stores: Path, folder: Path, victim: str, entry: Entry) -> Company:
    """A company of which one is killed at its end; the others' states are left below ``folder``."""
    states = folder / "states"
    with Company(scenario, stores, folder / "first", states=states, entries={victim: entry}) as company:
        ended = company.wait(100)
    assert ended[victim].code == DEAD, ended
    assert {end.code for name, end in ended.items() if name != victim} <= {0, 5}, ended
    return company


def go_on(
    first: Company, entries: Mapping[str, Entry] | None = None, name: str = "second"
) -> tuple[Company, dict[str, Ended]]:
    folder = first.folder.with_name(name)
    given = {"states": first.states, "resume": True, "entries": entries or {}}
    with Company(first.scenario, first.stores, folder, **given) as company:  # type: ignore[arg-type]
        return company, company.wait(100)


@pytest.mark.parametrize(
    ("victim", "entry", "noted"),
    [
        ("auditor", auditor_that_hears_no_end, True),
        pytest.param("auditor", auditor_that_removes_a_half, True, marks=pytest.mark.slow),
        ("developer", developer_that_notes_no_end, False),
        pytest.param("developer", developer_that_tells_no_end, True, marks=pytest.mark.slow),
    ],
)
def test_whoever_is_killed_at_the_end_all_come_to_the_same_one(
    tmp_path: Path, weights: Path, few: Path, victim: str, entry: Entry, noted: bool
) -> None:
    scenario = short(weights)
    first = killed(scenario, few, tmp_path, victim, entry)
    company, ended = go_on(first)
    assert {end.code for end in ended.values()} == {0}, ended
    assert ("has ended here" in ended["developer"].said) is noted
    has_heard = entry is not auditor_that_hears_no_end and victim == "auditor"
    assert ("has ended, with this party's results in" in ended["auditor"].said) is (noted and not has_heard)
    run_plain(scenario, few, tmp_path, LineReporter())
    where = first if noted else company
    expected, found = updates(scenario, tmp_path / "developer"), updates(scenario, where.out("developer"))
    assert all(distance(found[part], moved) == 0 for part, moved in expected.items())
    assert all((where.out(name) / "ledger.jsonl").exists() for name in ("developer", "auditor"))
    assert not any((tmp_path / "states" / name / "runs").exists() for name in ("developer", "auditor"))
    shutil.copytree(tmp_path / "states", where.folder / "states")
    assert_ledgers_agree(scenario, where.folder)


@pytest.mark.slow
def test_an_end_that_was_noted_is_told_as_often_as_it_takes(tmp_path: Path, weights: Path, few: Path) -> None:
    first = killed(short(weights), few, tmp_path, "developer", developer_that_tells_no_end)
    for _ in range(2):
        company, ended = go_on(first)
        assert {end.code for end in ended.values()} == {0}, ended
        shutil.rmtree(company.folder)


@pytest.mark.slow
def test_a_certificate_is_sealed_once(tmp_path: Path, weights: Path, few: Path) -> None:
    """The dealer, who signs nothing anew, ends as well."""
    scenario = short(weights, secure={"claims": [CLAIM]})
    stores = tmp_path / "stores"
    write_stores(scenario, stores)
    first = killed(scenario, stores, tmp_path, "auditor", auditor_that_hears_no_end)
    sealed = (first.out("developer") / CERTIFICATE).read_bytes()
    company, ended = go_on(first)
    assert {end.code for end in ended.values()} == {0}, ended
    assert (first.out("developer") / CERTIFICATE).read_bytes() == sealed
    assert not (company.out("developer") / CERTIFICATE).exists()


def developer_in_the_middle(arguments: list[str]) -> None:
    """It is killed after the first whole epoch."""
    honest = secure_fair.parties.secure_auditors.keep_epoch

    def keep_epoch(*given: Any) -> None:
        honest(*given)
        die()

    secure_fair.parties.secure_auditors.keep_epoch = keep_epoch  # type: ignore[assignment]
    program(arguments)


def note_falsely(arguments: list[str]) -> None:
    """Say that a run has ended which has not."""
    state = Path(arguments[arguments.index("--state") + 1])
    (run,) = (state / RUNS).iterdir()
    RunEnd(run.name, str(state), json.loads((run / "begun.json").read_bytes())).keep(state)
    program(arguments)


def auditor_that_believes_it(arguments: list[str]) -> None:
    """It does not look whether its own results are written."""
    Checkpoints.concluded = "somewhere"  # type: ignore[assignment,method-assign]
    program(arguments)


@pytest.mark.slow
def test_an_auditor_that_does_not_look_loses_its_state(tmp_path: Path, weights: Path, few: Path) -> None:
    first = killed(short(weights), few, tmp_path, "developer", developer_in_the_middle)
    _, ended = go_on(first, {"developer": note_falsely, "auditor": auditor_that_believes_it})
    assert {end.code for end in ended.values()} == {0}, ended
    assert not (tmp_path / "states" / "auditor" / RUNS).exists()


def developer_that_seals_nothing(arguments: list[str]) -> None:
    """It says that the run has ended where all are about to sign."""

    def seal(config: Any, endpoint: Any, network: Network, run: str, *rest: Any) -> bytes:
        for name in (*config.auditors, config.dealer):
            messages.expect(network, name, Own)
            messages.send(network, name, SaidToHaveEnded(run=run))
        return b"{}"

    secure_fair.parties.developer.seal = seal
    program(arguments)


@pytest.mark.slow
def test_nobody_leaves_unsigned_because_the_developer_says_so(tmp_path: Path, weights: Path) -> None:
    scenario, stores = short(weights, secure={"claims": [CLAIM]}), tmp_path / "stores"
    write_stores(scenario, stores)
    with Company(scenario, stores, tmp_path / "first", entries={"developer": developer_that_seals_nothing}) as company:
        ended = company.wait(100)
    assert all(ended[name].code != 0 for name in ("auditor", "dealer")), ended
    assert any("where 'seal' was due" in end.said for end in ended.values())


def test_an_auditor_that_has_written_nothing_ends_no_run(tmp_path: Path, weights: Path, few: Path) -> None:
    first = killed(short(weights), few, tmp_path, "developer", developer_in_the_middle)
    _, ended = go_on(first, {"developer": note_falsely})
    assert {end.code for end in ended.values()} == {4}, ended
    assert "auditor has not written its results of it" in ended["developer"].said
    (run,) = (tmp_path / "states" / "auditor" / "runs").iterdir()
    assert list(run.glob("epoch-1.*"))


@pytest.mark.slow
def test_of_two_auditors_each_ends_once(tmp_path: Path, weights: Path) -> None:
    scenario = short(weights, data={"records": 160, "sensitive": ["male", "young"]}, secure={"auditors": APART})
    write_stores(scenario, tmp_path / "stores")
    first = killed(scenario, tmp_path / "stores", tmp_path, "clinic", auditor_that_hears_no_end)
    _, ended = go_on(first)
    assert {end.code for end in ended.values()} == {0}, ended
    assert not any((tmp_path / "states" / name / RUNS).exists() for name in ("developer", "registry", "clinic"))


@pytest.mark.slow
def test_an_older_run_is_gone_on_with_once_all_know_of_the_newest_s_end(
    tmp_path: Path, weights: Path, few: Path
) -> None:
    older = killed(short(weights), few, tmp_path, "developer", developer_in_the_middle)
    with Company(older.scenario, few, tmp_path / "newer", states=older.states) as newer:
        newer.succeed()
    for name, said in (("third", "has ended here"), ("fourth", "going on with run")):
        _, ended = go_on(older, name=name)
        assert {end.code for end in ended.values()} == {0}, ended
        assert said in ended["developer"].said
    assert not any((tmp_path / "states" / name / RUNS).exists() for name in ("developer", "auditor"))


AGREED = {"scenario": "one", "--resume": "not given"}


@pytest.fixture
def developer(tmp_path: Path) -> Ledger:
    """A developer's ledger, in whose state run A has ended."""
    ledger = Ledger(tmp_path / "ledger", "developer", simulated=True)
    Checkpoints.begin(tmp_path, "A", AGREED, ledger)
    ledger.start("A")
    RunEnd("A", "results", AGREED).keep(tmp_path)
    return ledger


def test_an_end_is_told_under_the_same_agreement_alone(tmp_path: Path, developer: Ledger) -> None:
    found = ended_before(tmp_path, developer, {**AGREED, "--resume": "given"})
    assert found is not None
    assert found.run == "A"
    assert ended_before(tmp_path, developer, {**AGREED, "scenario": "another"}) is None
    with pytest.raises(Refusal, match="has no run in --state"):
        unfinished(tmp_path, developer)


def test_a_new_run_takes_the_note_and_what_was_kept_of_the_old_one_away(tmp_path: Path, developer: Ledger) -> None:
    forget_end(tmp_path, developer)
    assert not (tmp_path / RUNS).exists()
    Checkpoints.begin(tmp_path, "B", AGREED, developer)  # and it is killed before its ledger knows of it
    assert ended_before(tmp_path, developer, AGREED) is None


@pytest.mark.parametrize("content", ["[]", "{}", '{"run": null, "out": "x"}', "null", "no JSON"])
def test_a_damaged_note_is_named(tmp_path: Path, developer: Ledger, content: str) -> None:
    (tmp_path / ENDED).write_text(content)
    with pytest.raises(DamagedFile, match=ENDED):
        ended_before(tmp_path, developer, AGREED)


@pytest.mark.slow
def test_an_auditor_ends_no_run_that_it_never_knew(tmp_path: Path, weights: Path, few: Path) -> None:
    """Its state is another one than that with which the run was made."""
    first = killed(short(weights), few, tmp_path, "auditor", auditor_that_hears_no_end)
    shutil.rmtree(tmp_path / "states" / "auditor")
    _, ended = go_on(first)
    assert {end.code for end in ended.values()} == {4}, ended
