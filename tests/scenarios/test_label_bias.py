"""A scenario with labels of the past: who gets which label, what the summary tells of both worlds, what is refused."""

from __future__ import annotations

import csv
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from click.testing import CliRunner

from secure_fair.data.links import make_join_key
from secure_fair.data.store import record_ids
from secure_fair.errors import UsageError
from secure_fair.report.html import write_report
from secure_fair.scenarios.cli import main
from secure_fair.scenarios.cli.run import result_text
from secure_fair.scenarios.launch import run
from secure_fair.scenarios.people import People, load
from secure_fair.scenarios.progress import LineReporter
from secure_fair.scenarios.schema import Scenario
from tests.parties.company import tiny

BIAS = {"attribute": "male", "group": "male", "missed": 0.5}


def biased(weights: Path, **data: Any) -> Scenario:
    return tiny(weights, data={"label_bias": BIAS, **data}, secure={"mode": "plain"}, train={"epochs": 1})


def labels_in(folder: Path) -> Mapping[str, tuple[int, str]]:
    """Label and part by record id, as the developer's store has them."""
    with (folder / "developer" / "records.csv").open(newline="") as file:
        return {row["id"]: (int(row["label"]), row["split"]) for row in csv.DictReader(file)}


def test_the_developer_trains_on_labels_of_the_past_and_is_tested_on_true_ones(
    tmp_path: Path, random_weights: Path
) -> None:
    scenario = biased(random_weights)
    people = People(scenario, load(scenario, LineReporter()))
    people.write_stores(tmp_path)
    held = labels_in(tmp_path)
    male, true = people.table.sensitive["male"].codes, people.table.target.codes
    missed = 0
    for rows, part in ((people.training, "train"), (people.test, "test")):
        for row, name in zip(
            rows, record_ids(people.join_key, [people.table.digests[row] for row in rows]), strict=True
        ):
            assert held[name][1] == part
            if part == "train" and male[row] and true[row] == 1:
                missed += held[name][0] == 0
            else:
                assert held[name][0] == true[row]
    able = int((male[people.training] * true[people.training]).sum())
    assert 0.3 < missed / able < 0.7


def test_a_summary_tells_both_worlds(tmp_path: Path, random_weights: Path) -> None:
    scenario = biased(random_weights).model_copy(update={"compare": ("erm",)})
    summary = run(scenario, tmp_path, LineReporter())
    past = summary["past"]
    assert {key: past[key] for key in BIAS} == BIAS
    assert past["groups"]["female"]["recorded"] == past["groups"]["female"]["true"]
    assert past["groups"]["male"]["recorded"] < past["groups"]["male"]["true"]
    assert sum(group["records"] for group in past["groups"].values()) == summary["records"]["training"]
    people = People(scenario, load(scenario, LineReporter()), bytes(32))
    assert people.recorded is not None
    changed = (people.recorded != people.table.target.codes)[people.test].mean()
    for one in (summary, *summary["compare"]):
        assert one["past"]["accuracy_by_the_past"] == pytest.approx(one["utility"]["accuracy"], abs=changed + 1e-9)
    for text in (result_text(summary, tmp_path), write_report(tmp_path).read_text()):
        assert "by labels as the past recorded them" in text
        assert f"{past['groups']['male']['recorded']:.3f}" in text


def test_without_a_bias_nothing_is_told_of_a_past(tmp_path: Path, random_weights: Path) -> None:
    summary = run(tiny(random_weights, secure={"mode": "plain"}, train={"epochs": 1}), tmp_path, LineReporter())
    assert summary["past"] is None
    assert "as the past recorded" not in result_text(summary, tmp_path)
    low, high = summary["intervals"]["accuracy"]
    assert low < summary["utility"]["accuracy"] < high
    low, high = summary["fairness"]["male"]["intervals"]["demographic_parity_difference"]
    assert low <= summary["fairness"]["male"]["demographic_parity_difference"] <= high


@pytest.mark.parametrize(
    ("bias", "message"),
    [
        ({**BIAS, "attribute": "mle"}, r'data.label_bias.attribute: "mle" is not among data.sensitive .*did you mean'),
        ({**BIAS, "group": "mal"}, r'data.label_bias.group: male has no group "mal"; allowed: "female", "male"'),
        ({**BIAS, "missed": 1.0}, r"data.label_bias.missed: 1.0 is not allowed; it must be less than 1"),
        ({"attribute": "male", "group": "male"}, r"data.label_bias.missed: is missing"),
    ],
)
def test_a_bias_that_cannot_be_is_refused(random_weights: Path, bias: Mapping[str, Any], message: str) -> None:
    with pytest.raises(UsageError, match=message):
        tiny(random_weights, data={"label_bias": bias})


def test_a_developer_that_prepares_alone_cannot_bias_by_what_it_does_not_know(tmp_path: Path) -> None:
    make_join_key(tmp_path / "join.key")
    changes = ["data.auditor.dataset=faces", 'data.auditor.sensitive=["male"]', "data.auditor_records=own"]
    changes += ["method.name=orth", "data.split=", "data.records=200", "privacy="]
    own = [word for change in changes for word in ("-o", change)]
    places = ("--out", str(tmp_path / "stores"), "--join-key", str(tmp_path / "join.key"))
    result = CliRunner().invoke(
        main,
        ["data", "prepare", "developer", "quickstart", *own, *places],
    )
    assert result.exit_code == 2, result.output
    assert "data.label_bias: needs the attribute of every record" in result.stderr


def test_labels_of_the_past_are_part_of_the_scenario(random_weights: Path) -> None:
    assert biased(random_weights).hash() != tiny(random_weights, secure={"mode": "plain"}, train={"epochs": 1}).hash()
    assert np.isclose(Scenario.load("quickstart").data.label_bias.missed, 0.5)  # type: ignore[union-attr]
