"""The note of a failure: whose, where, and the exact command that goes on; no earlier results beside it."""

from __future__ import annotations

import json
import os
import sys
from pathlib import Path

import pytest

from secure_fair.errors import PartyLost, ProcessFailed, UsageError
from secure_fair.scenarios.failure import check_place, note_failed_party, note_failed_run, resume_command
from secure_fair.scenarios.nursery import Nursery
from secure_fair.scenarios.processes import job_of, run_parties
from secure_fair.scenarios.progress import LineReporter
from secure_fair.scenarios.schema import Scenario


def noted(folder: Path) -> dict[str, object]:
    return json.loads((folder / "failed.json").read_text())


def test_a_simulated_run_says_which_party_and_after_how_many_epochs(tmp_path: Path) -> None:
    (tmp_path / "developer").mkdir()
    (tmp_path / "developer" / "rounds.jsonl").write_text("{}\n{}\n")
    command = note_failed_run(tmp_path, "parity", tmp_path, ProcessFailed("lost dealer: it was killed", 5, "dealer"))
    assert command == f"secure-fair resume {tmp_path}"
    wanted = {"status": "failed", "method": "parity", "party": "dealer", "epochs": 2}
    assert noted(tmp_path) == {**wanted, "error": "lost dealer: it was killed", "resume": command}
    assert os.stat(tmp_path / "failed.json").st_mode & 0o077 == 0
    note_failed_run(tmp_path, "parity", tmp_path, KeyboardInterrupt())
    assert (noted(tmp_path)["party"], noted(tmp_path)["error"]) == ("launcher", "interrupted")


def test_a_party_says_how_it_is_started_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    arguments = ["party", "auditor", "--state", "my state", "--new-state"]
    monkeypatch.setattr(sys, "argv", ["secure-fair", *arguments])
    error = PartyLost("developer", "silent for 54.0 s")
    assert note_failed_party(tmp_path, "auditor", tmp_path / "state", error) is None  # nothing was begun
    run = tmp_path / "state" / "runs" / "tiny-1"
    run.mkdir(parents=True)
    (run / "begun.json").write_text("{}")
    (run / "ledger.json").write_text('{"entries": 7, "hash": ""}')
    (run / "epoch-3.json").write_text("{}")
    older = tmp_path / "state" / "runs" / "tiny-0"  # by the ledger; a clock may have gone back since
    older.mkdir()
    (older / "ledger.json").write_text('{"entries": 5, "hash": ""}')
    (older / "begun.json").write_text("{}")
    command = note_failed_party(tmp_path, "auditor", tmp_path / "state", error)
    assert (
        command == "secure-fair party auditor --state 'my state' --resume" == resume_command([*arguments, "--resume"])
    )
    assert (noted(tmp_path)["run"], noted(tmp_path)["epochs"]) == ("tiny-1", 3)


def test_a_folder_with_results_is_not_begun_in_again(tmp_path: Path) -> None:
    check_place(tmp_path, resumed=False)
    (tmp_path / "failed.json").write_text("{}")
    check_place(tmp_path, resumed=True)
    assert not (tmp_path / "failed.json").exists()
    (tmp_path / "party.json").write_text("{}")
    check_place(tmp_path, resumed=True)
    with pytest.raises(UsageError, match="holds the results of an earlier run; name another folder"):
        check_place(tmp_path, resumed=False)


def test_parties_that_have_all_written_their_results_are_not_started_again(tmp_path: Path) -> None:
    """Somebody has failed after that; where one has not written its own, all begin again."""
    scenario = Scenario.load("faces-wavy-gender")
    names = [f"auditor-{auditor.name}" for auditor in scenario.secure.auditors]
    for folder in ("developer", *names):
        (tmp_path / folder / "state").mkdir(parents=True)
        (tmp_path / folder / "party.json").write_text("{}")
    said: list[str] = []
    report = LineReporter()
    report.stage = said.append  # type: ignore[method-assign, assignment]
    job = job_of(scenario, tmp_path / "no stores", tmp_path)
    with Nursery([]) as nursery:
        run_parties(job, report, nursery)
    assert said == ["all parties had written their results: going on with those"]
    assert (tmp_path / "developer" / "party.json").exists()
    assert not (tmp_path / "developer" / "state").exists()
    (tmp_path / names[0] / "party.json").unlink()
    assert not job_of(scenario, tmp_path / "no stores", tmp_path).resume
    assert not (tmp_path / "developer").exists()
