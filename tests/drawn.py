"""A data set of its own: drawn portraits as files, with a table of what is to be seen in them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from PIL import Image

from secure_fair.data import faces

GENDERS = {"gender": ("male", ("Female", "Male"))}
SEED = 77


def write_manifest(
    root: Path, records: int, columns: Mapping[str, tuple[str, Sequence[str]]], size: int = 16, seed: int = SEED
) -> dict[str, Any]:
    """Draw ``records`` pictures below ``root``; the keys of a scenario's section that names them.

    ``columns``: by the table's column, the portraits' attribute that it tells and its words for the groups.
    """
    pictures, codes = faces.draw(records, seed, size=size)
    (root / "pictures").mkdir(parents=True)
    lines = [",".join(("picture", *columns))]
    for i, picture in enumerate(pictures):
        Image.fromarray(picture).save(root / "pictures" / f"{i}.png")
        words = (names[codes[attribute][i]] for attribute, names in columns.values())
        lines.append(",".join((f"pictures/{i}.png", *words)))
    (root / "people.csv").write_text("\n".join(lines) + "\n")
    return {"dataset": "manifest", "root": str(root), "file": "people.csv", "path_column": "picture"}
