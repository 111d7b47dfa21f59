"""A data set in which everything that the developer may not know is a token that occurs nowhere else."""

from __future__ import annotations

import csv
import secrets
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image
from PIL.PngImagePlugin import PngInfo

RECORDS = 240


@dataclass(frozen=True)
class Planted:
    """Where the data set is, and its tokens.

    ``personal``: one or more for every person, in file names, inside the files and in columns: only the launcher sees
    them. ``classes``: names of the task's classes, the developer's own. ``groups``: names of the attribute's groups,
    which are announced to everybody who computes.
    """

    root: Path
    personal: list[str]
    classes: list[str]
    groups: list[str]

    @property
    def data(self) -> dict[str, Any]:
        """The scenario's ``[data]``."""
        return {
            "dataset": "manifest",
            "root": str(self.root),
            "file": "people.csv",
            "path_column": "picture",
            "id_column": "person",
            "target": "task",
            "sensitive": ["sex"],
            "image_size": 16,
            "split": {"developer": 0.5, "auditor": 0.25, "test": 0.25},
        }


def token(kind: str) -> str:
    """A string that nobody writes by chance."""
    return f"ZQ{kind}{secrets.token_hex(8)}"


def plant(root: Path) -> Planted:
    """A manifest of pictures, with what is secret about a person in its file's name, in the file and in its row."""
    chance = np.random.default_rng(4)
    classes, groups = [token("class") for _ in range(2)], [token("group") for _ in range(2)]
    personal: list[str] = []
    rows = []
    (root / "pictures").mkdir(parents=True)
    for number in range(RECORDS):
        task, sex = int(chance.integers(2)), int(chance.integers(2))
        name, inside, note, person = (token(kind) for kind in ("name", "inside", "note", "person"))
        personal += [name, inside, note, person]
        pixels = chance.integers(0, 120, (16, 16, 3), dtype=np.uint8)
        pixels[:, :8] += np.uint8(60 * task)
        pixels[:8] += np.uint8(60 * sex)
        info = PngInfo()
        info.add_text("Comment", f"{inside} {groups[sex]}")
        picture = f"pictures/{groups[sex]}_{name}_{number}.png"
        Image.fromarray(pixels).save(root / picture, pnginfo=info)
        rows.append([person, picture, classes[task], groups[sex], note])
    with (root / "people.csv").open("w", newline="") as file:
        csv.writer(file).writerows([["person", "picture", "task", "sex", "note"], *rows])
    return Planted(root, personal, classes, groups)


def found_in(tokens: list[str], *places: Path) -> list[str]:
    """Every file below ``places`` that holds a token in its bytes or in its name, and the first one that it holds."""
    sought = [text.encode() for text in tokens]
    found = []
    for place in places:
        for file in [place, *place.rglob("*")]:
            content = file.name.encode() + b"\n" + (file.read_bytes() if file.is_file() else b"")
            hit = next((text for text in sought if text in content), None)
            if hit is not None:
                found.append(f"{file}: {hit.decode()}")
    return found
