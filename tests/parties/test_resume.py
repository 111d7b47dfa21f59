"""A run whose party was killed is gone on with: the same model, nothing paid twice, and no state that was changed."""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import signal
import stat
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

import parties.auditor
from parties import checkpoints
from parties.checkpoints import packed, unpacked
from parties.continuity import Memory
from parties.developer import SecureAuditors
from scenarios.launch import run_plain
from scenarios.progress import LineReporter
from scenarios.schema import Scenario
from secure_fair.mpc import keys
from secure_fair.operations.common.ask import Ask
from tests.parties.company import Company, Ended, Entry, secure_fair, tiny, write_stores
from tests.parties.test_agreement import TOLERANCE, assert_ledgers_agree, distance, updates
from tests.parties.test_lost_parties import wait_for_epoch

EPOCHS = 3
KILLED = -signal.SIGKILL


def short(weights: Path, **sections: Mapping[str, Any]) -> Scenario:
    data, train = {"records": 160}, {"epochs": EPOCHS, "batch_size": 40}
    return tiny(weights, data=data, train=train, lora={"rank": 4, "last_blocks": 1}, **sections)


@pytest.fixture(scope="module")
def few(tmp_path_factory: pytest.TempPathFactory, weights: Path) -> Path:
    folder = tmp_path_factory.mktemp("few")
    write_stores(short(weights), folder)
    return folder


# --- who is killed, and when ------------------------------------------------------------------------------------------


def die() -> None:
    os.kill(os.getpid(), signal.SIGKILL)


def developer_after_epoch(epoch: int, arguments: list[str]) -> None:
    """Killed when the parties have agreed on the state of this epoch."""
    honest = SecureAuditors.keep

    def keep(self: SecureAuditors, kept: Any, epochs: int, state: Callable[[], dict[str, Any]]) -> None:
        honest(self, kept, epochs, state)
        if epochs == epoch:
            die()

    SecureAuditors.keep = keep  # type: ignore[method-assign]
    secure_fair(arguments)


def developer_at_release(number: int, operation: str, before: bool, arguments: list[str]) -> None:
    """Killed at a release of this operation: ``before`` it has kept the value, or once it has it for good."""
    seen: list[str] = []
    name = "_compute" if before else "release"
    honest = getattr(SecureAuditors, name)

    def release(self: SecureAuditors, ask: Ask, *rest: Any) -> Any:
        value = honest(self, ask, *rest)
        seen.append(ask.operation)
        if seen.count(operation) == number:
            die()
        return value

    setattr(SecureAuditors, name, release)
    secure_fair(arguments)


def auditor_in_epoch(epoch: int, arguments: list[str]) -> None:
    """Killed when it has its own state of this epoch, before it says so: the developer's does not count."""
    honest = parties.auditor.keep_own

    def keep_own(network: Any, kept: Any, shared: Any, message: Any, developer: str) -> None:
        if message.epoch == epoch:
            network.send = lambda *_: die()
        honest(network, kept, shared, message, developer)

    parties.auditor.keep_own = keep_own  # type: ignore[assignment]
    secure_fair(arguments)


@dataclass
class Crashed:
    """A run one of whose parties was killed: where the states are."""

    scenario: Scenario
    stores: Path
    folder: Path
    states: Path = field(init=False)

    def __post_init__(self) -> None:
        self.states = self.folder / "states"

    def crash(self, entries: Mapping[str, Entry]) -> None:
        with Company(self.scenario, self.stores, self.folder / "first", states=self.states, entries=entries) as company:
            ended = company.wait(100)
        assert any(end.code == KILLED for end in ended.values()), {name: end.said for name, end in ended.items()}

    def go_on(self, number: int = 2, entries: Mapping[str, Entry] | None = None, states: Path | None = None) -> Company:
        return Company(
            self.scenario,
            self.stores,
            self.folder / f"process-{number}",
            states=states or self.states,
            resume=True,
            entries=entries or {},
        )

    def entries(self, party: str) -> list[dict[str, Any]]:
        lines = (self.states / party / "ledger" / "ledger.jsonl").read_text().splitlines()
        return [json.loads(line) for line in lines]


def planned(crashed: Crashed, operation: str) -> int:
    return sum(e["kind"] == "planned" and e["operation"] == operation for e in crashed.entries("auditor"))


def plain_updates(scenario: Scenario, stores: Path, folder: Path) -> dict[str, Tensor]:
    run_plain(scenario, stores, folder, LineReporter())
    return updates(scenario, folder / "developer")


# --- the same model ---------------------------------------------------------------------------------------------------

CASES: dict[str, tuple[Mapping[str, Any], str, Entry]] = {
    "erm": ({"name": "erm"}, "developer", partial(developer_after_epoch, 2)),
    "parity": (
        {"name": "parity", "release": "moments", "strength": 20.0},
        "developer",
        partial(developer_at_release, 2, "moment", False),
    ),
    "adv": ({"name": "adv", "release": "rows", "strength": 0.5}, "auditor", partial(auditor_in_epoch, 2)),
}


@pytest.mark.parametrize("case", ["parity", *(pytest.param(name, marks=pytest.mark.slow) for name in ("erm", "adv"))])
def test_a_run_that_is_gone_on_with_ends_with_the_same_model(
    tmp_path: Path, weights: Path, few: Path, case: str
) -> None:
    """Bit by bit; with an adversary on shares but for the rounding of fixed point, which differs from run to run."""
    method, victim, entry = CASES[case]
    scenario = short(weights, method=method)
    crashed = Crashed(scenario, few, tmp_path)
    crashed.crash({victim: entry})
    with crashed.go_on() as company:
        company.succeed()
    expected, found = plain_updates(scenario, few, tmp_path), updates(scenario, company.out("developer"))
    for part, moved in expected.items():
        assert distance(found[part], moved) <= (TOLERANCE if case == "adv" else 0), part
    rounds = (company.out("developer") / "rounds.jsonl").read_text().splitlines()
    assert [json.loads(line)["epoch"] for line in rounds] == [1, 2, 3]
    assert_nothing_is_kept(crashed)
    shutil.copytree(crashed.states, company.folder / "states")
    assert_ledgers_agree(scenario, company.folder)


def assert_nothing_is_kept(crashed: Crashed) -> None:
    """The run has ended, and with it all state of it."""
    assert not any((crashed.states / name / "runs").exists() for name in ("developer", "auditor"))


def test_a_party_that_is_told_to_end_says_goodbye_and_keeps_its_state(tmp_path: Path, weights: Path, few: Path) -> None:
    scenario = short(weights, method={"name": "parity"})
    scenario = scenario.model_copy(update={"train": scenario.train.model_copy(update={"epochs": 200})})
    crashed = Crashed(scenario, few, tmp_path)
    with Company(scenario, few, tmp_path / "first", states=crashed.states, simulated=False) as company:
        wait_for_epoch(company, 2)
        company.signal("auditor", signal.SIGTERM)
        ended = company.wait(60)
    assert ended["auditor"].code == 130
    assert {ended[name].code for name in ("developer", "dealer")} == {5}
    assert "lost auditor: it has stopped: it was told to end" in ended["developer"].said
    for name in ("developer", "auditor"):
        note = json.loads((company.out(name) / "failed.json").read_text())
        assert (note["status"], note["party"]) == ("failed", name)
        assert note["epochs"] >= 1
        assert "once all parties are back, go on with: secure-fair" in ended[name].said
        assert list((crashed.states / name / "runs").glob("*/epoch-*.pt"))


# --- nothing is paid twice --------------------------------------------------------------------------------------------

NOISED = {"epsilon": 3.0, "reserve_releases": 1}


@pytest.fixture(scope="module")
def interrupted(tmp_path_factory: pytest.TempPathFactory, weights: Path, few: Path) -> Crashed:
    """A noised run whose developer was killed in the middle of epoch 2, with the answer that epoch 2 begins with."""
    scenario = short(weights, method={"name": "parity"}, privacy=NOISED)
    crashed = Crashed(scenario, few, tmp_path_factory.mktemp("interrupted"))
    crashed.crash({"developer": partial(developer_at_release, 2, "moment", False)})
    return crashed


def copied(crashed: Crashed, folder: Path) -> Crashed:
    shutil.copytree(crashed.states, folder / "states")
    return Crashed(crashed.scenario, crashed.stores, folder)


@pytest.mark.slow
def test_an_answer_that_was_given_is_given_again_and_not_paid_again(interrupted: Crashed, tmp_path: Path) -> None:
    crashed = copied(interrupted, tmp_path)
    with crashed.go_on() as company:
        company.succeed()
    assert planned(crashed, "moment") == EPOCHS
    assert planned(crashed, "group_counts") == 1
    numbers = [e["number"] for e in crashed.entries("developer") if e["kind"] == "received"]
    assert len(numbers) == len(set(numbers)) == EPOCHS + 1
    account = json.loads((company.out("auditor") / "party.json").read_text())["privacy"]["male"]
    assert account["epsilon"] < NOISED["epsilon"]


@pytest.mark.slow
def test_an_answer_that_never_came_is_written_down_as_missed(tmp_path: Path, weights: Path, few: Path) -> None:
    """It was let out, and the process that it came to died with it: it is paid for, and another in its place."""
    scenario = short(weights, method={"name": "parity"}, privacy=NOISED)
    crashed = Crashed(scenario, few, tmp_path)
    crashed.crash({"developer": partial(developer_at_release, 2, "moment", True)})
    with crashed.go_on() as company:
        company.succeed()
    lost = [entry for entry in crashed.entries("developer") if entry["kind"] == "missed"]
    assert [(entry["auditor"], entry["number"]) for entry in lost] == [("auditor", 3)]
    assert planned(crashed, "moment") == EPOCHS + 1
    shutil.copytree(crashed.states, company.folder / "states")
    assert_ledgers_agree(scenario, company.folder)


def forgetful(states: Path) -> None:
    """A developer that has thrown away what it was told, so as to be told anew with fresh noise, and to average."""
    for file in states.glob("developer/runs/*/answers/*.npz"):
        file.unlink()


def forgotten(entry: Entry, arguments: list[str]) -> None:
    """A party that neither remembers another's ledger nor is asked about its own."""
    Memory.check = lambda *_: None  # type: ignore[method-assign]
    entry(arguments)


def unchecked(arguments: list[str]) -> None:
    """An auditor that goes on from its state whatever its ledger has."""
    checkpoints.Checkpoints.load = lambda self, epoch, _: unpacked(self._read(epoch))["state"]  # type: ignore[method-assign]
    secure_fair(arguments)


def told_anew(
    crashed: Crashed, times: int, *, ledger: bool, remembered: bool = True, auditor: Entry = secure_fair
) -> tuple[int, dict[str, Ended]]:
    """How many processes got the moment of epoch 2 anew, and how the last ended; ``ledger``: is it still there?"""
    won, ended = 0, {}
    for number in range(times):
        forgetful(crashed.states)
        if not ledger:
            shutil.rmtree(crashed.states / "auditor" / "ledger")
        developer: Entry = partial(developer_at_release, 1, "moment", False)
        entries = {"developer": developer, "auditor": auditor}
        if not remembered:
            entries = {name: partial(forgotten, entry) for name, entry in entries.items()}
        with crashed.go_on(10 + number, entries) as company:
            ended = company.wait(100)
        if ended["developer"].code != KILLED:
            break
        won += 1
    return won, ended


def test_a_developer_that_forgets_what_it_was_told_pays_for_every_answer(interrupted: Crashed, tmp_path: Path) -> None:
    """There is one in reserve; then the run goes on without. The ledger decides, not the state that is restored."""
    crashed = copied(interrupted, tmp_path)
    won, ended = told_anew(crashed, 3, ledger=True)
    assert (won, ended["developer"].code) == (NOISED["reserve_releases"], 0)
    assert planned(crashed, "moment") <= EPOCHS + NOISED["reserve_releases"]
    account = json.loads((crashed.folder / "process-11" / "auditor-auditor" / "party.json").read_text())
    assert account["privacy"]["male"]["epsilon"] <= NOISED["epsilon"] * (1 + 1e-9)


@pytest.mark.slow
def test_an_auditor_whose_ledger_is_older_than_its_state_does_not_go_on(interrupted: Crashed, tmp_path: Path) -> None:
    """The developer remembers more of it, and the state names an entry that it lacks; without both it is asked as often
    as the developer likes, and the noise averages out."""
    won, ended = told_anew(copied(interrupted, tmp_path / "remembered"), 1, ledger=False)
    assert (won, ended["auditor"].code) == (0, 4)
    assert "the ledger of auditor does not go on from entry" in ended["developer"].said
    won, ended = told_anew(copied(interrupted, tmp_path / "checked"), 1, ledger=False, remembered=False)
    assert (won, ended["auditor"].code) == (0, 2)
    assert "lacks an entry that was there when epoch 1 of run" in ended["auditor"].said
    free = copied(interrupted, tmp_path / "not")
    assert told_anew(free, 2, ledger=False, remembered=False, auditor=unchecked)[0] == 2


# --- whose state was changed ------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def halved(tmp_path_factory: pytest.TempPathFactory, weights: Path, few: Path) -> Crashed:
    """A run with an adversary on shares, killed when the parties had agreed on their state of epoch 1."""
    scenario = short(weights, method={"name": "adv", "release": "rows", "strength": 0.5})
    crashed = Crashed(scenario, few, tmp_path_factory.mktemp("halved"))
    crashed.crash({"developer": partial(developer_after_epoch, 1)})
    return crashed


def rewrite(crashed: Crashed, party: str, change: Callable[[dict[str, Any]], None], *, mark: bool = True) -> None:
    """Change a party's state of epoch 1, and its own note of the digest along with it."""
    (file,) = (crashed.states / party / "runs").glob("*/epoch-1.pt")
    tree = unpacked(file.read_bytes())
    change(tree["state"])
    file.write_bytes(packed(tree))
    if mark:
        note = json.loads(file.with_suffix(".json").read_text())
        note["own"] = hashlib.sha256(file.read_bytes()).hexdigest()
        file.with_suffix(".json").write_text(json.dumps(note))


def move_share(state: dict[str, Any]) -> None:
    state["adversaries"]["male"] = state["adversaries"]["male"] + 2**12


def reorder(state: dict[str, Any]) -> None:
    """The batches of the epochs to come in another order."""
    state["training"]["carried"]["order"] = torch.Generator().manual_seed(99).get_state()


@pytest.mark.parametrize(("party", "change"), [("auditor", move_share), ("developer", reorder)])
def test_a_state_that_was_changed_is_refused_by_whoever_was_told_of_it(
    halved: Crashed, tmp_path: Path, party: str, change: Callable[[dict[str, Any]], None]
) -> None:
    crashed = copied(halved, tmp_path)
    rewrite(crashed, party, change)
    with crashed.go_on() as company:
        ended = company.wait(60)
    other = "developer" if party == "auditor" else "auditor"
    assert ended[other].code == 4
    assert f"the state that {party} has kept of epoch 1 is not the one that it named then" in ended[other].said
    assert planned(crashed, "adversary_rows") == planned(halved, "adversary_rows")


@pytest.mark.slow
def test_without_the_digests_a_changed_state_is_gone_on_from(halved: Crashed, tmp_path: Path) -> None:
    crashed = copied(halved, tmp_path)
    rewrite(crashed, "auditor", move_share)
    with crashed.go_on(2, {"developer": believing}) as company:
        company.succeed()


def believing(arguments: list[str]) -> None:
    """A developer that does not look at digests."""
    import parties.resuming

    parties.resuming._check_digest = lambda *_: None  # type: ignore[assignment]
    secure_fair(arguments)


@pytest.mark.slow
def test_a_torn_state_is_named_where_it_is(halved: Crashed, tmp_path: Path) -> None:
    crashed = copied(halved, tmp_path)
    rewrite(crashed, "auditor", move_share, mark=False)
    with crashed.go_on() as company:
        ended = company.wait(60)
    assert ended["auditor"].code == 4
    assert "epoch-1.pt: was changed since it was written" in ended["auditor"].said
    assert str(crashed.states) not in ended["developer"].said


@pytest.mark.slow
@pytest.mark.parametrize("what", ["scenario", "one alone"])
def test_another_scenario_and_one_party_alone_are_refused(halved: Crashed, tmp_path: Path, what: str) -> None:
    crashed = copied(halved, tmp_path)
    if what == "scenario":  # of all of them, or they would not even meet
        crashed.scenario = crashed.scenario.model_copy(update={"seed": 99})
        with crashed.go_on() as company:
            ended = company.wait(60)
        assert "was begun with another scenario" in ended["developer"].said
        assert ended["developer"].code == 2
        return
    with crashed.go_on(2, {"auditor": alone}) as company:
        ended = company.wait(60)
    assert {end.code for end in ended.values()} <= {4, 5}
    assert any("do not agree on --resume" in end.said for end in ended.values())


def alone(arguments: list[str]) -> None:
    """A party that begins anew."""
    secure_fair([word for word in arguments if word != "--resume"])


# --- what is kept -----------------------------------------------------------------------------------------------------


def noting_keys(file: str, arguments: list[str]) -> None:
    """A party that writes down the keys of its session."""
    honest = keys.agree

    def agree(network: Any, peers: Sequence[str], source: Any) -> tuple[dict[str, bytes], bool]:
        agreed, private = honest(network, peers, source)
        with Path(file).open("ab") as noted:
            noted.write(b"".join(agreed.values()) + source.key)
        return agreed, private

    keys.agree = agree  # type: ignore[assignment]
    secure_fair(arguments)


@pytest.mark.slow
def test_a_run_that_is_gone_on_with_has_new_keys_and_none_is_kept(halved: Crashed, tmp_path: Path) -> None:
    """A mask is never used twice: nothing that masks are made from outlives its session."""
    seen: list[bytes] = []
    crashed = copied(halved, tmp_path)
    for number in (1, 2):
        file = tmp_path / f"keys-{number}"
        with copied(crashed, tmp_path / str(number)).go_on(
            number, {name: partial(noting_keys, str(file)) for name in ("developer", "auditor")}
        ) as company:
            company.succeed()
        noted = file.read_bytes()
        seen += [noted[at : at + 32] for at in range(0, len(noted), 32)]
    assert len(seen) == 12
    assert len(set(seen)) == 10  # the key of developer and auditor is both of theirs
    for path in crashed.states.rglob("*"):
        content = path.read_bytes() if path.is_file() else b""
        assert not any(key in content or key.hex().encode() in content for key in seen), path


def test_two_parties_states_are_the_adversary_and_one_is_not(halved: Crashed) -> None:
    """What a state gives away: with the other's share the weights, alone nothing. Each is for its owner alone."""
    shares = {}
    for party in ("developer", "auditor"):
        (file,) = (halved.states / party / "runs").glob("*/epoch-1.pt")
        shares[party] = unpacked(file.read_bytes())["state"]["adversaries"]["male"]
        folder = file.parent
        for path in (folder, *folder.rglob("*")):
            assert stat.S_IMODE(path.stat().st_mode) & 0o077 == 0, path
    weights = (shares["developer"] + shares["auditor"]).double() / 2**16
    assert 0 < float(weights.norm()) <= 8
    for share in shares.values():
        assert float((share.double() / 2**16).abs().median()) > 2**20
