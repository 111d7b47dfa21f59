"""An auditor's own records: trainings on them for several attributes add up, and are refused beyond the policy."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from secure_fair.parties.plans import training_target
from secure_fair.privacy.outlook import Outlook
from secure_fair.privacy.spending import Spending
from secure_fair.scenarios.assemble import run_config
from secure_fair.scenarios.plans import plans_text
from secure_fair.scenarios.schema import Scenario
from tests.parties.company import Company, Entry, program, tiny, write_stores


def without_foresight(arguments: list[str]) -> None:
    """An auditor that does not look ahead: its gate alone adds up."""
    Outlook.check = lambda self: None  # type: ignore[method-assign]
    program(arguments)


def by_attribute(arguments: list[str]) -> None:
    """One that adds trainings up for each attribute alone, besides."""
    add = Spending.add

    def apart(self: Spending, *what: Any, training: bool = False) -> None:
        add(self, *what)

    Spending.add = apart  # type: ignore[assignment, method-assign]
    without_foresight(arguments)


def two_adapters(weights: Path) -> Scenario:
    """Adapters for two attributes, each trained at epsilon 1 on the same records, under a policy of epsilon 1.5."""
    return tiny(
        weights,
        data={"sensitive": ["male", "young"]},
        train={"epochs": 1},
        method={"name": "orth", "release": "gradient"},
        privacy={"epsilon": 1.0, "delta": 1e-6, "evaluation_epsilon": 1.0},
        policy={"epsilon": 1.5},
    )


def run(folder: Path, weights: Path, auditor: Entry) -> tuple[dict[str, int], list[str], str]:
    """Exit codes, the attributes that the auditor has trained for, and what it said."""
    scenario = two_adapters(weights)
    write_stores(scenario, folder / "stores")
    with Company(scenario, folder / "stores", folder / "run", entries={"auditor": auditor}) as company:
        ended = company.wait(150)
    ledger = folder / "run" / "states" / "auditor" / "ledger" / "ledger.jsonl"
    entries = [json.loads(line) for line in ledger.read_text().splitlines()]
    trained = [
        entry["attribute"]
        for entry in entries
        if entry["kind"] == "planned" and entry["operation"] == "sensitive_training"
    ]
    return {name: end.code for name, end in ended.items()}, trained, ended["auditor"].said


@pytest.mark.parametrize(
    ("auditor", "spent", "reason"),
    [
        (program, [], "the run would take somebody from epsilon 0 to 2 at delta 1e-05, and the policy's epsilon"),
        (without_foresight, ["male"], "young: this release would take somebody beyond the policy's epsilon = 1.5"),
    ],
)
def test_two_attributes_adapters_from_the_same_records_are_too_much_together(
    tmp_path: Path, weights: Path, auditor: Entry, spent: list[str], reason: str
) -> None:
    codes, trained, said = run(tmp_path, weights, auditor)
    assert codes["auditor"] == 3
    assert codes["developer"] != 0
    assert trained == spent
    assert reason in said


def test_added_up_by_attribute_they_pass(tmp_path: Path, weights: Path) -> None:
    codes, trained, _ = run(tmp_path, weights, by_attribute)
    assert set(codes.values()) == {0}
    assert trained == ["male", "young"]
    report = json.loads((tmp_path / "run" / "auditor-auditor" / "party.json").read_text())
    assert 1.5 < report["records"]["male, young"]["epsilon"] <= 2.0  # what they come to all the same


def test_the_plan_says_what_they_come_to_together(weights: Path) -> None:
    assert "auditor's own records, male, young together: epsilon 2, delta 2e-06" in plans_text(two_adapters(weights))


@pytest.mark.parametrize("delta", [1e-6, 1e-5])
def test_the_trainings_of_one_adversary_stay_within_their_delta(weights: Path, delta: float) -> None:
    """Even shares of it, added up as the gate does, end above the whole for 5 epochs of 1e-5."""
    method = {"name": "ent", "adversary_features": "disclosed"}
    own = {"auditor_records": "own", "dataset": "faces", "target": "wavy_hair", "sensitive": ["male"], "records": 400}
    privacy = {"epsilon": 1.0, "delta": delta}
    assert sum([1e-5 / 5] * 5) > 1e-5
    for epochs in (1, 3, 5, 10, 25):
        config = run_config(tiny(weights, data=own, method=method, privacy=privacy, train={"epochs": epochs}))
        target = training_target(config)
        assert target is not None
        assert delta * (1 - 1e-9) < sum([target[1]] * epochs) <= delta
