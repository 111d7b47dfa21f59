"""A table of people among whom one sex is favoured, and a scenario of it."""

from __future__ import annotations

import csv
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from secure_fair.scenarios.schema import Scenario

RECORDS = 900
GROUPS = ("ZQfemale", "ZQmale")


def plant(root: Path) -> Path:
    """people.csv below ``root``: income above a bound goes by skill, and by sex through hours and field."""
    chance = np.random.default_rng(7)
    sex = chance.integers(0, 2, RECORDS)
    skill, hours = chance.normal(size=RECORDS), chance.normal(size=RECORDS) + 1.5 * sex
    field = np.where(chance.random(RECORDS) < 0.8, sex, 1 - sex)
    rich = skill + hours + 0.5 * field + 0.5 * chance.normal(size=RECORDS) > 1
    root.mkdir(parents=True, exist_ok=True)
    with (root / "people.csv").open("w", newline="") as file:
        rows = csv.writer(file)
        rows.writerow(["skill", "hours", "field", "sex", "rich"])
        for i in range(RECORDS):
            shown = "" if i % 20 == 0 else f"{skill[i]:.4f}"
            rows.writerow([shown, f"{hours[i]:.4f}", ("care", "craft")[field[i]], GROUPS[sex[i]], int(rich[i])])
    return root


def scenario_of(root: Path, **sections: Mapping[str, Any]) -> Scenario:
    """The scenario of the table below ``root``; ``sections`` change or add keys, table by table."""
    tree: dict[str, Any] = {
        "name": "people",
        "data": {
            "dataset": "table",
            "root": str(root),
            "file": "people.csv",
            "target": "rich",
            "sensitive": ["sex"],
            "split": {"developer": 0.6, "auditor": 0.0, "test": 0.4},
        },
        "train": {"epochs": 6, "batch_size": 60, "learning_rate": 0.05, "device": "cpu"},
        "method": {"name": "parity", "strength": 10.0, "components": 4},
    }
    for name, section in sections.items():
        tree[name] = {**tree.get(name, {}), **section}
    return Scenario.parse(tree)
