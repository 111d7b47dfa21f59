"""Sweeps: the grid, runs that equal those of `run`, going on after a stop, spot checks, and the report from the CSV."""

from __future__ import annotations

import csv
import math
import statistics
import subprocess
import sys
import time
from pathlib import Path

import psutil
import pytest
from click.testing import CliRunner

from secure_fair.errors import UsageError
from secure_fair.report import attacks
from secure_fair.report.columns import FLOORS, GAPS
from secure_fair.report.settings import group_settings
from secure_fair.report.sweep import write_sweep_report
from secure_fair.report.sweep_tables import settings_table
from secure_fair.scenarios import launch, spot_check
from secure_fair.scenarios.cli import main
from secure_fair.scenarios.files import library
from secure_fair.scenarios.grid import GridRun, SweepFile, load, merge, points, runs_of
from secure_fair.scenarios.progress import LineReporter
from secure_fair.scenarios.schema import Scenario
from secure_fair.scenarios.sweep import COLUMNS, REVISION, Lines, sweep

SMALL = """
name = "small"
base = "quickstart"
seeds = [0]
set.data.records = 160
set.data.split = { developer = 0.5, auditor = 0.2, test = 0.3 }
set.train.epochs = 1
set.train.batch_size = 32
set.privacy.evaluation_epsilon = ""
"""
EXACT_PARITY = """
[[grid]]
method.name = "parity"
method.strength = 4.0
privacy.epsilon = inf
"""
ERM = """
[[grid]]
method.name = "erm"
"""


@pytest.fixture(autouse=True)
def cache(tmp_path_factory, monkeypatch):
    """Nothing is left in the user's own cache; workers inherit the setting."""
    monkeypatch.setenv("SECURE_FAIR_CACHE", str(tmp_path_factory.getbasetemp() / "cache"))


def written(folder: Path, text: str) -> SweepFile:
    file = folder / "sweep.toml"
    file.write_text(text)
    return load(file)


def rows_in(folder: Path) -> list[dict[str, str]]:
    with (folder / "runs.csv").open(newline="") as file:
        return list(csv.DictReader(file))


def row(**values: str) -> dict[str, str]:
    """A line of runs.csv with everything that is not given at some plain value."""
    plain = dict.fromkeys(COLUMNS, "") | {
        "scenario": "s",
        "attribute": "a",
        "method": "parity",
        "release": "moments",
        "strength": "2",
        "asked_epsilon": "1",
        "epsilon": "1",
        "test_records": "400",
        "training_records": "100",
        "epochs": "1",
        "delta": "1e-05",
        "accuracy": "0.8",
        "balanced_accuracy": "0.8",
        "demographic_parity_difference": "0.1",
        "equalized_odds_difference": "0.1",
        "status": "ok",
    }
    return plain | values


# --- the grid ---------------------------------------------------------------------------------------------------------


def test_a_list_is_an_axis_and_all_combinations_are_points():
    found = list(points({"method": {"name": ["parity", "odds"], "strength": 2.0}, "train": {"epochs": [1, 2]}}))
    assert found == [
        {"method.name": name, "method.strength": 2.0, "train.epochs": epochs}
        for name in ("parity", "odds")
        for epochs in (1, 2)
    ]
    assert list(points({"data": {"sensitive": [["male"], ["young"]]}})) == [
        {"data.sensitive": ["male"]},
        {"data.sensitive": ["young"]},
    ]


def test_every_point_is_run_for_every_base_and_seed(tmp_path):
    text = """
        name = "grid"
        base = ["quickstart", "utkface-age-gender"]
        seeds = [3, 4]
        [[grid]]
        method.name = ["parity", "odds"]
        privacy.epsilon = [0.5, inf]
        [[grid]]
        base = "celeba-wavy-gender"
        method.name = "erm"
    """
    runs = runs_of(written(tmp_path, text))
    assert len(runs) == 2 * 2 * 4 + 2
    assert len({run.key for run in runs}) == len(runs)
    first = runs[0].scenario
    assert (first.name, first.seed, first.method.name, first.secure.mode) == ("quickstart", 3, "parity", "plain")
    assert first.compare == ()
    assert first.privacy is not None
    assert first.privacy.epsilon == 0.5
    assert runs[1].scenario.privacy is None
    assert [run.scenario.name for run in runs[-2:]] == ["celeba-wavy-gender"] * 2


def test_keys_are_taken_out_and_overrides_come_last(tmp_path):
    assert merge({"a": {"b": 1, "c": 2}}, {"a": {"b": ""}}, {"a": {"d": 3}}) == {"a": {"c": 2, "d": 3}}
    assert merge({"privacy": {"epsilon": 1.0, "delta": 1e-5}}, {"privacy": {"epsilon": math.inf}}) == {}
    runs = runs_of(written(tmp_path, SMALL + EXACT_PARITY), ["method.strength=7.5"])
    assert [run.scenario.method.strength for run in runs] == [7.5]


def test_runs_with_noise_are_done_as_often_as_is_wanted(tmp_path):
    """Others have one result; the draws of a seed are runs of their own, and the first is the run of before."""
    text = "noise_draws = 3" + SMALL + EXACT_PARITY + ERM + '[[grid]]\nmethod.name = "parity"\nprivacy.epsilon = 1.0\n'
    runs = runs_of(written(tmp_path, text))
    assert [(run.scenario.method.name, run.noised, run.draw) for run in runs] == [
        ("parity", False, 0),
        ("erm", False, 0),
        ("parity", True, 0),
        ("parity", True, 1),
        ("parity", True, 2),
    ]
    assert len({run.key for run in runs}) == 5
    assert runs[2].key in {run.key for run in runs_of(written(tmp_path, text.replace("noise_draws = 3", "")))}
    assert runs[4].label.endswith("seed 0, draw 3 of noise")


def test_all_problems_of_all_points_are_told_at_once(tmp_path):
    text = SMALL + '[[grid]]\nmethod.name = ["erm", "nonsense"]\n[[grid]]\nmethod.strength = -1.0\n'
    with pytest.raises(UsageError) as caught:
        runs_of(written(tmp_path, text))
    assert len(caught.value.problems) == 2
    assert "nonsense" in caught.value.problems[0]
    assert "method.strength" in caught.value.problems[1]


def test_a_run_has_those_keys_that_its_method_uses_and_a_key_for_none_is_refused(tmp_path):
    text = SMALL + '[[grid]]\nmethod.name = ["erm", "parity", "unl"]\nmethod.strength = 3.0\nmethod.components = 8\n'
    found = {run.scenario.method.name: run.scenario.method for run in runs_of(written(tmp_path, text))}
    assert found["erm"] == Scenario.load("quickstart", ["method.name=erm"]).method
    assert [(found[name].strength, found[name].components) for name in ("parity", "unl")] == [(3.0, 8), (3.0, None)]
    with pytest.raises(UsageError, match=r"^method\.sensitive_scale: no method of the sweep uses it; leave it out$"):
        runs_of(written(tmp_path, text), ["method.sensitive_scale=1"])


def test_a_run_is_the_same_wherever_its_data_lies_and_another_with_another_setting():
    def key(*overrides: str) -> str:
        return GridRun(Scenario.load("celeba-wavy-gender", overrides), "").key

    assert key("data.root=/elsewhere", "backbone.weights=here/deit_tiny_patch16_224.safetensors") == key()
    others = [key("method.strength=7"), key("seed=1"), key("privacy.epsilon=2"), key("backbone.weights=other.pt")]
    assert len({key(), *others}) == 5
    erm = ("method.name=erm", "compare=")
    assert key(*erm, "privacy.epsilon=2") == key(*erm)


@pytest.mark.parametrize("name", library("sweep"))
def test_the_librarys_sweeps_are_valid_and_name_no_place_of_a_machine(name):
    runs = runs_of(load(name))
    assert {run.scenario.seed for run in runs} >= {0, 1, 2}
    assert not any(Path(run.scenario.data.root or "").is_absolute() for run in runs)


# --- running ----------------------------------------------------------------------------------------------------------


def test_a_sweeps_run_equals_run(tmp_path):
    """The same split, order and tokens: what `run` gives for that scenario and seed, to the last digit."""
    runs = runs_of(written(tmp_path, SMALL + EXACT_PARITY))
    sweep(runs, tmp_path, LineReporter(), jobs=1)
    (found,) = rows_in(tmp_path)
    out = tmp_path / "run"
    out.mkdir()
    summary = launch.run(runs[0].scenario, out, LineReporter())
    gaps = summary["fairness"]["male"]
    assert float(found["accuracy"]) == pytest.approx(summary["utility"]["accuracy"], abs=1e-6)
    assert float(found["auroc"]) == pytest.approx(summary["utility"]["auroc"], abs=2e-3)
    for name in GAPS:
        assert float(found[name]) == pytest.approx(gaps[name], abs=1e-6)
    for name, floor in FLOORS.items():
        assert float(found[floor]) == pytest.approx(gaps["null_floor"][name], abs=1e-6)
    assert found["groups"] == "2"
    assert (found["asked_epsilon"], found["epsilon"]) == ("inf", "inf")


def test_runs_of_another_revision_are_done_again(tmp_path, capsys):
    """Their lines would stand beside lines of a program that gives other results."""
    runs = runs_of(written(tmp_path, SMALL.replace("[0]", "[0, 1]") + ERM))
    sweep(runs, tmp_path, LineReporter(), jobs=1)
    before = rows_in(tmp_path)
    file = tmp_path / "runs.csv"
    file.write_text(file.read_text().replace(f",{REVISION}\n", ",0\n", 1))
    capsys.readouterr()
    sweep(runs, tmp_path, LineReporter(), jobs=1)
    assert "2 runs, 1 of them done already, 1 are done again" in capsys.readouterr().err
    assert {line["run"]: line | {"seconds": ""} for line in rows_in(tmp_path)} == {
        line["run"]: line | {"seconds": ""} for line in before
    }


def test_a_stopped_sweep_goes_on_and_leaves_finished_runs_alone(tmp_path):
    whole = runs_of(written(tmp_path, SMALL + ERM + '[[grid]]\nmethod.name = "parity"\nprivacy.epsilon = 2.0\n'))
    sweep(whole[:1], tmp_path, LineReporter(), jobs=1)
    file = tmp_path / "runs.csv"
    before = file.read_bytes()
    with file.open("ab") as torn:  # the next line, as a power cut leaves it
        torn.write(b"0123456789abcdef,quickst")
    sweep(whole, tmp_path, LineReporter(), jobs=1)
    assert file.read_bytes().startswith(before)
    first, second = rows_in(tmp_path)
    assert (first["method"], first["epsilon"], first["release"]) == ("erm", "0", "")
    assert (second["method"], second["release"], second["asked_epsilon"]) == ("parity", "moments", "2")
    assert 0 < float(second["epsilon"]) <= 2.0
    after = file.read_bytes()
    sweep(whole, tmp_path, LineReporter(), jobs=1)
    assert file.read_bytes() == after


@pytest.mark.slow
def test_workers_compute_what_one_process_does(tmp_path):
    runs = runs_of(written(tmp_path, SMALL.replace("[0]", "[0, 1]") + ERM))
    alone, together = tmp_path / "alone", tmp_path / "together"
    for folder, some, jobs in ((alone, runs[:1], 1), (together, runs, 2)):
        folder.mkdir()
        sweep(some, folder, LineReporter(), jobs=jobs)
    found = {line["run"]: line | {"seconds": ""} for line in rows_in(together)}
    assert set(found) == {run.key for run in runs}
    (expected,) = rows_in(alone)
    assert found[runs[0].key] == expected | {"seconds": ""}


@pytest.mark.long
def test_workers_end_with_a_sweep_that_is_killed(tmp_path):
    (tmp_path / "sweep.toml").write_text(SMALL.replace("[0]", "[0, 1]") + ERM)
    command = [sys.executable, "-m", "secure_fair", "sweep", str(tmp_path / "sweep.toml")]
    process = subprocess.Popen([*command, "--out", str(tmp_path / "out"), "--jobs", "2"], stderr=subprocess.DEVNULL)
    try:
        workers = wait_for(lambda: [child for child in psutil.Process(process.pid).children() if is_worker(child)])
    finally:
        process.kill()
        process.wait()
    wait_for(lambda: not any(worker.is_running() for worker in workers))


def is_worker(process: psutil.Process) -> bool:
    """One that multiprocessing has spawned for work, and not to keep track of resources."""
    return any("spawn_main" in word for word in process.cmdline())


def wait_for(condition, seconds: float = 120.0):
    """The first true value of the condition."""
    deadline = time.monotonic() + seconds
    while not (value := condition()):
        assert time.monotonic() < deadline
        time.sleep(0.1)
    return value


def test_a_training_that_diverges_is_a_result(tmp_path):
    runs = runs_of(written(tmp_path, SMALL + '[[grid]]\nmethod.name = "erm"\ntrain.learning_rate = 1e30\n'))
    sweep(runs, tmp_path, LineReporter(), jobs=1)
    (found,) = rows_in(tmp_path)
    assert (found["status"], found["accuracy"]) == ("diverged", "")
    (setting,) = group_settings([found])
    assert (setting.diverged, setting.metrics["accuracy"]) == (1, None)


# --- spot checks ------------------------------------------------------------------------------------------------------


@pytest.mark.slow
def test_a_spot_check_runs_in_secure_mode_and_agrees(tmp_path):
    runs = runs_of(written(tmp_path, SMALL + EXACT_PARITY))
    spot_check.check(runs, tmp_path, LineReporter(), count=1)
    (found,) = Lines(tmp_path / "checks.csv", spot_check.CHECK_COLUMNS).rows()
    assert (found["releases"], found["verdict"]) == ("exact", "agrees")
    assert float(found["same_predictions"]) >= spot_check.EXACT_AGREEMENT


def test_checks_that_must_fail_do():
    checked = row(releases="exact", same_predictions="0.9")
    assert spot_check.judge(checked, [])["verdict"] == "DISAGREES"
    values = ("0.80", "0.81", "0.79", "0.80", "0.81", "0.79")
    swept = [*(row(accuracy=value) for value in values), row(accuracy="0.1", strength="9")]
    secure = {"secure_demographic_parity_difference": "0.1", "secure_equalized_odds_difference": "0.12"}
    for accuracy, verdict in (("0.83", "within the 99% interval"), ("0.60", "OUTSIDE the 99% interval")):
        noised = row(releases="noised", same_predictions="0.9", secure_accuracy=accuracy, **secure)
        judged = spot_check.judge(noised, swept)
        assert judged["verdict"] == verdict
        assert judged["plain_accuracy"] == "0.800000"
    assert spot_check.judge(noised, swept[:1])["verdict"].startswith("not judged")


# --- the report -------------------------------------------------------------------------------------------------------


def test_mean_and_spread_are_taken_over_the_seeds_of_one_setting():
    accuracies = ["0.80", "0.83", "0.77"]
    rows = [row(seed=str(seed), accuracy=value) for seed, value in enumerate(accuracies)]
    rows += [row(seed="0", accuracy="0.5", asked_epsilon="0.1", epsilon="0.1", status="collapsed")]
    weaker, stronger = group_settings(rows)
    assert (weaker.asked, weaker.runs, weaker.trouble) == (0.1, 1, "1 collapsed")
    spread = stronger.metrics["accuracy"]
    assert spread is not None
    assert spread.mean == pytest.approx(0.8)
    assert spread.deviation == pytest.approx(statistics.stdev(map(float, accuracies)))
    assert str(spread) == "0.800 ± 0.030"


def test_a_gap_stands_beside_what_chance_would_show():
    floored = [row(**dict.fromkeys(FLOORS.values(), "0.04"))]
    assert [name for name in settings_table(group_settings(floored)).header if "chance" in name] == [
        "DPD by chance",
        "EOD by chance",
    ]
    assert not any("chance" in name for name in settings_table(group_settings([row()])).header)


def test_the_report_is_made_of_the_csv_alone(tmp_path):
    table = Lines(tmp_path / "runs.csv", COLUMNS)
    table.append(
        [row(seed=str(seed), asked_epsilon=eps, epsilon=eps) for seed in (0, 1) for eps in ("0.3", "3", "inf")]
    )
    table.append([row(method="erm", release="", strength="", asked_epsilon="", epsilon="0", seed="0")])
    file = tmp_path / "s.toml"
    file.write_text(SMALL + ERM)
    result = CliRunner().invoke(main, ["sweep", str(file), "--out", str(tmp_path), "--report-only"])
    assert result.exit_code == 0, result.output
    assert "parity (moments)" in result.output
    assert "exact" in (tmp_path / "results.md").read_text()
    with (tmp_path / "summary.csv").open(newline="") as summary:
        assert {line["runs"] for line in csv.DictReader(summary)} == {"1", "2"}
    (first, *_) = write_sweep_report(tmp_path).tree()["tables"]["differences"]
    assert (first["method"], first["epsilon"], first["runs"]) == ("parity (moments)", "0.3", "1")
    for name in ("front", "accuracy-epsilon", "gap-epsilon"):
        assert (tmp_path / f"{name}.svg").read_text().startswith("<svg")
        assert (tmp_path / f"{name}.png").read_bytes().startswith(b"\x89PNG")


def test_without_runs_there_is_no_report(tmp_path):
    file = tmp_path / "s.toml"
    file.write_text(SMALL + ERM)
    result = CliRunner().invoke(main, ["sweep", str(file), "--out", str(tmp_path), "--report-only"])
    assert result.exit_code == 2
    assert "has no runs" in result.stderr


def test_a_csv_of_other_columns_is_refused(tmp_path):
    (tmp_path / "runs.csv").write_text("run,accuracy\n1,0.5\n")
    with pytest.raises(UsageError, match="another version"):
        Lines(tmp_path / "runs.csv", COLUMNS).rows()
    with pytest.raises(UsageError, match="it has no column scenario, dataset"):
        write_sweep_report(tmp_path)
    (tmp_path / "runs.csv").write_bytes(b"\xff\n")
    for read in (Lines(tmp_path / "runs.csv", COLUMNS).rows, lambda: write_sweep_report(tmp_path)):
        with pytest.raises(UsageError, match="is no CSV of a sweep"):
            read()


def test_what_runs_release_is_attacked(tmp_path):
    """Without noise everybody is known; with it the attacker keeps to what epsilon allows."""
    text = SMALL + EXACT_PARITY + EXACT_PARITY.replace("inf", "1.0") + ERM
    runs, out = runs_of(written(tmp_path, text), ()), tmp_path / "out"
    out.mkdir()
    sweep(runs, out, LineReporter(), jobs=1, attack=True)
    exact, noised, nothing = attacks.read(out / attacks.FILE)
    assert float(exact["area"]) == 1.0
    assert 0.5 < float(noised["area_ceiling"]) < 0.7
    assert 0.5 < float(noised["area"]) < float(noised["area_ceiling"])
    assert (float(nothing["area"]), float(nothing["area_ceiling"])) == (0.5, 0.5)
    assert {row["run"] for row in rows_in(out)} == {row["run"] for row in (exact, noised, nothing)}
    told = attacks.table(attacks.read(out / attacks.FILE))
    assert [row["epsilon"] for row in told.tree()] == ["exact", "1", "-"]


def test_of_adapters_the_auditors_own_people_are_attacked(tmp_path):
    """DP-SGD is for adding or removing a record, so that about an attribute twice the epsilon is allowed."""
    grid = '[[grid]]\nmethod.name = "orth"\nprivacy.epsilon = [1.0, inf]\n'
    runs, out = runs_of(written(tmp_path, SMALL + grid), ()), tmp_path / "out"
    out.mkdir()
    sweep(runs, out, LineReporter(), jobs=1, attack=True)
    noised, exact = attacks.read(out / attacks.FILE)
    assert float(exact["area"]) == float(exact["area_ceiling"]) == 1.0
    assert 0.5 < float(noised["area"]) < float(noised["area_ceiling"]) < 0.9
    assert 16 < int(noised["records"]) < 48  # a fifth of the 160, and the half that is trained on is the developer's
    assert noised["records"] == exact["records"]


def test_an_attack_needs_all_runs_to_be_made_with_it(tmp_path):
    runs = runs_of(written(tmp_path, SMALL + ERM), ())
    Lines(tmp_path / "runs.csv", COLUMNS).append([row(run=runs[0].key, revision=REVISION)])
    with pytest.raises(UsageError, match="made without it; name another --out"):
        sweep(runs, tmp_path, LineReporter(), jobs=1, attack=True)
