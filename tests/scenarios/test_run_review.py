"""The review of a finished run: it finds nothing in an honest one, and each thing that is wrong in a changed one.

Runs are folders as a launcher leaves them, of the program's own gate, ledgers and summaries; one that parties have made
is reviewed where runs are tested.
"""

from __future__ import annotations

import json
import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from click.testing import CliRunner, Result

from secure_fair.attacks.common.attack import DEVELOPER, AttackTerms, balanced
from secure_fair.attacks.common.auditor import ATTRIBUTE, EVALUATION, AttackedAuditor, opened
from secure_fair.operations import RULES, planned
from secure_fair.privacy.accounting import gaussian_mu
from secure_fair.privacy.budgets import Budgets
from secure_fair.privacy.chain import read_extract
from secure_fair.privacy.entries import Charge
from secure_fair.privacy.ledger import Ledger
from secure_fair.privacy.plan import make_plan
from secure_fair.privacy.policy import Policy
from secure_fair.scenarios.cli import main
from secure_fair.scenarios.summary import released

PEOPLE, TRAINING = 120, 80
TERMS = AttackTerms(epsilon=1.0, evaluation_epsilon=1.0, delta=1e-5, participations=3)
IDS = [f"{number:032x}" for number in range(PEOPLE)]


@pytest.fixture
def run(tmp_path: Path) -> Path:
    """A run of three moments and one evaluation."""
    return make_run(tmp_path)


def make_run(tmp_path: Path, *, forgets: int = 0) -> Path:
    """``forgets``: how many of the releases the developer does not write down."""
    folder = tmp_path / "run"
    auditor, developer = folder / "auditor-auditor", folder / "developer"
    for made in (folder, auditor, developer, folder / "dealer"):
        made.mkdir(mode=0o700)
    plan = make_plan(
        ATTRIBUTE,
        [planned("moment", 2, 3, 3)],
        rules=RULES,
        epsilon=1.0,
        delta=1e-5,
        evaluation=[planned(EVALUATION, 2, 1, 1)],
        evaluation_epsilon=1.0,
    )
    attributes = balanced(PEOPLE)
    with opened(auditor / "state", attributes, plan, Policy(), training=TRAINING) as asked:
        query = torch.full((TRAINING, 2), 0.5, dtype=torch.float64)
        for _ in range(3):
            asked.ask("moment", np.arange(TRAINING), query, 16)
        counts = asked.ask(EVALUATION, np.arange(TRAINING, PEOPLE), torch.ones(PEOPLE - TRAINING, 1).double(), 16)
        asked.ledger.extract("run", auditor / "ledger.jsonl")
        write(auditor / "party.json", {"privacy": asked.gate.summary()})
        write(folder / "summary.json", summary(asked, float(counts[0, 0]), attributes[TRAINING:]))
        keep(developer, tmp_path, asked, forgets)
    write(developer / "party.json", {"privacy": {}})
    (developer / "predictions.csv").write_text("id,label,prediction\n" + "".join(f"{name},1,0\n" for name in IDS))
    return folder


def keep(developer: Path, tmp_path: Path, asked: AttackedAuditor, forgets: int) -> None:
    ledger = Ledger(tmp_path / "developer's", DEVELOPER, simulated=True)
    ledger.start("run")
    for receipt in asked.receipts[forgets:]:
        ledger.received(receipt)
    ledger.extract("run", developer / "ledger.jsonl")
    ledger.close()


def summary(asked: AttackedAuditor, yes: float, truth: np.ndarray) -> dict[str, Any]:
    def sizes(count: float) -> dict[str, Any]:
        return {ATTRIBUTE: {"groups": {"woman": {"records": len(truth) - count}, "man": {"records": count}}}}

    sigma = asked.receipts[-1].sigma
    return {
        "privacy": {"attributes": asked.gate.summary(), "asked": {"epsilon": 1.0, "evaluation_epsilon": 1.0}},
        "fairness": sizes(float(truth.sum())),
        "fairness_released": sizes(yes),
        "openings": [{"operation": EVALUATION, "attribute": ATTRIBUTE, "sigma": sigma}],
        "warnings": ["one warning"],
    }


def write(path: Path, content: dict[str, Any]) -> None:
    path.write_text(json.dumps(content))


def review(folder: Path, *options: str) -> Result:
    return CliRunner().invoke(main, ["review", str(folder), *options])


def verdicts(result: Result) -> dict[str, str]:
    return {check["name"]: check["verdict"] for check in json.loads(result.stdout)["checks"]}


def test_an_honest_run_holds(run: Path) -> None:
    result = review(run)
    assert result.exit_code == 0, result.output
    assert "4 releases, in the same words on both sides" in result.stdout
    assert "warning: one warning" in result.stdout
    assert (run / "review" / "review.html").stat().st_mode & 0o777 == 0o600
    found = json.loads((run / "review" / "review.json").read_text())
    (account,) = found["accounts"]
    assert account["epsilon"] <= 1.0
    learned = {line["operation"]: line for line in found["learned"]}
    assert learned["moment"]["releases"] == learned["moment"]["received"] == 3
    assert learned["moment"]["by"] == "developer"
    assert review(run).exit_code == 0  # what it has written is nothing that it complains of


def test_the_summary_of_a_run_says_the_mu_that_the_review_counts(run: Path) -> None:
    lines = {line["operation"]: line for line in released(read_extract(run / "auditor-auditor" / "ledger.jsonl"))}
    assert review(run).exit_code == 0
    for line in json.loads((run / "review" / "review.json").read_text())["learned"]:
        if line["by"] == "developer":
            assert lines[line["operation"]]["mu"] == pytest.approx(line["mu"])
    reserve = math.sqrt(3 / 4)  # of four planned releases, one in reserve, three were made
    assert lines["moment"]["mu"] == pytest.approx(reserve * gaussian_mu(1.0, 1e-5))


@pytest.mark.parametrize("forgets", [1, 4])
def test_a_developer_that_forgets_releases_is_found_out(tmp_path: Path, forgets: int) -> None:
    result = review(make_run(tmp_path, forgets=forgets))
    assert result.exit_code == 6
    assert "release 1: opened by the auditor, not in the developer's ledger" in result.stderr


def test_charges_that_are_too_small_are_found_out(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A gate that charges a fourth: chain and comparison hold, and the noise says otherwise."""
    price = Budgets.price

    def cheap(self: Budgets, *asked: Any) -> tuple[float | None, Charge]:
        sigma, charge = price(self, *asked)
        return sigma, Charge(charge.mu2 / 4)

    monkeypatch.setattr(Budgets, "price", cheap)
    result = review(make_run(tmp_path), "--format", "json")
    assert result.exit_code == 6
    found = verdicts(result)
    assert found["ledgers of developer and auditor agree"] == found["whole ledger of auditor"] == "holds"
    assert found["spending on attribute of auditor"] == "FAILS"
    assert "release 1 is charged less than its noise costs" in result.stderr


def test_a_claim_of_less_than_was_spent_is_found_out(run: Path) -> None:
    held = json.loads((run / "summary.json").read_text())
    held["privacy"]["attributes"][ATTRIBUTE]["epsilon"] /= 2
    write(run / "summary.json", held)
    result = review(run)
    assert result.exit_code == 6
    assert "the summary says epsilon" in result.stderr
    assert review(run, "--fail-on", "never").exit_code == 0


def test_more_than_was_asked_for_is_found_out(run: Path) -> None:
    held = json.loads((run / "summary.json").read_text())
    held["privacy"]["asked"] = {"epsilon": 0.5, "evaluation_epsilon": 0.5}
    write(run / "summary.json", held)
    result = review(run)
    assert result.exit_code == 6
    assert "was spent, 0.5 asked for" in result.stderr


def group_by_person(run: Path) -> None:
    (run / "developer" / "rows.csv").write_text(f"id,group\n{IDS[0]},woman\n")


def id_at_the_dealer(run: Path) -> None:
    (run / "dealer" / "log.jsonl").write_text(json.dumps({"id": IDS[0]}))


def array_at_the_auditor(run: Path) -> None:
    np.save(run / "auditor-auditor" / "features.npy", np.zeros(3))


def predictions_at_the_auditor(run: Path) -> None:
    (run / "auditor-auditor" / "log.jsonl").write_text(json.dumps({"id": IDS[0], "p": 0.123456}))


def key_in_a_folder(run: Path) -> None:
    (run / "developer" / "key.pem").write_text("-----BEGIN PRIVATE KEY-----\n")


def readable_folder(run: Path) -> None:
    run.chmod(0o755)
    (run / "summary.json").chmod(0o644)


def entry_cut_off(run: Path) -> None:
    ledger = run / "auditor-auditor" / "state" / "ledger" / "ledger.jsonl"
    ledger.write_bytes(b"".join(ledger.read_bytes().splitlines(keepends=True)[:-2]))


def no_noise(run: Path) -> None:
    held = json.loads((run / "summary.json").read_text())
    held["fairness_released"] = held["fairness"]
    write(run / "summary.json", held)


@pytest.mark.parametrize(
    ("change", "check"),
    [
        (group_by_person, "files of developer"),
        (key_in_a_folder, "files of developer"),
        (id_at_the_dealer, "files of dealer"),
        (array_at_the_auditor, "files of auditor-auditor"),
        (predictions_at_the_auditor, "files of auditor-auditor"),
        (readable_folder, "files are their owner's alone"),
        (entry_cut_off, "whole ledger of auditor"),
        (no_noise, "noise of released counts"),
    ],
)
def test_what_is_wrong_is_found(run: Path, change: Callable[[Path], None], check: str) -> None:
    change(run)
    result = review(run, "--format", "json")
    assert result.exit_code == 6, result.output
    assert [name for name, verdict in verdicts(result).items() if verdict == "FAILS"] == [check]


def test_attacks_are_not_chosen_for_a_run(run: Path) -> None:
    result = review(run, "--only", "packing")
    assert result.exit_code == 2
    assert "is a finished run" in result.stderr
    assert not (run / "review").exists()
