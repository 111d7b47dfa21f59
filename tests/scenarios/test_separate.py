"""Auditors whose people come from another data set: whose record is whose, what does not fit, each side alone."""

from __future__ import annotations

import csv
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from click.testing import CliRunner, Result

from secure_fair.data.store import AuditorStore, DeveloperStore
from secure_fair.errors import UsageError
from secure_fair.report.html import write_report
from secure_fair.scenarios.cli import main
from secure_fair.scenarios.cli.run import result_text
from secure_fair.scenarios.fit import admit
from secure_fair.scenarios.grid import GridRun
from secure_fair.scenarios.launch import run
from secure_fair.scenarios.people import load
from secure_fair.scenarios.progress import LineReporter
from secure_fair.scenarios.schema import Scenario
from secure_fair.scenarios.sweep import PreparedStores, run_once
from tests.drawn import GENDERS, write_manifest
from tests.parties.company import tiny, write_stores

UNL = {"name": "unl"}


def of_portraits(weights: Path, method: Mapping[str, Any] = UNL, **auditor: Any) -> Scenario:
    """Both sides have drawn portraits, the auditors' 60 others; keys of ``auditor`` change or add to their section."""
    own = {"dataset": "faces", "sensitive": ["male"], "records": 60} | auditor
    data = {"auditor_records": "own", "auditor": own, "split": {"developer": 0.5, "auditor": 0.25, "test": 0.25}}
    return tiny(weights, method=method, data=data, secure={"mode": "plain"}, train={"epochs": 1})


def of_files(weights: Path, root: Path, columns: Mapping[str, Any] = GENDERS, **auditor: Any) -> Scenario:
    """The auditors' people are 60 drawn pictures in files below ``root``."""
    own = write_manifest(root, 60, columns) | {"sensitive": list(columns)} | auditor
    return tiny(weights, method=UNL, data={"auditor_records": "own", "auditor": own}, secure={"mode": "plain"})


def test_the_two_have_nobody_in_common_and_the_developer_the_same_people(tmp_path: Path, random_weights: Path) -> None:
    scenario = of_portraits(random_weights)
    people = write_stores(scenario, tmp_path / "stores")
    developer = DeveloperStore.open(tmp_path / "stores" / "developer")
    auditor = AuditorStore.open(tmp_path / "stores" / "auditor")
    assert auditor.ids == []
    own = auditor.own()
    assert len(own.ids) == 60
    assert set(own.ids) & set(developer.ids) == set()
    pictures = {picture.tobytes() for picture in developer.inputs}
    assert len(pictures) == 300
    assert pictures & {picture.tobytes() for picture in own.inputs} == set()
    alone = scenario.model_copy(update={"data": scenario.data.model_copy(update={"auditor": None})})
    before = write_stores(alone, tmp_path / "before")
    assert np.array_equal(people.training, before.training)  # what the split gives to auditors is left out
    assert np.array_equal(people.test, before.test)


def test_codes_are_the_measured_groups(tmp_path: Path, random_weights: Path) -> None:
    """The table says Male first, and "male" is group 1 of the portraits."""
    scenario = of_files(random_weights, tmp_path / "data", {"gender": ("male", ("Woman", "Man"))}, groups=OF_WORDS)
    write_stores(scenario, tmp_path / "stores")
    auditor = AuditorStore.open(tmp_path / "stores" / "auditor")
    assert auditor.groups == {"male": ("female", "male")}
    own = auditor.own()
    with (tmp_path / "data" / "people.csv").open(newline="") as file:
        men = sum(row["gender"] == "Man" for row in csv.DictReader(file))
    assert own.codes["male"].sum() == men
    assert 0 < men < 60


OF_WORDS = {"male": {"female": ["Woman"], "male": ["Man"]}}


def test_a_picture_in_both_is_refused(tmp_path: Path, random_weights: Path) -> None:
    both = {**GENDERS, "task": ("wavy_hair", ("no", "yes"))}
    own = write_manifest(tmp_path / "own", 60, GENDERS)
    known = write_manifest(tmp_path / "known", 400, both)  # a longer draw of the same portraits
    data = {**known, "target": "task", "sensitive": ["gender"], "image_size": 16, "auditor_records": "own"}
    scenario = tiny(random_weights, method=UNL, data={**data, "auditor": own | {"sensitive": ["gender"]}})
    with pytest.raises(UsageError, match=r"data.auditor: 60 of its 60 pictures are in the developer's data set too"):
        load(scenario, LineReporter())


def test_groups_that_do_not_fit_are_refused_before_a_picture_is_read(tmp_path: Path, random_weights: Path) -> None:
    scenario = of_files(random_weights, tmp_path / "data", {"gender": ("male", ("Woman", "Man"))})
    for picture in (tmp_path / "data" / "pictures").iterdir():
        picture.write_bytes(b"no picture")
    with pytest.raises(UsageError, match=r"data.auditor.groups.male = \{ female = \[...\], male = \[...\] \}"):
        admit([scenario])


def test_a_simulation_trains_by_the_one_and_measures_by_the_other(tmp_path: Path, random_weights: Path) -> None:
    scenario = of_files(random_weights, tmp_path / "data")
    out = tmp_path / "out"
    out.mkdir()
    summary = run(scenario, out, LineReporter())
    assert summary["records"] == {"training": 200, "test": 100}
    assert sum(group["records"] for group in summary["fairness"]["male"]["groups"].values()) == 100
    (account,) = summary["privacy"]["records"]["auditor"].values()
    assert account["attributes"] == ["male"]
    ours, theirs = summary["pictures"]["developer"], summary["pictures"]["auditors"]
    assert (ours["dataset"], ours["records"]) == ("faces", 300)
    assert (theirs["dataset"], theirs["records"]) == ("manifest", 60)
    assert len(ours["mean"]) == len(theirs["deviation"]) == 3
    line = next(line for line in result_text(summary, out).splitlines() if line.startswith("auditors "))
    assert f"{theirs['mean'][0]:.3f}" in line
    assert "Two data sets" in write_report(out).read_text()


def test_a_sweep_comes_to_the_same(tmp_path: Path, random_weights: Path) -> None:
    """Its tokens are computed for whole tables, and put where each party looks for its own."""
    scenario = of_files(random_weights, tmp_path / "data")
    (tmp_path / "out").mkdir()
    summary = run(scenario, tmp_path / "out", LineReporter())
    (tmp_path / "sweep").mkdir()
    try:
        (row,) = run_once(GridRun(scenario, ""), tmp_path / "sweep", LineReporter())
        kept = {len(list(folder.glob("cache/tokens-*"))) for folder in (tmp_path / "sweep").glob("stores-*/*")}
    finally:
        PreparedStores.forget()
    assert row["accuracy"] == f"{summary['utility']['accuracy']:.6f}"
    gap = summary["fairness"]["male"]["demographic_parity_difference"]
    assert row["demographic_parity_difference"] == f"{gap:.6f}"
    assert kept == {1}  # found there, and not computed again under another name


def test_a_run_is_the_same_wherever_the_data_lie(random_weights: Path) -> None:
    def key(root: str, **auditor: Any) -> str:
        own = {"dataset": "utkface", "root": root, "sensitive": ["gender"]} | auditor
        data = {"auditor_records": "own", "auditor": own}
        return GridRun(tiny(random_weights, method=UNL, data=data), "").key

    assert key("here") == key("there")
    assert key("here") != key("here", limit=100)


# --- each side alone --------------------------------------------------------------------------------------------------


def invoke(*arguments: str) -> Result:
    return CliRunner().invoke(main, list(arguments))


def test_each_side_prepares_its_own_store_without_the_other_s_data(tmp_path: Path, random_weights: Path) -> None:
    """The developer's table has no column of the attribute, and the auditors' none of the task."""
    table = write_manifest(tmp_path / "known", 80, {"task": ("wavy_hair", ("no", "yes"))})
    data = {**table, "target": "task", "sensitive": ["male"], "image_size": 16, "auditor_records": "own"}
    own = write_manifest(tmp_path / "own", 60, GENDERS, seed=5) | {"sensitive": ["gender"]}
    scenario = tiny(random_weights, method=UNL, data={**data, "auditor": own}, train={"batch_size": 16})
    for party, away in (("developer", "own"), ("auditor", "known")):
        file = tmp_path / f"{party}.toml"
        file.write_text(scenario.to_toml())
        (tmp_path / away).rename(tmp_path / "away")
        out = tmp_path / party
        assert invoke("data", "join-key", f"{out}.key").exit_code == 0
        done = invoke("data", "prepare", party, str(file), "--out", str(out), "--join-key", f"{out}.key")
        assert done.exit_code == 0, done.output
        names = ["records.csv"] if party == "developer" else []  # of whose records they are: beside its store
        assert sorted(path.name for path in out.iterdir()) == [party, *names]
        (tmp_path / "away").rename(tmp_path / away)
    assert len(DeveloperStore.open(tmp_path / "developer" / "developer").training) == 48  # 0.6 of all
    store = AuditorStore.open(tmp_path / "auditor" / "auditor")
    assert store.groups == {"male": ("Female", "Male")}
    assert len(store.own().ids) == 60


def test_data_check_looks_at_both(tmp_path: Path, random_weights: Path) -> None:
    scenario = of_files(random_weights, tmp_path / "data")
    (tmp_path / "data" / "pictures" / "0.png").write_bytes(b"no picture")
    (tmp_path / "scenario.toml").write_text(scenario.to_toml())
    done = invoke("data", "check", str(tmp_path / "scenario.toml"), "--format", "json")
    found = json.loads(done.stdout)
    assert found["records"] == 400
    assert sum(found["auditor"]["sensitive"]["gender"].values()) == found["auditor"]["records"] == 59
    assert found["auditor"]["problems"]["kinds"] == {"broken picture": 1}
    text = invoke("data", "check", str(tmp_path / "scenario.toml")).stdout
    assert "the auditors' own people\nmanifest: 59 records" in text
    assert "left out: people.csv:2" in text
