"""A training run's certificate: it is about one model, one set of predictions and one run, and about no other."""

from __future__ import annotations

import hashlib
import json
import shutil
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from click.testing import CliRunner, Result

from secure_fair.data.store import ATTRIBUTES
from secure_fair.errors import ProtocolError, Refusal, UsageError
from secure_fair.mpc.confirmation import Told
from secure_fair.parties.bound import check_due, check_run, digests_of, under
from secure_fair.parties.commitments import COMMITMENT, COMMITTED, commit_to, commitment
from secure_fair.parties.config import RunConfig
from secure_fair.parties.confirmed import Confirmed
from secure_fair.parties.dispute import DISPROVED, OpenedCounts, opening
from secure_fair.parties.envelope import NotGenuine, canonical
from secure_fair.parties.messages import Bound
from secure_fair.parties.predicted import read_predicted
from secure_fair.parties.predictions import PREDICTIONS
from secure_fair.parties.roster import Roster
from secure_fair.parties.sealing import AuditorsView, View
from secure_fair.parties.statement import subjects, verify
from secure_fair.parties.tables import answer_of, check_classes
from secure_fair.scenarios import assemble
from secure_fair.scenarios.cli import main
from secure_fair.scenarios.schema import Scenario
from tests.parties.company import ROSTER, Company
from tests.parties.people import plant, scenario_of
from tests.parties.test_certificate import Case, case  # noqa: F401
from tests.parties.test_table import write_stores

CLAIM = "selection rate difference by sex <= 0.99"
OTHER = "true positive rate difference by sex <= 0.001"
EVALUATION = "evaluation_counts"
MODEL = {"head.safetensors": "1" * 64, "table.json": "2" * 64}


@dataclass(frozen=True)
class Trained:
    """A certified run: the folders of developer and auditor, the auditor's policy, and the statement that all have
    signed."""

    folder: Path
    auditor: Path
    policy: Path
    roster: Path
    tree: dict[str, Any]


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Trained:
    """Two epochs on a table, between parties with keys of their own."""
    folder = tmp_path_factory.mktemp("certified")
    scenario = scenario_of(plant(folder / "root"), train={"epochs": 2}, secure={"claims": [CLAIM, OTHER]})
    stores = write_stores(scenario, folder / "stores")
    with Company(scenario, stores, folder / "out", simulated=False) as company:
        company.succeed(200)
        out, auditor = company.out("developer"), company.out("auditor")
    roster = folder / "out" / "identities" / ROSTER
    content = (out / "certificate.json").read_bytes()
    policy = folder / "out" / "auditor-policy.toml"
    return Trained(out, auditor, policy, roster, verify(content, Roster.load(roster).fingerprints))


@pytest.fixture
def copy(trained: Trained, tmp_path: Path) -> Path:
    shutil.copytree(trained.folder, tmp_path / "run" / "developer")
    return tmp_path / "run"


def test_a_run_is_certified_with_its_model(trained: Trained) -> None:
    told = trained.tree["predicate"]
    verdicts = json.loads((trained.folder / "result.json").read_text())["verdicts"]
    assert [(one["metric"], one["comparator"], one["threshold"]) for one in told["claims"]] == [
        ("selection rate difference", "<=", "0.99"),
        ("true positive rate difference", "<=", "0.001"),
    ]
    assert [one["passed"] for one in told["claims"]] == [one["verdict"] == "pass" for one in verdicts] == [True, False]
    assert {one["confirmed_by"] for one in told["claims"]} == {"auditor"}
    assert set(told["model"]) == {"head.safetensors", "table.json"}
    with (trained.folder / PREDICTIONS).open() as lines:
        assert told["records"] == sum(1 for _ in lines) - 1
    check_run(trained.tree, trained.folder)


def test_the_command_holds_it_against_the_run(trained: Trained, copy: Path) -> None:
    file = str(trained.folder / "certificate.json")
    command = ["certificate", "verify", file, "--parties", str(trained.roster), "--run", str(copy)]
    done = CliRunner().invoke(main, command)
    assert done.exit_code == 0, done.output
    assert f"head.safetensors: {trained.tree['predicate']['model']['head.safetensors']}" in done.stdout
    swap(copy / "developer" / "head.safetensors")
    without = CliRunner().invoke(main, command[:-2])  # the signatures alone say nothing of a folder
    assert without.exit_code == 0
    swapped = CliRunner().invoke(main, command)
    assert swapped.exit_code == 4
    assert "head.safetensors there: not of the model" in swapped.stderr


def test_the_auditor_s_policy_is_in_it(trained: Trained, tmp_path: Path) -> None:
    command = ["certificate", "verify", str(trained.folder / "certificate.json"), "--parties", str(trained.roster)]
    assert trained.tree["predicate"]["policies"] == {"auditor": hashlib.sha256(trained.policy.read_bytes()).hexdigest()}
    assert CliRunner().invoke(main, [*command, "--policy", str(trained.policy)]).exit_code == 0
    (tmp_path / "looser.toml").write_text(trained.policy.read_text() + "# another\n")
    other = CliRunner().invoke(main, [*command, "--policy", str(tmp_path / "looser.toml")])
    assert (other.exit_code, "on which no auditor agreed" in other.stderr) == (4, True)


@pytest.mark.parametrize("told", [{"city": "6" * 64}, {}, {"city": "5" * 64, "mayor": "5" * 64}])
def test_an_auditor_signs_for_no_other_policy_than_its_own(case: Case, told: dict[str, str]) -> None:  # noqa: F811
    """A developer that puts another digest into the statement of a training, none, or one of somebody else's."""
    view, mine = View(replace(case.config, promises={})), replace(case.facts["city"], policy="5" * 64)
    tree = case.honest()
    for policies in ({"city": "5" * 64}, told):
        tree["predicate"]["policies"] = policies
        if policies is told:
            with pytest.raises(Refusal, match="polic"):
                view.check(canonical(tree), case.endpoints["city"], mine)
        else:
            view.check(canonical(tree), case.endpoints["city"], mine)


def swap(file: Path) -> None:
    """Change one byte."""
    content = bytearray(file.read_bytes())
    content[-1] ^= 1
    file.write_bytes(content)


def made_again(folder: Path) -> None:
    """Another run that came to the very same model and predictions: its commitment has another salt."""
    shutil.rmtree(folder / COMMITTED)
    commit_to(folder, (PREDICTIONS,), folder)


SWAPS: dict[str, tuple[Callable[[Path], None], str]] = {
    "the head": (lambda folder: swap(folder / "head.safetensors"), "head.safetensors there"),
    "the encoding": (lambda folder: swap(folder / "table.json"), "table.json there"),
    "a file missing": (lambda folder: (folder / "table.json").unlink(), "table.json there"),
    "an adapter more": (lambda folder: (folder / "pictures.json").write_text("{}"), "pictures.json there"),
    "the predictions": (lambda folder: swap(folder / PREDICTIONS), "predictions.csv there"),
    "another run": (made_again, "predictions.csv there"),
}


@pytest.mark.parametrize("name", SWAPS)
def test_whatever_is_swapped_is_not_what_was_certified(trained: Trained, copy: Path, name: str) -> None:
    change, said = SWAPS[name]
    check_run(trained.tree, copy)
    change(copy / "developer")
    with pytest.raises(NotGenuine, match=said):
        check_run(trained.tree, copy)


def test_predictions_cannot_be_opened_in_two_ways(trained: Trained, copy: Path) -> None:
    """A developer that is committed to two tables behind one another, of which it shows all or the second: as if the
    first were salt. The twin is the hash alone, which takes any salt."""
    folder = copy / "developer"
    second = (folder / PREDICTIONS).read_bytes()
    first = second.replace(b",1,", b",0,")
    (folder / PREDICTIONS).write_bytes(first + second)
    shutil.rmtree(folder / COMMITTED)
    digest = commit_to(folder, (PREDICTIONS,), folder)
    tree = {"subject": subjects(digest, trained.tree["predicate"]["model"])}
    check_run(tree, copy)
    opened = json.loads((folder / COMMITMENT).read_bytes())
    longer = bytes.fromhex(opened["salt"]) + first
    (folder / PREDICTIONS).write_bytes(second)
    (folder / COMMITMENT).write_text(json.dumps(opened | {"salt": longer.hex()}))
    assert commitment(longer, [folder / PREDICTIONS]) == digest
    with pytest.raises(UsageError, match="a salt has 32"):
        check_run(tree, copy)


def test_a_folder_that_opens_nothing_is_said(trained: Trained, copy: Path, tmp_path: Path) -> None:
    (copy / "developer" / COMMITMENT).unlink()
    with pytest.raises(UsageError, match="not what opens"):
        check_run(trained.tree, copy)
    with pytest.raises(UsageError, match="holds no model"):
        check_run(trained.tree, tmp_path)
    with pytest.raises(UsageError, match="of an audit of decisions"):
        check_run({"subject": subjects("a" * 64, {})}, copy)


def test_digests_are_of_every_file_of_an_adapter(tmp_path: Path) -> None:
    (tmp_path / "adapter").mkdir()
    for name in ("adapter/a.safetensors", "adapter/config.json", "head.safetensors", "notes.txt"):
        (tmp_path / name).write_text(name)
    names = ("adapter/a.safetensors", "adapter/config.json", "head.safetensors")
    assert digests_of(tmp_path) == {name: hashlib.sha256(name.encode()).hexdigest() for name in names}


# --- disputed ---------------------------------------------------------------------------------------------------------


def disputed(trained: Trained, developer: Path, auditor: Path, code: int) -> Result:
    """What the command says of these openings."""
    command = ["certificate", "dispute", str(trained.folder / "certificate.json"), "--parties", str(trained.roster)]
    command += ["--scenario", str(trained.policy.with_name("scenario.toml"))]
    done = CliRunner().invoke(main, [*command, "--opened", f"developer={developer}", "--opened", f"auditor={auditor}"])
    assert done.exit_code == code, done.output
    return done


def edited(folder: Path, file: str, change: Callable[[list[str]], list[str]]) -> None:
    """A committed table with every row changed."""
    header, *rows = (folder / COMMITTED / file).read_text().splitlines()
    lines = [header, *(",".join(change(row.split(","))) for row in rows)]
    (folder / COMMITTED / file).write_text("\n".join(lines) + "\n")


def fair(row: list[str]) -> list[str]:
    """A prediction that is right: nobody has another true positive rate than anybody else."""
    return [row[0], row[1], row[1], *row[3:]]


def test_a_training_is_counted_again_from_what_was_opened(trained: Trained) -> None:
    done = disputed(trained, trained.folder, trained.auditor, 0)
    assert done.stdout.count("the opened inputs say the same") == 2
    assert f"{OTHER}: certified as fail, recounted" in done.stdout


def test_inputs_that_were_changed_after_a_training_are_caught(trained: Trained, copy: Path) -> None:
    shutil.copytree(trained.auditor, copy / "auditor")
    edited(copy / "developer", PREDICTIONS, fair)
    done = disputed(trained, copy / "developer", trained.auditor, 4)
    assert "developer: the opened files are not those" in done.stderr
    edited(copy / "auditor", ATTRIBUTES, lambda row: [row[0], str(1 - int(row[1])), *row[2:]])
    assert "auditor: the opened files are not those" in disputed(trained, trained.folder, copy / "auditor", 4).stderr


def test_predictions_that_were_not_those_that_were_counted_disprove_it(trained: Trained, copy: Path) -> None:
    """A developer that was committed to one table of predictions and had another counted: all signatures are genuine,
    and so is its opening."""
    edited(copy / "developer", PREDICTIONS, fair)
    told, openings = trained.tree["predicate"], {}
    digest = commit_to(copy / "developer" / COMMITTED, (PREDICTIONS,), copy / "lied")
    told = {**told, "commitments": told["commitments"] | {"developer": digest}}
    for name, folder in (("developer", copy / "lied"), ("auditor", trained.auditor)):
        openings[name] = opening(told, name, folder, "developer")
    agreed = assemble.run_config(Scenario.load(trained.policy.with_name("scenario.toml")))
    found = {one.claim: one.found for one in OpenedCounts(agreed, told, openings).findings()}
    assert found[OTHER] == DISPROVED


def test_a_training_is_disputed_by_its_own_scenario(trained: Trained, tmp_path: Path) -> None:
    other = scenario_of(tmp_path, train={"epochs": 3}, secure={"claims": [CLAIM, OTHER]})
    (tmp_path / "scenario.toml").write_text(other.to_toml())
    moved = replace(trained, policy=tmp_path / "policy.toml")
    assert "is not the one of the certificate" in disputed(moved, trained.folder, trained.auditor, 4).stderr


def test_what_is_no_table_of_predictions_is_said(trained: Trained, copy: Path) -> None:
    for change in (lambda row: [row[0], "2", *row[2:]], lambda row: ["one", *row[1:]], lambda row: row[:1]):
        shutil.copy(trained.folder / PREDICTIONS, copy / "developer" / COMMITTED / PREDICTIONS)
        edited(copy / "developer", PREDICTIONS, change)
        with pytest.raises(UsageError, match=PREDICTIONS):
            read_predicted(copy / "developer" / COMMITTED)


# --- bound before it is counted ---------------------------------------------------------------------------------------


def config(**changes: Any) -> RunConfig:
    found = assemble.run_config(scenario_of(Path("root"), secure={"claims": [CLAIM]}))
    return replace(found, **changes)


def test_nothing_is_counted_before_the_model_is_named() -> None:
    bound = Bound(commitment="a" * 64, model=MODEL)
    with pytest.raises(ProtocolError, match="has not named the model"):
        check_due(config(), EVALUATION, None)
    check_due(config(), EVALUATION, bound)
    check_due(config(), "group_counts", None)  # those of the training
    check_due(config(claims=()), EVALUATION, None)


def test_counts_of_one_model_are_not_signed_for_as_another_s(tmp_path: Path) -> None:
    """A developer whose fair model was counted, and that comes to the next run with another of the same predictions."""
    kept = Confirmed(tmp_path, "table")
    first, second = (Bound(commitment="a" * 64, model=MODEL | {"head.safetensors": letter * 64}) for letter in "12")
    counts = torch.tensor([[5, 4], [3, 2], [2, 3], [4, 5]])
    told = Told(counts * 2**16, counts.sum(1))
    under(kept, first).keep("ab" * 32, "sex", np.arange(28), told, 0.0, 2**16)
    assert under(kept, first).recall("ab" * 32).total == 28
    with pytest.raises(Refusal, match="of other records, noise or draw"):
        under(kept, second).recall("ab" * 32)
    kept.keep("cd" * 32, "sex", np.arange(28), told, 0.0, 2**16)
    assert kept.recall("cd" * 32).total == 28  # the twin: nothing is said of a model, and it serves for any


@pytest.mark.parametrize("name", ["predictions", "decisions", "heads", "notes.txt"])
def test_nothing_is_named_that_is_no_file_of_a_model(case: Case, tmp_path: Path, name: str) -> None:  # noqa: F811
    """A developer that names, as a file of its model, another commitment to predictions: an auditor that takes it would
    sign for both."""
    named = MODEL | {name: "4" * 64}
    with pytest.raises(ProtocolError, match=f"a model has no file '{name}'"):
        under(Confirmed(tmp_path, "table"), Bound(commitment="a" * 64, model=named))
    assert under(Confirmed(tmp_path, "table"), Bound(commitment="a" * 64, model=MODEL | {"adapter/a": "5" * 64})).about
    tree = case.honest()
    tree["predicate"]["model"] = named
    tree["subject"] = subjects(case.facts["developer"].commitment, named)
    View(case.config).check(canonical(tree), case.endpoints["city"], case.facts["city"])  # the twin: by the terms alone
    about = {one["name"]: one["digest"]["sha256"] for one in tree["subject"]}
    assert about["predictions"] == case.facts["developer"].commitment


@pytest.mark.parametrize("change", ["another", "none", "one more"])
def test_an_auditor_signs_for_the_model_that_was_named_to_it(case: Case, change: str) -> None:  # noqa: F811
    """A developer that names one model before the counts and another after them; the terms alone would have it pass."""
    named = {"another": MODEL | {"table.json": "3" * 64}, "none": {}, "one more": MODEL | {"a": "3" * 64}}[change]
    tree = case.honest()
    tree["predicate"]["model"] = named
    tree["subject"] = subjects(case.facts["developer"].commitment, named)
    view = AuditorsView(case.config, replace(case.met, model=MODEL), {"sex": ("a", "b")}, case.confirmed)
    with pytest.raises(Refusal, match="model is"):
        view.check(canonical(tree), case.endpoints["city"], case.facts["city"])
    View(case.config).check(canonical(tree), case.endpoints["city"], case.facts["city"])


def test_claims_are_about_two_classes() -> None:
    check_classes(config(), ("no", "yes"))
    with pytest.raises(UsageError, match="this one has 3"):
        check_classes(config(), ("a", "b", "c"))
    assert answer_of(config(claims=()), {}, [], MODEL, 7)["records"] == {"matched": 7}
