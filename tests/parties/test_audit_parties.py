"""An audit between machines: every party with its own store, policy and identity, by the commands of docs/audit.md."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner

from secure_fair.errors import UsageError
from secure_fair.parties.draw import commitment_to
from secure_fair.parties.roster import Roster
from secure_fair.parties.statement import is_simulated, verify
from secure_fair.scenarios.audit_terms import AuditTerms
from secure_fair.scenarios.cli import main
from tests.parties.company import ROSTER, Company
from tests.scenarios.audits import people, wanted

POLICY = "epsilon = 20\nsample = 200\ncoverage = 0.9\nclaims = ['impact ratio by sex >= 0.2']\n"


def command(*arguments: str) -> str:
    """What a command prints."""
    done = CliRunner().invoke(main, list(arguments))
    assert done.exit_code == 0, done.output
    return done.stdout


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Both stores of matched ids, the policy, and the terms made from its promise."""
    folder = tmp_path_factory.mktemp("between")
    asked = wanted(folder, people(300))
    source, matched = asked.auditors[0].file, folder / "matched"
    command("match", "simulate", str(asked.decisions), "--auditor", str(source), "--out", str(matched))
    mine = ["--matched", str(matched / "developer.csv")]
    command("data", "decisions", str(asked.decisions), "--out", str(folder / "stores" / "developer"), *mine)
    theirs = ["--matched", str(matched / "city.csv"), "--join-key", str(folder / "city.key")]
    command("data", "attributes", f"{source}:sex,race", "--out", str(folder / "stores" / "city"), *theirs)
    (folder / "policy.toml").write_text(POLICY)
    promise = command("policy", "promise", str(folder / "policy.toml"), "city", "sex,race")
    (folder / "audit.toml").write_text(f'name = "hiring"\nepsilon = 20.0\nmatched = true\n{promise}')
    return folder


def test_parties_on_their_own_audit_and_sign(folder: Path) -> None:
    terms = AuditTerms.load(folder / "audit.toml")
    policies = {"city": folder / "policy.toml"}
    with Company(terms, folder / "stores", folder / "out", simulated=False, policies=policies) as company:
        company.succeed()
        out = company.out("developer")
    answer = json.loads((out / "audit.json").read_text())
    assert (answer["records"]["matched"], answer["ids"]) == (298, "matched")
    assert "of nobody else that it has them" in (out / "audit.html").read_text()
    assert [(one["claim"], one["verdict"]) for one in answer["verdicts"]] == [("impact ratio by sex >= 0.2", "pass")]
    assert {line["attribute"] for line in answer["openings"]} == {"sex", "race"}
    assert "impact ratio by sex" in (out / "audit.html").read_text()
    content = (out / "certificate.json").read_bytes()
    assert not is_simulated(content)
    told = verify(content, Roster.load(folder / "out" / "identities" / ROSTER).fingerprints)["predicate"]
    check_draw(told, answer, company.out("city"), out)
    heard = json.loads((out / "heard.json").read_text())  # before anything was offered
    assert heard["city"] == {"table": told["commitments"]["city"], "coin": told["draws"]["city"]["commitment"]}


def check_draw(told: dict[str, Any], answer: dict[str, Any], auditor: Path, developer: Path) -> None:
    """Everybody has the same draw, and only the auditor has the seed from which it follows."""
    kept = json.loads((auditor / "draw.json").read_text())
    seed = kept.pop("seed")
    assert told["draws"] == answer["draws"] == {"city": kept}
    assert (kept["drawn"], kept["of"], kept["commitment"]) == (200, 298, commitment_to(seed))
    assert not any(seed in file.read_text() for file in developer.rglob("*.*") if file.is_file())
    assert sum(row["records"] for row in answer["attributes"]["race"]["groups"]) == pytest.approx(200, abs=25)


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (lambda text: text.replace('"city"', '"City"'), "auditors.0.name"),
        (lambda text: text.replace("epsilon = 20.0", "epsilon = -1.0"), "epsilon"),
        (lambda text: text.replace(">= 0.2", ">= much"), "is no claim"),
        (lambda text: text.replace("by sex", "by size"), "audited are"),
        (lambda text: text.replace("name =", "nam =", 1), "did you mean"),
        (lambda text: text + "[", "not valid TOML"),
    ],
)
def test_faulty_terms_are_refused(folder: Path, tmp_path: Path, change, said: str) -> None:
    (tmp_path / "audit.toml").write_text(change((folder / "audit.toml").read_text()))
    with pytest.raises(UsageError, match=said):
        AuditTerms.load(tmp_path / "audit.toml")


def test_a_party_has_a_scenario_or_an_audit(folder: Path, tmp_path: Path) -> None:
    given = ["--identity", str(folder), "--peer", "a=b:1", "--out", str(tmp_path / "out")]
    both = ["--scenario", "quickstart", "--audit", str(folder / "audit.toml")]
    for options in ([], both):
        done = CliRunner().invoke(main, ["party", "dealer", *options, *given])
        assert done.exit_code == 2
        assert "give one of the two" in done.stderr
