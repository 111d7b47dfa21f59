"""Pictures as files and a run on them, and how what it says is compared with what others say of the same files."""

from __future__ import annotations

import csv
from pathlib import Path
from typing import Any

import numpy as np
from click.testing import CliRunner, Result

from secure_fair.scenarios.cli import main
from secure_fair.scenarios.schema import Scenario
from tests.scenarios.apart import table

EQUAL = 1e-3
RECORDS = 120


def invoke(*arguments: object) -> Result:
    return CliRunner().invoke(main, [str(argument) for argument in arguments])


def done(*arguments: object) -> str:
    """What a command that ends well has printed."""
    result = invoke(*arguments)
    assert result.exit_code == 0, result.output
    return result.stdout


def refused(*arguments: object) -> str:
    """The one message of a command that is refused as wrong usage."""
    result = invoke(*arguments)
    assert result.exit_code == 2, result.output
    assert result.stdout == ""
    return result.stderr


def scenario_of_pictures(root: Path, **sections: Any) -> Scenario:
    """A scenario of the manifest below ``root``, in the clear; ``sections`` change or add keys, table by table."""
    tree: dict[str, Any] = {
        "name": "album",
        "data": {
            "dataset": "manifest",
            "root": str(root),
            "file": "people.csv",
            "path_column": "picture",
            "target": "hair",
            "sensitive": ["gender"],
            "image_size": 16,
            "split": {"developer": 0.5, "auditor": 0.2, "test": 0.3},
        },
        "lora": {"rank": 4, "last_blocks": 2},
        "train": {"epochs": 1, "batch_size": 20, "learning_rate": 0.01, "precision": "fp32", "device": "cpu"},
        "method": {"name": "parity"},
        "secure": {"mode": "plain"},
    }
    for name, section in sections.items():
        tree[name] = {**tree.get(name, {}), **section} if isinstance(section, dict) else section
    return Scenario.parse(tree)


def told(folder: Path) -> dict[str, np.ndarray]:
    """The run's own probabilities of its test records, by the name that the data set has."""
    with (folder / "predictions.csv").open(newline="") as file:
        return table(csv.DictReader(file))


def paths_of(folder: Path, album: Path) -> list[str]:
    """The test records' files."""
    return [str(album / name) for name in told(folder)]


def furthest(ours: dict[str, np.ndarray], theirs: dict[str, np.ndarray], album: Path | None = None) -> float:
    """The largest difference of two predictions of the same records."""
    named = {str(album / name) if album else name: row for name, row in theirs.items()}
    assert ours.keys() == named.keys()
    return max(float(np.abs(ours[name] - named[name]).max()) for name in named)
