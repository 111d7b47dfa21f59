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

import secure_fair.parties.auditor
import secure_fair.parties.continuity
import secure_fair.parties.developer
import secure_fair.parties.service
from secure_fair.mpc import keys
from secure_fair.operations.common.ask import Ask
from secure_fair.parties.checkpoints import Place, packed, unpacked
from secure_fair.parties.kept_answers import KeptAnswers
from secure_fair.parties.secure_auditors import SecureAuditors
from secure_fair.parties.service import AuditorService
from secure_fair.privacy.chain import head_line, verify
from secure_fair.scenarios.launch import run_plain
from secure_fair.scenarios.progress import LineReporter
from secure_fair.scenarios.schema import Scenario
from tests.parties.company import Company, Ended, Entry, program, tiny, write_stores
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
    program(arguments)


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
    program(arguments)


def auditor_in_epoch(epoch: int, arguments: list[str]) -> None:
    """Killed when it has its own state of this epoch, before it says so: the developer's does not count."""
    honest = secure_fair.parties.service.keep_own

    def keep_own(network: Any, kept: Any, shared: Any, message: Any, developer: str) -> None:
        if message.epoch == epoch:
            network.send = lambda *_: die()
        honest(network, kept, shared, message, developer)

    secure_fair.parties.service.keep_own = keep_own  # type: ignore[assignment]
    program(arguments)


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
    "histogram": (
        {"name": "parity", "release": "histogram", "strength": 20.0},
        "developer",
        partial(developer_at_release, 2, "moment", False),
    ),
    "adv": ({"name": "adv", "release": "rows", "strength": 0.5}, "auditor", partial(auditor_in_epoch, 2)),
}


@pytest.mark.parametrize(
    "case", ["parity", *(pytest.param(name, marks=pytest.mark.slow) for name in ("erm", "histogram", "adv"))]
)
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
    assert [(entry["auditor"], entry["numbers"]) for entry in lost] == [("auditor", [3])]
    assert planned(crashed, "moment") == EPOCHS + 1
    shutil.copytree(crashed.states, company.folder / "states")
    assert_ledgers_agree(scenario, company.folder)


def forgetful(states: Path) -> None:
    """A developer that has thrown away what it was told, so as to be told anew with fresh noise, and to average."""
    for file in states.glob("developer/runs/*/answers/*.npz"):
        file.unlink()


def denying(epoch: int, arguments: list[str]) -> None:
    """A developer that says it remembers nothing of the auditor's ledger, and goes on from whichever epoch it likes."""
    secure_fair.parties.continuity.remembered = lambda *_: None  # type: ignore[assignment]
    honest = secure_fair.parties.developer.agree_on_place
    secure_fair.parties.developer.agree_on_place = lambda *what: (Place(epoch), honest(*what)[1])  # type: ignore[assignment]
    developer_at_release(1, "moment", False, arguments)


def unchecked(arguments: list[str]) -> None:
    """An auditor that goes on from its state whatever its ledger has."""
    secure_fair.parties.auditor.check_ledger = lambda *_: None  # type: ignore[assignment]
    program(arguments)


def put_back(ledger: Path, entries: int) -> None:
    """Bring back a backup from when the ledger had so many entries: a sound one."""
    lines = (ledger / "ledger.jsonl").read_bytes().splitlines(keepends=True)[:entries]
    (ledger / "ledger.jsonl").write_bytes(b"".join(lines))
    (ledger / "ledger.head").write_bytes(head_line(entries, json.loads(lines[-1])["hash"]))
    assert verify(ledger).entries == entries


def told_anew(
    crashed: Crashed, times: int, *, backup: int = 0, developer: Entry | None = None, auditor: Entry = program
) -> tuple[int, dict[str, Ended]]:
    """How many processes got the moment of epoch 2 anew, and how the last ended; ``backup``: the entries of the ledger
    that is put back before each."""
    won, ended = 0, {}
    for number in range(times):
        forgetful(crashed.states)
        if backup:
            put_back(crashed.states / "auditor" / "ledger", backup)
        entries = {"developer": developer or partial(developer_at_release, 1, "moment", False), "auditor": auditor}
        with crashed.go_on(10 + number, entries) as company:
            ended = company.wait(100)
        if ended["developer"].code != KILLED:
            break
        won += 1
    return won, ended


def test_a_developer_that_forgets_what_it_was_told_pays_for_every_answer(interrupted: Crashed, tmp_path: Path) -> None:
    """There is one in reserve; then the run goes on without. The ledger decides, not the state that is restored."""
    crashed = copied(interrupted, tmp_path)
    won, ended = told_anew(crashed, 3)
    assert (won, ended["developer"].code) == (NOISED["reserve_releases"], 0)
    assert planned(crashed, "moment") <= EPOCHS + NOISED["reserve_releases"]
    account = json.loads((crashed.folder / "process-11" / "auditor-auditor" / "party.json").read_text())
    assert account["privacy"]["male"]["epsilon"] <= NOISED["epsilon"] * (1 + 1e-9)


@pytest.mark.slow
def test_an_auditor_whose_ledger_is_older_than_its_state_does_not_go_on(interrupted: Crashed, tmp_path: Path) -> None:
    """The developer remembers more of it. One that denies that, and begins at epoch 0, from which no state says
    anything of the ledger, is not even met: the auditor looks at its own. If it did not, all would be told anew."""
    kinds = [entry["kind"] for entry in interrupted.entries("auditor")]
    before = {"backup": kinds.index("planned")}  # nothing of the run was spent
    won, ended = told_anew(copied(interrupted, tmp_path / "remembered"), 1, auditor=unchecked, **before)
    assert (won, ended["auditor"].code) == (0, 4)
    assert "the ledger of auditor does not go on from entry" in ended["developer"].said
    denied = {"developer": partial(denying, 0), **before}
    won, ended = told_anew(copied(interrupted, tmp_path / "denied"), 1, **denied)
    assert (won, ended["auditor"].code) == (0, 2)
    assert "ledger: is older than run tiny-parity" in ended["auditor"].said
    assert told_anew(copied(interrupted, tmp_path / "unchecked"), 1, auditor=unchecked, **denied)[0] == 1


# --- an adversary on shares, between two epochs ----------------------------------------------------------------------

STEPS = 5  # of an epoch
DONE = STEPS + 3  # when somebody is killed: in the middle of epoch 2


def stepped(weights: Path) -> Scenario:
    train = {"epochs": EPOCHS, "batch_size": 16}
    method = {"name": "adv", "release": "rows", "strength": 0.5}
    trust = {"developer": "follows the protocol", "minimum_batch": 8}
    return short(weights, method=method, privacy=NOISED, policy=trust).model_copy(
        update={"train": short(weights).train.model_copy(update=train)}
    )


def auditor_before_opening(number: int, arguments: list[str]) -> None:
    """Killed when it has moved the adversary so many times, and paid, and nobody was told."""
    honest = AuditorService._keep_step

    def keep_step(self: AuditorService) -> None:
        honest(self)
        if self.place == divmod(number, STEPS):
            die()

    AuditorService._keep_step = keep_step  # type: ignore[method-assign]
    program(arguments)


@pytest.fixture(scope="module")
def midway(tmp_path_factory: pytest.TempPathFactory, weights: Path, few: Path) -> Crashed:
    """A noised run with an adversary on shares whose developer was killed when it had an answer for good."""
    crashed = Crashed(stepped(weights), few, tmp_path_factory.mktemp("midway"))
    crashed.crash({"developer": partial(developer_at_release, DONE, "adversary_rows", False)})
    return crashed


def test_both_have_their_shares_of_the_adversary_after_the_last_step(midway: Crashed) -> None:
    """Together they are weights within their ball; of another step's share the sum would be a number at random."""
    (answer,) = (midway.states / "developer" / "runs").glob(f"*/answers/*-{DONE // STEPS}-{DONE % STEPS}-*.npz")
    found = {}
    for step in (DONE % STEPS - 1, DONE % STEPS):
        (file,) = (midway.states / "auditor" / "runs").glob(f"*/step-{DONE // STEPS}-{step}.pt")
        found[step] = unpacked(file.read_bytes()[32:])["adversaries"]["male"]
    (share,) = KeptAnswers(answer.parent, Place(*divmod(DONE, STEPS))).shares.values()
    norms = {step: float((share + other).double().norm()) / 2**16 for step, other in found.items()}
    assert 0 < norms[DONE % STEPS] <= 8.01
    assert norms[DONE % STEPS - 1] > 1e6


@pytest.mark.parametrize("kept", [True, pytest.param(False, marks=pytest.mark.slow)])
def test_steps_of_an_adversary_that_were_paid_for_are_not_paid_again(
    midway: Crashed, tmp_path: Path, kept: bool
) -> None:
    """What was told is told again, and all go on from their shares after the last step; without those the epoch begins
    again, is paid for again, and the budget is not enough."""
    crashed = copied(midway, tmp_path)
    assert planned(crashed, "adversary_rows") == planned(crashed, "adversary_step") == DONE
    if not kept:
        for file in crashed.states.glob("auditor/runs/*/step-*.pt"):
            file.unlink()
    with crashed.go_on() as company:
        ended = company.wait(100)
    assert ended["developer"].code == (0 if kept else 3), ended["developer"].said
    if not kept:
        return
    assert "after 1 of 3 epochs and 3 steps of its adversaries" in ended["developer"].said
    assert planned(crashed, "adversary_rows") == planned(crashed, "adversary_step") == EPOCHS * STEPS
    account = json.loads((company.out("auditor") / "party.json").read_text())["privacy"]["male"]
    assert account["epsilon"] < NOISED["epsilon"]
    shutil.copytree(crashed.states, company.folder / "states")
    assert_ledgers_agree(crashed.scenario, company.folder)


@pytest.mark.slow
def test_a_step_that_nobody_was_told_of_is_made_again_and_no_other(tmp_path: Path, weights: Path, few: Path) -> None:
    """The auditor is one step ahead of what the developer has; it goes on from the one before."""
    crashed = Crashed(stepped(weights), few, tmp_path)
    crashed.crash({"auditor": partial(auditor_before_opening, DONE)})
    with crashed.go_on() as company:
        company.succeed()
    assert planned(crashed, "adversary_step") == EPOCHS * STEPS + 1
    assert planned(crashed, "adversary_rows") == EPOCHS * STEPS  # which were not yet spent


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
    import secure_fair.parties.resuming

    secure_fair.parties.resuming._check_digest = lambda *_: None  # type: ignore[assignment]
    program(arguments)


@pytest.mark.slow
def test_a_torn_state_is_named_where_it_is(halved: Crashed, tmp_path: Path) -> None:
    crashed = copied(halved, tmp_path)
    rewrite(crashed, "auditor", move_share, mark=False)
    with crashed.go_on() as company:
        ended = company.wait(60)
    assert ended["auditor"].code == 4
    assert "epoch-1.pt: was changed since it was written" in ended["auditor"].said
    assert str(crashed.states) not in ended["developer"].said


def lose_runs(states: Path, party: str) -> None:
    shutil.rmtree(states / party / "runs")


def tear_note(states: Path, party: str) -> None:
    (note,) = (states / party / "runs").glob("*/epoch-1.json")
    note.write_text("{")


@pytest.mark.parametrize(
    ("lose", "party", "said", "told"),
    [
        (lose_runs, "auditor", "auditor keeps nothing of run", "all parties begin a new run, without --resume"),
        pytest.param(
            lose_runs, "developer", "has no run in --state that was begun", "without --resume", marks=pytest.mark.slow
        ),
        pytest.param(
            tear_note, "auditor", "epoch-1.json: is damaged; restore it", "DamagedFile", marks=pytest.mark.slow
        ),
    ],
)
def test_a_party_that_has_lost_its_state_says_so_and_all_are_told(
    halved: Crashed, tmp_path: Path, lose: Callable[[Path, str], None], party: str, said: str, told: str
) -> None:
    crashed = copied(halved, tmp_path)
    lose(crashed.states, party)
    with crashed.go_on() as company:
        ended = company.wait(100)
    assert {end.code for end in ended.values()} == {4}, ended
    assert said in ended[party].said
    assert all(told in end.said for name, end in ended.items() if name != party)
    assert all(
        str(crashed.states) not in end.said.rpartition("error:")[2] for name, end in ended.items() if name != party
    )


def without_a_folder(arguments: list[str]) -> None:
    """An auditor whose results cannot be written, for a file stands where its folder was."""
    honest = secure_fair.parties.auditor.conclude

    def conclude(*given: Any) -> None:
        out = Path(arguments[arguments.index("--out") + 1])
        out.rename(out.with_name("away"))
        out.touch()
        honest(*given)

    secure_fair.parties.auditor.conclude = conclude  # type: ignore[assignment]
    program(arguments)


def test_a_run_does_not_end_before_the_auditors_have_written_their_results(
    tmp_path: Path, weights: Path, few: Path
) -> None:
    scenario = short(weights, method={"name": "erm"})
    crashed = Crashed(scenario, few, tmp_path)
    with Company(
        scenario, few, tmp_path / "first", states=crashed.states, entries={"auditor": without_a_folder}
    ) as first:
        ended = first.wait(100)
    assert {name: end.code for name, end in ended.items()} == {"auditor": 2, "developer": 5, "dealer": 5}
    assert "cannot be read or written" in ended["auditor"].said
    with crashed.go_on() as company:
        company.succeed()
    assert (company.out("auditor") / "ledger.jsonl").exists()


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
    program([word for word in arguments if word != "--resume"])


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
    program(arguments)


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
