"""Two companies that know the same people by a customer number: one has pictures and labels, the other attributes.

What each may not know of the other is a token that occurs nowhere else, in every row.
"""

from __future__ import annotations

import csv
import secrets
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from PIL import Image

from secure_fair.data import faces

COMMON, DEVELOPERS, AUDITORS = 200, 20, 30  # how many people both know, and only one of them


@dataclass(frozen=True)
class Companies:
    """Their folders, and tokens: ``labels`` and ``attributes`` in every row of a table, ``numbers`` of the people."""

    developer: Path
    auditor: Path
    labels: list[str]
    attributes: list[str]
    numbers: list[str]
    truth: Mapping[str, int]  # the attribute's group of everybody

    @property
    def data(self) -> dict[str, Any]:
        """The scenario's ``[data]``; its ``root`` is right at the developer, and nowhere at the auditor."""
        return {
            "dataset": "manifest",
            "root": str(self.developer),
            "file": "customers.csv",
            "path_column": "picture",
            "id_column": "number",
            "target": "hair",
            "sensitive": ["sex"],
            "image_size": 16,
            "split": {"developer": 0.6, "auditor": 0.0, "test": 0.4},
        }

    @property
    def table(self) -> Path:
        """The auditor's own file."""
        return self.auditor / "register.csv"


def token(kind: str) -> str:
    return f"ZQ{kind}{secrets.token_hex(8)}"


def found(folder: Path, seed: int = 8) -> Companies:
    """Both companies' own files below ``folder``: drawn portraits, of which the task and the attribute can be seen."""
    n = COMMON + DEVELOPERS + AUDITORS
    pictures, codes = faces.draw(n, seed, size=16)
    developer, auditor = folder / "developer-files", folder / "auditor-files"
    (developer / "pictures").mkdir(parents=True)
    auditor.mkdir()
    classes, groups = [token("class") for _ in range(2)], [token("group") for _ in range(2)]
    numbers = [token("number") for _ in range(n)]
    notes = {kind: [token(kind) for _ in range(n)] for kind in ("label", "attribute")}
    known = range(COMMON + DEVELOPERS)
    for i in known:
        Image.fromarray(pictures[i]).save(developer / "pictures" / f"{i}.png")
    hair = codes["wavy_hair"]
    write(
        developer / "customers.csv",
        ("number", "picture", "hair", "note"),
        [(numbers[i], f"pictures/{i}.png", classes[hair[i]], notes["label"][i]) for i in known],
    )
    held = [*range(COMMON), *range(COMMON + DEVELOPERS, n)]
    sex = {numbers[i]: int(codes["male"][i]) for i in range(n)}
    write(
        auditor / "register.csv",
        ("number", "household", "sex", "note"),
        [(numbers[i], f"house {i // 2}", groups[sex[numbers[i]]], notes["attribute"][i]) for i in reversed(held)],
    )
    # names of groups are announced to all who compute; that somebody has one is the secret
    return Companies(developer, auditor, [*classes, *notes["label"]], notes["attribute"], numbers, sex)


def write(file: Path, header: tuple[str, ...], rows: list[tuple[str, ...]]) -> None:
    with file.open("w", newline="") as opened:
        csv.writer(opened).writerows([header, *rows])


def read(file: Path) -> list[dict[str, str]]:
    with file.open(newline="") as opened:
        return list(csv.DictReader(opened))
