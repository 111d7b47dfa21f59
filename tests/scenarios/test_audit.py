"""`secure-fair audit`: the counts are the truth where they are exact, and what does not fit is refused beforehand."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from secure_fair.fairness.claims import Verdict
from secure_fair.parties.roster import Roster
from secure_fair.parties.statement import verify
from secure_fair.scenarios.audit import keep_certificate, prepare
from tests.scenarios.audits import RACES, SEXES, audited, held, people, policy, run, wanted

EXACT = "allow_exact = true\nclaims = ['impact ratio by sex >= 0.8', 'selection rate difference by race <= 0.9']\n"


@pytest.fixture(scope="module")
def columns() -> dict[str, np.ndarray]:
    return people(300)


@pytest.fixture(scope="module")
def exact(tmp_path_factory: pytest.TempPathFactory, columns: dict[str, np.ndarray]) -> dict[str, Any]:
    """An exact audit, with the intersection."""
    folder = tmp_path_factory.mktemp("exact")
    asked = wanted(folder, columns, policies=policy(folder, EXACT), intersections=[("sex", "race")])
    answer = audited(folder / "out", asked)
    keep_certificate(folder / "out")
    return answer | {"folder": folder / "out"}


def truth(columns: dict[str, np.ndarray], sex: str, race: str | None = None) -> tuple[int, float]:
    """Records and selection rate of a group, from everybody's columns."""
    both = held(columns)
    here = (both["sex"] == sex) & (np.ones(len(both["sex"]), bool) if race is None else both["race"] == race)
    return int(here.sum()), float(both["decision"][here].mean())


def test_exact_counts_are_the_truth(exact: dict[str, Any], columns: dict[str, np.ndarray]) -> None:
    for row in exact["attributes"]["sex"]["groups"][:2]:
        assert (row["records"], row["selection rate"]["value"]) == pytest.approx(truth(columns, row["group"]))
    rows = {row["group"]: row for row in exact["attributes"]["sex x race"]["groups"]}
    for sex in SEXES:
        for race in RACES:
            row = rows[f"{sex} & {race}"]
            assert (row["records"], row["selection rate"]["value"]) == pytest.approx(truth(columns, sex, race))


def test_who_is_unknown_is_counted_and_takes_no_part(exact: dict[str, Any], columns: dict[str, np.ndarray]) -> None:
    row = exact["attributes"]["sex"]["groups"][2]
    assert (row["group"], row["included"], row["reason"]) == ("unknown", False, "unknown")
    assert row["records"] == (held(columns)["sex"] == "").sum()
    assert row["impact ratio"]["value"] is None
    joint = [row for row in exact["attributes"]["sex x race"]["groups"] if row["group"].startswith("unknown")]
    assert {row["reason"] for row in joint} == {"unknown"}
    assert len(joint) == 3


def test_records_of_one_side_are_counted_and_not_listed(exact: dict[str, Any], columns: dict[str, np.ndarray]) -> None:
    labelled = int((held(columns)["label"] != "").sum())
    records = {"developer": 300, "matched": 298, "unknown_to": {"city": 2}, "only_with": {"city": 1}}
    assert exact["records"] == {**records, "with_label": labelled}
    assert "p0" not in str(exact)


def test_claims_are_decided(exact: dict[str, Any]) -> None:
    first, second = exact["verdicts"]
    ratio = exact["attributes"]["sex"]["metrics"]["impact ratio"]["value"]
    assert (first["claim"], first["verdict"]) == ("impact ratio by sex >= 0.8", "pass" if ratio >= 0.8 else "fail")
    assert (second["verdict"], second["deciding_epsilon"]) == ("pass", None)


def test_it_ends_in_a_certificate_that_all_have_signed(exact: dict[str, Any]) -> None:
    folder = exact["folder"]
    tree = verify((folder / "certificate.json").read_bytes(), Roster.load(folder / "parties.toml").fingerprints)
    told = tree["predicate"]
    assert told["parties"].keys() == {"city", "dealer", "developer"}
    assert [one["passed"] for one in told["claims"]] == [one["verdict"] == "pass" for one in exact["verdicts"]]
    assert {one["confirmed_by"] for one in told["claims"]} == {"city"}
    opened = json.loads((folder / "developer" / "commitment.json").read_text())
    content = (folder / "stores" / "developer" / "decisions.csv").read_bytes()
    digest = hashlib.sha256(bytes.fromhex(opened["salt"]) + content).hexdigest()
    assert digest == told["commitments"]["developer"] == tree["subject"][0]["digest"]["sha256"]
    assert told["ledgers"]["city"] in (folder / "auditor-city" / "ledger.jsonl").read_text()


def pretending_developer(arguments: list[str]) -> None:
    """Says of every claim that it holds."""
    from secure_fair.parties import tables
    from tests.parties.company import program

    tables.decide = lambda claim, found: Verdict(claim, "pass")  # type: ignore[assignment]
    program(arguments)


def test_a_claim_that_does_not_hold_is_signed_by_nobody(tmp_path: Path, columns: dict[str, np.ndarray]) -> None:
    """The auditor decides it anew from the counts that it has confirmed, here with noise. Without a certificate nobody
    but the developer has a word in it."""
    text = "epsilon = 50\nclaims = ['impact ratio by sex >= 0.95']\n"
    asked = wanted(tmp_path, columns, policies=policy(tmp_path, text), epsilon=20.0)
    answer, ended = run(prepare(asked), tmp_path / "out", {"developer": pretending_developer})
    assert answer is None
    assert ended["city"].code == 4
    assert "the statement does not fit what is known here: claim impact ratio by sex" in ended["city"].said
    assert not (tmp_path / "out" / "developer" / "certificate.json").exists()


def test_what_was_opened_is_told(exact: dict[str, Any]) -> None:
    opened = {(line["attribute"], line["of"]) for line in exact["openings"] if line["operation"] == "evaluation_counts"}
    assert opened == {("sex", ""), ("race", ""), ("sex", "sex x race"), ("race", "sex x race")}
    assert any("exact counts" in line for line in exact["warnings"])
