"""Scenarios of a table: their defaults, and what is refused before any work."""

from __future__ import annotations

import pytest

from secure_fair.errors import UsageError
from secure_fair.learning.methods import METHODS
from secure_fair.scenarios import files
from secure_fair.scenarios.schema import Scenario

MINIMAL = {
    "name": "rows",
    "data": {"dataset": "table", "root": "somewhere", "target": "income", "sensitive": ["sex"]},
}
PICTURES = {"name": "faces", "data": {"dataset": "faces", "target": "wavy_hair", "sensitive": ["male"]}}


def only_problem(tree: dict, *overrides: str) -> str:
    with pytest.raises(UsageError) as caught:
        Scenario.parse(files.override(tree, overrides))
    assert len(caught.value.problems) == 1, caught.value.problems
    return caught.value.problems[0]


def test_a_table_takes_the_identity_and_full_precision():
    scenario = Scenario.parse(MINIMAL)
    assert scenario.backbone.name == "identity"
    assert scenario.train.precision == "fp32"
    assert Scenario.parse(files.override(MINIMAL, ["backbone.name=identity"])) == scenario
    pictures = Scenario.parse(PICTURES)
    assert (pictures.backbone.name, pictures.train.precision) == ("secure_fair_faces", "auto")


def test_every_method_that_moves_features_is_refused_by_name():
    moving = {name for name, method in METHODS.items() if method.moves_features}
    assert moving == {"adv", "ent", "erase", "orth", "unl"}
    for name in METHODS:
        if name in moving:
            assert only_problem(MINIMAL, f"method.name={name}").startswith(
                f"method.name: {name} works by moving the features"
            )
        else:
            Scenario.parse(files.override(MINIMAL, [f"method.name={name}"]))
    assert "compare: adv: method.name" in only_problem(MINIMAL, "compare=['adv']")


def test_an_evaluation_file_says_who_gets_what():
    scenario = Scenario.parse(files.override(MINIMAL, ["data.evaluation_file=test.csv"]))
    assert scenario.data.split is None
    assert only_problem(MINIMAL, "data.evaluation_file=t.csv", "data.split_column=p").startswith(
        "data.evaluation_file: "
    )
    given = only_problem(MINIMAL, "data.evaluation_file=t.csv", "data.split={developer=0.5, auditor=0.0, test=0.5}")
    assert given.startswith("data.split: data.evaluation_file says who gets which record")


def test_auditors_have_no_rows_of_their_own():
    assert Scenario.parse(MINIMAL).data.fractions == {"developer": 0.75, "auditor": 0.0, "test": 0.25}
    own = only_problem(MINIMAL, "data.auditor_records=own", "method.name=erm")
    assert own.startswith('data.auditor_records: "own" has no use with a table')
    others = "data.auditor={dataset='utkface', root='faces', sensitive=['gender']}"
    assert only_problem(MINIMAL, others).startswith('data.auditor: "utkface" cannot stand beside a table')
