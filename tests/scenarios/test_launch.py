"""`secure-fair run` as a user runs it: what it leaves, and what happens when a party or it itself is killed."""

from __future__ import annotations

import csv
import io
import json
import math
import os
import re
import signal
import stat
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import torch
from click.testing import CliRunner
from safetensors.torch import load_file

from secure_fair.privacy.accounting import gaussian_epsilon, gaussian_mu
from secure_fair.report.html import write_report
from secure_fair.scenarios.cli.main import main
from secure_fair.scenarios.cli.run import result_text
from secure_fair.scenarios.launch import run
from secure_fair.scenarios.progress import LineReporter
from secure_fair.scenarios.run_review import failed, review_run
from tests.parties.company import tiny
from tests.parties.planted import Planted, found_in, plant

KEYS = {
    *("status", "scenario", "method", "release", "mode", "seed", "records", "utility", "fairness"),
    *(
        "fairness_released",
        "privacy",
        "cost",
        "dealer_cost",
        "openings",
        "warnings",
        "security",
        "compare",
        "total_seconds",
    ),
    *("intersections", "worst_intersectional_gap", "pictures", "task", "intervals", "past", "verdicts"),
}


@dataclass
class Launcher:
    """`secure-fair run` as a process with a temporary folder of its own."""

    process: subprocess.Popen[bytes]
    out: Path
    temporary: Path
    log: Path

    def parties(self) -> dict[str, int]:
        """Name and process id of every party that it has running: they have its environment."""
        found = {}
        for place in Path("/proc").glob("[0-9]*"):
            try:
                name = (place / "comm").read_text().strip()
                if name.startswith("sf ") and self._own in (place / "environ").read_bytes().split(b"\0"):
                    found[name.removeprefix("sf ")] = int(place.name)
            except OSError:
                continue
        return found

    @property
    def _own(self) -> bytes:
        return b"TMPDIR=" + os.fsencode(self.temporary)

    def wait_for(self, words: str, seconds: float = 120) -> None:
        """Until it has said so on stderr."""
        deadline = time.monotonic() + seconds
        while words not in self.log.read_text():
            assert self.process.poll() is None, self.log.read_text()
            assert time.monotonic() < deadline, self.log.read_text()
            time.sleep(0.05)

    def end(self, seconds: float) -> int:
        """Its exit code; an error if it does not end in time, or leaves a process or a temporary file."""
        code = self.process.wait(seconds)
        deadline = time.monotonic() + 10
        while self.parties() and time.monotonic() < deadline:
            time.sleep(0.05)
        assert self.parties() == {}
        return code


@contextmanager
def launched(folder: Path, weights: Path, **sections: Any) -> Iterator[Launcher]:
    """A scenario of ``tiny``'s kind, launched."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "scenario.toml").write_text(tiny(weights, **sections).to_toml())
    temporary, log = folder / "temporary", folder / "stderr"
    temporary.mkdir()
    command = [sys.executable, "-m", "secure_fair", "run", str(folder / "scenario.toml")]
    command += ["--out", str(folder / "out"), "--format", "json"]
    environment = {**os.environ, "TMPDIR": str(temporary), "OMP_NUM_THREADS": "1"}
    with log.open("wb") as stderr, (folder / "stdout").open("wb") as stdout:
        process = subprocess.Popen(command, stdout=stdout, stderr=stderr, env=environment)
    launcher = Launcher(process, folder / "out", temporary, log)
    try:
        yield launcher
    finally:
        if process.poll() is None:
            process.kill()
            process.wait()
        for pid in launcher.parties().values():
            os.kill(pid, signal.SIGKILL)


# --- a run ------------------------------------------------------------------------------------------------------------


@dataclass
class Finished:
    """A run that has ended well."""

    out: Path
    planted: Planted
    temporary: Path
    stdout: str

    @property
    def summary(self) -> dict[str, Any]:
        return json.loads((self.out / "summary.json").read_text())


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory, random_weights: Path) -> Finished:
    """One whole run on a data set with planted tokens."""
    folder = tmp_path_factory.mktemp("launch")
    planted = plant(folder / "people")
    with launched(folder / "run", random_weights, data=planted.data, lora={"last_blocks": 1}) as launcher:
        code = launcher.end(250)
        assert code == 0, launcher.log.read_text()
    return Finished(launcher.out, planted, launcher.temporary, (folder / "run" / "stdout").read_text())


def test_a_review_of_the_run_finds_nothing_wrong(finished: Finished) -> None:
    """With what all parties kept of it."""
    found = review_run(finished.out)
    assert not failed(found), failed(found)
    assert {check["name"] for check in found["checks"]} >= {"ledgers of developer and auditor agree", "files of dealer"}
    assert {account["epsilon"] for account in found["accounts"]} == {None}  # its releases are exact
    assert {line["received"] == line["releases"] for line in found["learned"]} == {True}


def test_the_run_folder_has_everything(finished: Finished) -> None:
    assert {path.name for path in finished.out.iterdir()} == {
        *("README.txt", "scenario.toml", "environment.json", "summary.json", "report.html", "predictions.csv"),
        "audit.csv",
        *("developer", "auditor-auditor", "dealer"),
    }
    developer = {path.name for path in (finished.out / "developer").iterdir()}
    assert developer >= {
        "pictures.json",
        "adapter",
        "head.safetensors",
        "rounds.jsonl",
        "ledger.jsonl",
        "predictions.csv",
        "party.json",
    }
    assert (finished.out / "auditor-auditor" / "ledger.jsonl").is_file()
    assert finished.summary.keys() >= KEYS
    assert json.loads(finished.stdout) == finished.summary


def test_the_folder_as_a_whole_is_the_experimenters(finished: Finished) -> None:
    """It says so first thing, where its exact rates are shown too, names each party's part, and is for its owner."""
    readme = (finished.out / "README.txt").read_text()
    assert readme.startswith("This folder as a whole is the experimenter's alone")
    folders = {path.name for path in finished.out.iterdir() if path.is_dir()}
    assert {line.strip(" /") for line in readme.splitlines() if line.startswith("    ")} == folders
    assert stat.S_IMODE(finished.out.stat().st_mode) == 0o700
    page = (finished.out / "report.html").read_text()
    assert page.index("The experimenter's alone") < page.index("<h2>")


def test_what_was_released_exactly_is_what_the_experimenter_sees(finished: Finished) -> None:
    """Counts under secret sharing against the launcher's own table: two ways to the same metrics."""
    exact = finished.summary["fairness"]["sex"]
    released = finished.summary["fairness_released"]["sex"]
    assert exact["groups"].keys() == set(finished.planted.groups)
    for metric, value in exact.items():
        if metric not in ("groups", "null_floor", "intervals", "group_intervals"):  # all but the first its own
            assert released[metric] == pytest.approx(value, abs=1e-9), metric
    audit = released["audit"]  # the same counts as an audit has them
    rates = {row["group"]: row["selection rate"]["value"] for row in audit["groups"]}
    assert rates == pytest.approx({name: row["selection_rate"] for name, row in exact["groups"].items()})
    assert audit["metrics"]["selection rate difference"]["value"] == pytest.approx(
        exact["demographic_parity_difference"]
    )
    assert (finished.out / "audit.csv").is_file()


def test_exact_releases_are_named_as_such(finished: Finished) -> None:
    assert finished.summary["privacy"]["attributes"]["sex"]["exact"] is True
    assert finished.summary["privacy"]["attributes"]["sex"]["epsilon"] is None
    assert any("exact releases" in warning for warning in finished.summary["security"]["warnings"])
    assert finished.summary["security"]["ledger"] == "simulated"


def test_nobody_s_folder_holds_anybody_s_secrets(finished: Finished) -> None:
    planted = finished.planted
    assert found_in(planted.personal, finished.out / "developer") == []
    assert found_in([*planted.personal, *planted.classes, *planted.groups], finished.out / "dealer") == []
    assert found_in([*planted.personal, *planted.classes], finished.out / "auditor-auditor") == []
    assert found_in(planted.personal, finished.out / "report.html", finished.out / "summary.json") == []


def test_names_tell_attributes_and_are_the_experimenters_alone(finished: Finished) -> None:
    """Whoever has the names has every test record's group, for the files are called by it; the developer has ids."""
    groups = finished.planted.groups
    with (finished.out / "predictions.csv").open(newline="") as file:
        names = [row["record"] for row in csv.DictReader(file)]
    assert len(names) == finished.summary["records"]["test"]
    guessed = [next(group for group in groups if group in name) for name in names]
    with (finished.planted.root / "people.csv").open(newline="") as file:
        held = {row["picture"]: row["sex"] for row in csv.DictReader(file)}
    assert guessed == [held[name] for name in names]
    assert found_in(names, *(folder for folder in finished.out.iterdir() if folder.is_dir())) == []


def test_the_environment_tells_versions_and_no_place(finished: Finished) -> None:
    text = (finished.out / "environment.json").read_text()
    assert "torch" in json.loads(text)["packages"]
    host = re.escape(os.uname().nodename)  # by itself: a host called ci is not told by scipy
    assert re.search(rf"(?<![a-z0-9]){host}(?![a-z0-9])", text, re.IGNORECASE) is None
    assert str(finished.out.parent) not in text
    assert sys.prefix not in text


def test_nothing_is_left_in_temporary_folders(finished: Finished) -> None:
    """The stores hold pictures and attributes, the identities private keys."""
    assert list(finished.temporary.iterdir()) == []


def test_methods_to_compare_run_before_the_main_one(tmp_path: Path, random_weights: Path) -> None:
    scenario = tiny(random_weights, secure={"mode": "plain"}).model_copy(update={"compare": ("erm",)})
    summary = run(scenario, tmp_path, LineReporter())
    assert [other["method"] for other in summary["compare"]] == ["erm"]
    assert summary["method"] == "parity"
    assert json.loads((tmp_path / "compare" / "erm" / "summary.json").read_text())["openings"] == [
        line for line in summary["openings"] if line["operation"] == "evaluation_counts"
    ]


def test_compared_methods_add_to_what_is_told_of_the_same_people(tmp_path: Path, random_weights: Path) -> None:
    """Two evaluations of the same test records are one release with mu^2 twice as large."""
    privacy = {"epsilon": 0.5, "evaluation_epsilon": 1.0, "reserve_releases": 0}
    scenario = tiny(random_weights, secure={"mode": "plain"}, privacy=privacy)
    summary = run(scenario.model_copy(update={"compare": ("erm",)}), tmp_path, LineReporter())
    alone, together = (
        summary["privacy"]["attributes"]["male"],
        summary["privacy"]["with_compared"]["attributes"]["male"],
    )
    delta = 1e-5
    twice = gaussian_epsilon(math.sqrt(2) * gaussian_mu(1.0, delta), delta)
    assert alone["epsilon"] == pytest.approx(1.0, rel=1e-6)
    assert together["epsilon"] == pytest.approx(twice, rel=1e-6)
    assert together["releases"] == alone["releases"] + 1
    assert (together["exact"], together["delta"]) == (False, delta)
    assert summary["privacy"]["with_compared"]["records"] == {}
    text = result_text(summary, tmp_path)
    assert f"with compared methods  male    {twice:.3g}".split() == next(
        line.split()[:5] for line in text.splitlines() if line.startswith("with compared")
    )
    assert "with compared methods" in write_report(tmp_path).read_text()


@pytest.mark.slow
def test_what_auditors_were_told_is_among_the_openings(tmp_path: Path, random_weights: Path) -> None:
    """A noised run, whose rows the auditor checks by default."""
    summary = run(tiny(random_weights, train={"epochs": 1}, privacy={"epsilon": 1.0}), tmp_path, LineReporter())
    told = [line for line in summary["openings"] if line["receiver"] == "auditor"]
    released = [line for line in summary["openings"] if line["receiver"] == "developer"]
    assert {line["operation"] for line in told} == {f"row check of {line['operation']}" for line in released}
    assert sum(line["releases"] for line in told) == sum(line["releases"] for line in released) > 1
    assert "row check of moment" in result_text(summary, tmp_path)
    assert "row check of moment" in write_report(tmp_path).read_text()


def test_a_compared_method_s_trainings_on_own_records_are_counted(tmp_path: Path, random_weights: Path) -> None:
    scenario = tiny(random_weights, secure={"mode": "plain"}, train={"epochs": 1})
    summary = run(scenario.model_copy(update={"compare": ("orth",)}), tmp_path, LineReporter())
    assert summary["privacy"]["records"] == {}
    together = summary["privacy"]["with_compared"]
    assert together["records"]["auditor"]["male"]["exact"] is True
    assert together["attributes"]["male"]["epsilon"] is None


@pytest.mark.slow
def test_a_collapse_is_said_while_it_happens_and_afterwards_everywhere(tmp_path: Path) -> None:
    """Parity far too strong from the first step on, beside the same training without it."""
    portraits = {"records": 400, "correlation": 0.5, "image_size": 64, "dataset": "faces", "target": "wavy_hair"}
    split = {"developer": 0.5, "auditor": 0.25, "test": 0.25}
    scenario = tiny(
        Path("embedded"),
        data={**portraits, "sensitive": ["male"], "split": split},
        train={"epochs": 3},
        method={"name": "parity", "strength": 1000.0, "ramp": 0.0},
        secure={"mode": "plain"},
    ).model_copy(update={"compare": ("erm",)})
    said = io.StringIO()
    summary = run(scenario, tmp_path, LineReporter(said))
    fair = summary["compare"][0]
    assert (fair["status"], fair["warnings"]) == ("ok", [])
    assert summary["status"] == "collapsed"
    (warning,) = summary["warnings"]
    assert "parity: in epoch" in warning
    assert "lower method.strength" in warning
    assert said.getvalue().count("warning: ") == 1
    assert said.getvalue().index(f"warning: {warning}") < said.getvalue().index(
        "epoch 3/3", said.getvalue().index(warning)
    )
    after = "the classifier of parity (moments) is collapsed on the test records"
    text = result_text(summary, tmp_path)
    assert f"warning: {warning}" in text
    assert f"warning: {after}" in text
    page = write_report(tmp_path).read_text()
    assert warning in page
    assert after in page
    rounds = [json.loads(line) for line in (tmp_path / "developer" / "rounds.jsonl").read_text().splitlines()]
    assert len(rounds) == 3
    assert rounds[-1]["balanced_accuracy"] < 0.51
    assert all(0.5 <= entry["largest_share"] <= 1 for entry in rounds)


# --- ends before the end ----------------------------------------------------------------------------------------------

LASTING = {"train": {"epochs": 500}, "method": {"name": "adv", "strength": 0.1}}


@pytest.mark.slow
@pytest.mark.parametrize(
    "victim",
    ["auditor", pytest.param("developer", marks=pytest.mark.long), pytest.param("dealer", marks=pytest.mark.long)],
)
def test_a_killed_party_ends_the_run_and_is_named(tmp_path: Path, random_weights: Path, victim: str) -> None:
    with launched(tmp_path, random_weights, **LASTING) as launcher:
        launcher.wait_for('"epoch": 2')
        os.kill(launcher.parties()[victim], signal.SIGKILL)
        assert launcher.end(25) == 5
        said = launcher.log.read_text()
    assert f"lost {victim}: it was killed by signal 9" in said
    assert "Traceback" not in said
    assert not (launcher.out / "summary.json").exists()
    assert list(launcher.temporary.iterdir()) == []
    failed = json.loads((launcher.out / "failed.json").read_text())
    assert (failed["status"], failed["method"], failed["party"]) == ("failed", "adv", victim)
    assert failed["epochs"] >= 2
    assert failed["resume"] == f"secure-fair resume {launcher.out}"
    assert f"go on with it: {failed['resume']}" in said
    assert (launcher.out / "auditor-auditor" / "state" / "ledger" / "ledger.jsonl").is_file()


@pytest.mark.slow
@pytest.mark.parametrize(
    "victim",
    ["developer", pytest.param("auditor", marks=pytest.mark.long), pytest.param("dealer", marks=pytest.mark.long)],
)
def test_a_run_that_has_failed_is_gone_on_with(tmp_path: Path, random_weights: Path, victim: str) -> None:
    """By its folder alone, and to the same model as one that nobody has interrupted."""
    sections = {"train": {"epochs": 10}, "method": {"name": "parity"}, "data": {"records": 160}}
    with launched(tmp_path / "secure", random_weights, **sections) as launcher:
        launcher.wait_for('"epoch": 2')
        os.kill(launcher.parties()[victim], signal.SIGKILL)
        assert launcher.end(60) == 5
    key = (launcher.out / "join.key").read_bytes()
    result = CliRunner().invoke(main, ["resume", str(launcher.out)])
    assert result.exit_code == 0, result.output
    assert "going on with run tiny-parity-" in result.stderr
    assert not (launcher.out / "failed.json").exists()
    assert not (launcher.out / "join.key").exists()
    assert not failed(review_run(launcher.out))
    again = CliRunner().invoke(main, ["resume", str(launcher.out)])
    assert (again.exit_code, "this run has ended" in again.output) == (2, True)
    if victim == "developer":
        assert_nobody_trains_anew(launcher.out, key)

    whole = run(tiny(random_weights, secure={"mode": "plain"}, **sections), tmp_path / "plain", LineReporter())
    assert whole["utility"] == json.loads((launcher.out / "summary.json").read_text())["utility"]
    heads = [load_file(out / "developer" / "head.safetensors") for out in (launcher.out, tmp_path / "plain")]
    assert all(torch.equal(heads[0][name], weight) for name, weight in heads[1].items())


def assert_nobody_trains_anew(out: Path, key: bytes) -> None:
    """As where somebody has failed when all had written their results: those are gone on with."""
    summary, head = out / "summary.json", out / "developer" / "head.safetensors"
    before, trained = json.loads(summary.read_text()), head.stat().st_mtime_ns
    summary.unlink()
    (out / "join.key").write_bytes(key)
    result = CliRunner().invoke(main, ["resume", str(out)])
    assert result.exit_code == 0, result.output
    assert "all parties had written their results: going on with those" in result.stderr
    assert head.stat().st_mtime_ns == trained
    assert json.loads(summary.read_text())["utility"] == before["utility"]


@pytest.mark.long
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_an_interrupted_launcher_takes_its_parties_along(
    tmp_path: Path, random_weights: Path, number: signal.Signals
) -> None:
    with launched(tmp_path, random_weights, **LASTING) as launcher:
        launcher.wait_for("connecting")
        launcher.process.send_signal(number)
        assert launcher.end(25) == 130
    assert list(launcher.temporary.iterdir()) == []


@pytest.mark.long
def test_parties_end_with_a_launcher_that_is_killed(tmp_path: Path, random_weights: Path) -> None:
    with launched(tmp_path, random_weights, **LASTING) as launcher:
        launcher.wait_for('"epoch": 2')
        launcher.process.kill()
        launcher.end(5)
