"""The command that reviews: what it runs, writes, says, and the exit code where a claim fails."""

from __future__ import annotations

import html.parser
import json
import re
from pathlib import Path
from typing import Any

import pytest
import torch
from click.testing import CliRunner, Result

from secure_fair.attacks import ATTACKS
from secure_fair.errors import ClaimFails
from secure_fair.randomness import PRG
from secure_fair.report.review import overview, render
from secure_fair.scenarios.cli import main
from secure_fair.scenarios.review import DEMO, check, terms_of
from secure_fair.scenarios.schema import Scenario

QUICK = ("--only", "mask_recovery", "--only", "ledger_changes")


def review(*arguments: str) -> Result:
    return CliRunner().invoke(main, ["review", *arguments])


@pytest.fixture
def broken(monkeypatch: pytest.MonkeyPatch) -> None:
    """A build whose masks are torch's."""
    monkeypatch.setattr(
        PRG, "ring", lambda self, size: torch.randint(-(2**63), 2**63 - 1, tuple(size), dtype=torch.long)
    )


def test_the_list_has_every_attack_and_runs_none() -> None:
    listed = json.loads(review("--list", "--format", "json").stdout)
    assert set(listed) == set(ATTACKS)
    assert all(one["claim"] and one["twin"] and one["view"] for one in listed.values())


def test_it_writes_both_files_and_prints_the_table(tmp_path: Path) -> None:
    result = review(*QUICK, "--out", str(tmp_path / "here"))
    assert result.exit_code == 0, result.output
    found = json.loads((tmp_path / "here" / "review.json").read_text())
    assert [one["name"] for one in found["findings"]] == ["ledger_changes", "mask_recovery"]
    assert {one["verdict"] for one in found["findings"]} == {"holds"}
    assert found["terms"]["epsilon"] == 1.0
    assert found["terms"]["participations"] == 4
    assert "mask_recovery" in result.stdout
    assert str(tmp_path / "here" / "review.html") in result.stdout
    assert "masks that a party knows tell it no other mask" in result.stderr  # progress


def test_json_is_what_was_written(tmp_path: Path) -> None:
    result = review(*QUICK, "--out", str(tmp_path), "--format", "json")
    assert json.loads(result.stdout) == json.loads((tmp_path / "review.json").read_text())


def test_a_finding_is_kept_until_the_program_or_the_terms_change(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def kept(*arguments: str) -> list[bool]:
        result = review("--only", "mask_recovery", "--out", str(tmp_path), "--format", "json", *arguments)
        assert result.exit_code == 0, result.output
        return [one["kept"] for one in json.loads(result.stdout)["findings"]]

    assert kept() == [False]
    assert kept() == [True]
    assert kept("--seed", "1") == [False]
    assert kept("--seed", "1", "-o", "privacy.epsilon=2") == [False]
    (file,) = (tmp_path / "findings").iterdir()
    file.write_text("{")  # torn
    assert kept("--seed", "1", "-o", "privacy.epsilon=2") == [False]
    monkeypatch.setattr("secure_fair.scenarios.review.program", lambda: "another program")
    assert kept("--seed", "1", "-o", "privacy.epsilon=2") == [False]
    assert len(list((tmp_path / "findings").iterdir())) == 1  # no older one is left


def test_a_claim_that_fails_ends_with_exit_code_6(tmp_path: Path, broken: None) -> None:
    result = review(*QUICK, "--out", str(tmp_path))
    assert result.exit_code == 6
    assert "error: mask_recovery FAILS (masks that a party knows tell it no other mask)" in result.stderr
    assert "FAILS" in (tmp_path / "review.html").read_text()
    assert review(*QUICK, "--out", str(tmp_path), "--fail-on", "never").exit_code == 0


def test_blind_attacks_fail_where_that_is_asked_for() -> None:
    found = {"findings": [{"name": "one", "claim": "a claim", "verdict": "blind"}]}
    check(found, "fails")
    with pytest.raises(ClaimFails, match="one blind"):
        check(found, "blind")


def test_terms_are_what_the_scenario_asks_for() -> None:
    overrides = ("privacy.epsilon=0.3", "train.epochs=7", "privacy.reserve_releases=2", "secure.precision_bits=18")
    terms = terms_of(Scenario.load("quickstart", overrides))
    assert (terms.epsilon, terms.evaluation_epsilon) == (0.3, 1.0)
    assert (terms.participations, terms.reserve, terms.precision_bits) == (7, 2, 18)


def test_the_demonstration_is_a_line_for_each_attack() -> None:
    result = review("--demo")
    assert result.exit_code == 0, result.output
    lines = result.stdout.splitlines()
    assert {line.split(":")[0] for line in lines} == set(DEMO)
    assert all(line.endswith("holds") for line in lines)


def found(name: str = "an attack <script>") -> dict[str, Any]:
    won = {"trials": 10, "share": 0.5, "low": 0.2, "high": 0.8, "auc": 0.5, "hit_rate": 0.0, "mu": 0.1, "epsilon": 0.2}
    won |= {"rare_hit_rate": 0.001, "curve": [[0.1, 0.2], [1.0, 1.0]]}
    finding = {
        "name": name,
        "claim": "a claim",
        "view": "developer",
        "needs": "a query",
        "twin_is": "none",
        "formal": False,
        "ours": won,
        "twin": {**won, "share": 1.0, "auc": None},
        "ceiling": {"share": 0.553, "mu": 0.268, "epsilon": 1.0},
        "verdict": "holds",
        "beside": {"attributes in the clear": 0.875},
    }
    terms = {"epsilon": 1.0, "evaluation_epsilon": 1.0, "delta": 1e-5, "participations": 4, "reserve": 1}
    return {"scenario": "mine", "terms": terms, "seconds": 9.5, "version": "1", "findings": [finding]}


def test_the_page_is_whole_and_asks_for_nothing_from_outside() -> None:
    page = render(found())
    assert "an attack &lt;script&gt;" in page
    assert not re.search(r"<script|https?://|src=|@import|url\(", page)
    assert "not formal" in page
    assert "attributes in the clear, 87.5 % won" in page
    assert page.count("<svg") == 1
    opened: list[str] = []

    class Checker(html.parser.HTMLParser):
        def handle_starttag(self, tag: str, attrs: object) -> None:
            if tag != "meta":
                opened.append(tag)

        def handle_endtag(self, tag: str) -> None:
            assert opened.pop() == tag

    Checker().feed(page)
    assert opened == []
    assert "10.0 %" not in page


def test_the_table_has_both_halves_and_the_ceiling() -> None:
    (row,) = overview(found("one")).rows
    assert row == ("one", "50.0 %", "100.0 %", "55.3 %", "mu 0.100", "mu 0.268", "holds")
