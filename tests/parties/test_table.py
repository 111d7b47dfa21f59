"""A table from data to model: on shares as in the clear, fairer than without a method, nothing sensitive in between."""

from __future__ import annotations

import csv
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from secure_fair.errors import UsageError
from secure_fair.parties.rows import RowModel
from secure_fair.scenarios.launch import run, run_plain
from secure_fair.scenarios.people import People, load
from secure_fair.scenarios.progress import LineReporter
from secure_fair.scenarios.schema import Scenario
from tests.parties.company import Company
from tests.parties.people import GROUPS, plant, scenario_of
from tests.parties.planted import found_in


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of the table."""
    return plant(tmp_path_factory.mktemp("people"))


def write_stores(scenario: Scenario, folder: Path) -> Path:
    """Every party's store below ``folder``."""
    People(scenario, load(scenario, LineReporter())).write_stores(folder)
    return folder


def predictions(folder: Path) -> tuple[list[str], np.ndarray]:
    """Ids of the test records, and their probabilities of the second class."""
    with (folder / "predictions.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    return [row["id"] for row in rows], np.array([float(row["probability_1"]) for row in rows])


@pytest.mark.parametrize("method", ["parity", "posthoc"])
def test_secure_and_plain_predict_the_same(root: Path, tmp_path: Path, method: str) -> None:
    scenario = scenario_of(root, method={"name": method})
    stores = write_stores(scenario, tmp_path / "stores")
    run_plain(scenario, stores, tmp_path / "plain", LineReporter())
    with Company(scenario, stores, tmp_path / "secure") as company:
        company.succeed()
    ids, plain = predictions(tmp_path / "plain" / "developer")
    secure_ids, secure = predictions(company.out("developer"))
    assert secure_ids == ids
    assert np.abs(secure - plain).max() < 0.01
    assert ((secure > 0.5) == (plain > 0.5)).mean() > 0.99
    # not because the method does nothing
    (erm,) = scenario.model_copy(update={"compare": ("erm",)}).compared
    run_plain(erm, stores, tmp_path / "erm", LineReporter())
    _, without = predictions(tmp_path / "erm" / "developer")
    assert np.abs(without - plain).max() > 0.1


def run_in_the_clear(root: Path, out: Path, **sections: Any) -> dict[str, Any]:
    """The summary of a plain run with erm beside it."""
    tree = scenario_of(root, secure={"mode": "plain"}, **sections).model_copy(update={"compare": ("erm",)})
    out.mkdir()
    return run(tree, out, LineReporter())


def gap(summary: dict[str, Any]) -> float:
    """The exact demographic-parity gap."""
    return float(summary["fairness"]["sex"]["demographic_parity_difference"])


@pytest.mark.parametrize("method", ["parity", "posthoc", "rr"])
def test_the_gap_becomes_smaller(root: Path, tmp_path: Path, method: str) -> None:
    summary = run_in_the_clear(root, tmp_path / "run", method={"name": method})
    (erm,) = summary["compare"]
    assert gap(erm) > 0.35
    assert gap(summary) < 0.5 * gap(erm)
    assert summary["utility"]["accuracy"] > 0.65
    assert summary["status"] == "ok"


def test_equalised_odds_too(root: Path, tmp_path: Path) -> None:
    summary = run_in_the_clear(root, tmp_path / "run", method={"name": "odds"})
    (erm,) = summary["compare"]
    odds, before = (one["fairness"]["sex"]["equalized_odds_difference"] for one in (summary, erm))
    assert odds < 0.6 * before


def test_with_noise_the_gap_is_smaller_still(root: Path, tmp_path: Path) -> None:
    summary = run_in_the_clear(root, tmp_path / "run", privacy={"epsilon": 3.0})
    assert gap(summary) < 0.7 * gap(summary["compare"][0])
    assert summary["privacy"]["attributes"]["sex"]["epsilon"] <= 3.0


def test_no_file_of_the_developers_says_who_is_who(root: Path, tmp_path: Path) -> None:
    """Its store names neither the column nor a group; what it writes has no column by which records are told apart."""
    scenario = scenario_of(root)
    stores = write_stores(scenario, tmp_path / "stores")
    assert found_in([*GROUPS, "sex"], stores / "developer") == []
    assert found_in([GROUPS[0]], stores / "auditor")
    run_plain(scenario, stores, tmp_path / "run", LineReporter())
    developer = tmp_path / "run" / "developer"
    assert sorted(path.name for path in developer.iterdir()) == [
        *("head.safetensors", "predictions.csv", "result.json", "rounds.jsonl", "table.json")
    ]
    assert found_in([*GROUPS, "sex"], developer / "table.json", developer / "predictions.csv") == []
    features = json.loads((developer / "table.json").read_text())["columns"]
    assert [column["name"] for column in features] == ["skill", "hours", "field"]


def test_the_same_table_without_a_favour_has_no_gap(tmp_path: Path) -> None:
    """The gaps above are what was planted: sexes drawn anew leave none."""
    table = plant(tmp_path / "people") / "people.csv"
    with table.open(newline="") as file:
        header, *rows = list(csv.reader(file))
    for row, sex in zip(rows, np.random.default_rng(1).integers(0, 2, len(rows)), strict=True):
        row[header.index("sex")] = GROUPS[sex]
    with table.open("w", newline="") as file:
        csv.writer(file).writerows([header, *rows])
    summary = run_in_the_clear(tmp_path / "people", tmp_path / "run")
    assert gap(summary["compare"][0]) < 0.15


# --- a finished model on new rows -------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def developer(root: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The developer's folder of a run."""
    folder = tmp_path_factory.mktemp("finished")
    scenario = scenario_of(root)
    run_plain(scenario, write_stores(scenario, folder / "stores"), folder / "run", LineReporter())
    return folder / "run" / "developer"


def test_new_rows_are_predicted_as_the_run_did(root: Path, developer: Path) -> None:
    model = RowModel.load(developer)
    assert model.classes == ("0", "1")
    everybody = model.predict(root / "people.csv").probabilities[:, 1]
    _, tested = predictions(developer)
    # the test records are among all: each of their probabilities is there
    nearest = np.abs(tested[:, None] - everybody[None]).min(axis=1)
    assert nearest.max() < 2e-6
    assert np.abs(tested[:, None] - (1 - everybody)[None]).min(axis=1).max() > 2e-6


def test_new_rows_need_the_features_alone(developer: Path, tmp_path: Path) -> None:
    (tmp_path / "new.csv").write_text("field,skill,hours,note\ncare,0.5,1,x\ncraft,,1,y\n,1,1,z\n")
    found = RowModel.load(developer).predict(tmp_path / "new.csv")
    assert found.probabilities.shape == (3, 2)
    assert found.records == tuple(f"{tmp_path / 'new.csv'}:{line}" for line in (2, 3, 4))
    called = RowModel.load(developer).predict(tmp_path / "new.csv", id_column="note")
    assert called.records == ("x", "y", "z")
    np.testing.assert_allclose(found.probabilities.sum(axis=1), 1)


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("skill,hours\n1,1\n", r"new\.csv:1: no single column 'field'"),
        ("skill,hours,field\n1,1,mining\n", r"new\.csv:2: unknown value: field is 'mining'; .* care, craft"),
        ("skill,hours,field\n1,1,care\nhigh,1,care\n", r"new\.csv:3: not a number: skill is 'high'"),
        ("skill,hours,field\n1,1\n", r"new\.csv:2: wrong line: 2 fields"),
    ],
)
def test_new_rows_of_another_kind_are_refused(developer: Path, tmp_path: Path, text: str, says: str) -> None:
    (tmp_path / "new.csv").write_text(text)
    with pytest.raises(UsageError, match=says):
        RowModel.load(developer).predict(tmp_path / "new.csv")


def test_a_folder_without_a_tables_model(tmp_path: Path, developer: Path) -> None:
    with pytest.raises(UsageError, match=r"lacks table\.json, head\.safetensors; name RUN/developer"):
        RowModel.load(tmp_path)
    tree = json.loads((developer / "table.json").read_text())
    (tmp_path / "table.json").write_text(json.dumps({**tree, "classes": ["a", "b", "c"]}))
    (tmp_path / "head.safetensors").write_bytes((developer / "head.safetensors").read_bytes())
    with pytest.raises(UsageError, match="of different models"):
        RowModel.load(tmp_path)
