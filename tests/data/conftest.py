"""Small pictures and data sets in their makers' formats, drawn for each test."""

from __future__ import annotations

from pathlib import Path

import pytest
from sample_files import Load, write_picture

from secure_fair.data.table import Dataset, load_table


@pytest.fixture
def load(tmp_path: Path) -> Load:
    """``load_table`` at 16 pixels with a cache of the test's own."""

    def call(dataset: str, root: Path, target: str, sensitive: list[str], **options: object) -> Dataset:
        settings = {"image_size": 16, "cache": tmp_path / "cache", "root": root, **options}
        return load_table(dataset, target=target, sensitive=sensitive, **settings)

    return call


@pytest.fixture
def utkface(tmp_path: Path) -> Path:
    """Eight pictures with UTKFace's names: ages 10 to 80, genders in turn, races 0 to 4."""
    root = tmp_path / "utkface"
    for i in range(8):
        write_picture(root / f"{10 * (i + 1)}_{i % 2}_{i % 5}_2017011617452{i:04d}.jpg.chip.jpg", i)
    return root


@pytest.fixture
def celeba(tmp_path: Path) -> Path:
    """Six pictures with a table in CelebA's original format: Male -1 1 -1 1 ..., Smiling 1 1 -1 -1 1 1."""
    root = tmp_path / "celeba"
    lines = ["6", "Male Smiling "]
    for i in range(6):
        write_picture(root / "img_align_celeba" / f"{i + 1:06d}.jpg", i)
        lines.append(f"{i + 1:06d}.jpg {2 * (i % 2) - 1:2d} {-1 if i in (2, 3) else 1:2d}")
    (root / "list_attr_celeba.txt").write_text("\n".join(lines) + "\n")
    return root


@pytest.fixture
def manifest(tmp_path: Path) -> Path:
    """Six pictures and manifest.csv: path, person, age, band, hair, part."""
    root = tmp_path / "manifest"
    bands = ["0-2", "3-9", "10-19", "10-19", "3-9", "0-2"]
    lines = ["path,person,age,band,hair,part"]
    for i in range(6):
        write_picture(root / "faces" / f"p{i}.png", i)
        part = ("developer", "auditor", "test")[i % 3]
        lines.append(f"faces/p{i}.png,id{i},{5 * i},{bands[i]},{'red' if i % 2 else 'black'},{part}")
    (root / "manifest.csv").write_text("\n".join(lines) + "\n")
    return root
