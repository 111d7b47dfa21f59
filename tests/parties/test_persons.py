"""Persons' budgets between real parties: neither new ids nor new pictures of the same people begin them anew."""

from __future__ import annotations

import csv
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner
from PIL import Image

from secure_fair.data.store import AuditorStore, DeveloperStore
from secure_fair.data.table import load_table
from secure_fair.ids import as_text
from secure_fair.privacy.entries import paying
from secure_fair.scenarios.cli.main import main
from secure_fair.scenarios.schema import Scenario
from tests.parties.company import tiny
from tests.parties.test_policy import Deployment, codes

LIMIT = "epsilon = 1.2"


@pytest.fixture(scope="module")
def pictures(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A manifest of 400 drawn portraits, two of each person; ``again`` has the same portraits in other files."""
    root = tmp_path_factory.mktemp("pictures")
    drawn = load_table(
        "faces", target="wavy_hair", sensitive=["male"], image_size=16, cache=root, records=400, correlation=0.5, seed=3
    )
    with (root / "people.csv").open("w", newline="") as file:
        rows = csv.writer(file)
        rows.writerow(["path", "again", "wavy_hair", "male", "who"])
        for place in range(400):
            names = [f"{place}.png", f"{place}-again.png"]
            for name, level in zip(names, (1, 9), strict=True):
                Image.fromarray(drawn.inputs[place]).save(root / name, compress_level=level)
            hair, male = drawn.target.codes[place], drawn.sensitive["male"].codes[place]
            rows.writerow([*names, hair, male, f"person {place // 2}"])
    return root


def scenario_of(weights: Path, root: Path, *, persons: bool, again: bool = False) -> Scenario:
    data = {
        "dataset": "manifest",
        "root": str(root),
        "file": "people.csv",
        "path_column": "again" if again else "path",
        "target": "wavy_hair",
        "sensitive": ["male"],
        "image_size": 16,
        **({"person_column": "who"} if persons else {}),
    }
    privacy = {"epsilon": 1.0, "reserve_releases": 0, **({"records_per_person": 2} if persons else {})}
    return tiny(weights, data=data, privacy=privacy, train={"epochs": 1})


def prepare(scenario: Scenario, folder: Path, key: Path) -> Path:
    """The stores that the command writes."""
    folder.parent.mkdir(exist_ok=True)
    (folder.parent / f"{folder.name}.toml").write_text(scenario.to_toml())
    command = ["data", "prepare", "together", str(folder.parent / f"{folder.name}.toml"), "--out", str(folder)]
    done = CliRunner().invoke(main, [*command, "--join-key", str(key)], catch_exceptions=False)
    assert done.exit_code == 0, done.output
    return folder


@pytest.mark.parametrize("persons", [True, False])
def test_new_pictures_of_the_same_people(tmp_path: Path, weights: Path, pictures: Path, persons: bool) -> None:
    """Prepared again from other files of the same people: each budget goes on where the store says whose they are."""
    ends = []
    deployment = Deployment(tmp_path, tmp_path, LIMIT)
    for again in (False, True):
        scenario = scenario_of(weights, pictures, persons=persons, again=again)
        deployment.stores = prepare(scenario, tmp_path / f"stores-{again}", tmp_path / "join.key")
        ends.append(deployment.run(scenario))
    first, second = (
        set(DeveloperStore.open(tmp_path / f"stores-{again}" / "developer").ids) for again in (0 > 1, 1 > 0)
    )
    assert not first & second
    assert codes(ends[0]) == (0, 0), ends[0]
    if not persons:
        assert codes(ends[1]) == (0, 0), ends[1]  # two runs of epsilon 1 under a limit of 1.2
        return
    assert codes(ends[1]) == (3, 3), ends[1]
    assert "the policy's epsilon for life is 1.2" in ends[1]["auditor"].said
    times = [paying(entry, None).times for entry in deployment.entries("planned") if entry["operation"] == "moment"]
    assert times
    assert set(times[0]) == {2}


@pytest.mark.parametrize("kept", [True, False])
def test_the_join_key_is_the_same_in_every_preparation(
    tmp_path: Path, weights: Path, pictures: Path, kept: bool
) -> None:
    """The same pictures have the same ids, and meet what was spent, as long as the key is kept."""
    scenario = scenario_of(weights, pictures, persons=False)
    deployment = Deployment(tmp_path, tmp_path, LIMIT)
    ends = []
    for time in ("first", "second"):
        key = tmp_path / ("join.key" if kept else f"{time}.key")
        deployment.stores = prepare(scenario, tmp_path / time, key)
        ends.append(codes(deployment.run(scenario)))
        assert key.stat().st_mode & 0o777 == 0o600
    assert ends == [(0, 0), (3, 3) if kept else (0, 0)]


def test_noise_for_one_record_is_refused_of_two(tmp_path: Path, weights: Path, pictures: Path) -> None:
    """Before anything is spent, and said so that it can be mended."""
    scenario = scenario_of(weights, pictures, persons=True)
    few = scenario.model_copy(update={"privacy": scenario.privacy.model_copy(update={"records_per_person": 1})})
    deployment = Deployment(prepare(few, tmp_path / "stores", tmp_path / "join.key"), tmp_path, LIMIT)
    ended = deployment.run(few)
    assert codes(ended) == (4, 4)
    assert "set privacy.records_per_person = 2" in ended["developer"].said
    assert deployment.entries("planned") == []


def test_a_promise_to_persons_needs_to_know_them(tmp_path: Path, weights: Path, pictures: Path) -> None:
    told, untold = (scenario_of(weights, pictures, persons=persons) for persons in (True, False))
    deployment = Deployment(prepare(untold, tmp_path / "stores", tmp_path / "join.key"), tmp_path, LIMIT)
    ended = deployment.run(told)
    assert codes(ended) == (4, 4)
    assert "the store of auditor does not say whose each record is" in ended["developer"].said


def test_no_person_is_on_both_sides_of_a_split(tmp_path: Path, weights: Path, pictures: Path) -> None:
    scenario = scenario_of(weights, pictures, persons=True)
    stores = prepare(scenario, tmp_path / "stores", tmp_path / "join.key")
    developer, auditor = DeveloperStore.open(stores / "developer"), AuditorStore.open(stores / "auditor")
    whose = auditor.persons_of(developer.ids)
    assert whose is not None
    persons = as_text(whose)
    training, test = ({persons[row] for row in rows} for rows in (developer.training, developer.test))
    assert "" not in training | test
    assert not training & test
    own = auditor.own().persons
    assert own is not None
    assert not set(own) & (training | test)
    assert np.unique(persons, return_counts=True)[1].tolist() == [2] * (len(developer.ids) // 2)
