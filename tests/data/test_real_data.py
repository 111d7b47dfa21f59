"""The real sets, where they are: base rates as their description states them.

``SECURE_FAIR_DATA`` names the folder with ``utkface/``, ``celeba/`` and ``adult/``; by default ``../shared/data`` seen
from here.
"""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from secure_fair.data import DataReport, check

pytestmark = pytest.mark.real
DATA = Path(os.environ.get("SECURE_FAIR_DATA", Path(__file__).parents[3] / "shared" / "data"))


def report(
    dataset: str, target: str, sensitive: list[str], cache: Path, folder: str | None = None, **options: str
) -> DataReport:
    root = DATA / (folder or dataset)
    if not root.is_dir():
        pytest.skip(f"no folder {root.name} in SECURE_FAIR_DATA: the real records are not part of the project")
    return check(dataset, root=root, target=target, sensitive=sensitive, image_size=32, cache=cache, **options)


@pytest.fixture(scope="module")
def cache(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("cache")


def test_utkface(cache: Path) -> None:
    found = report("utkface", "age > 35", ["gender", "race"], cache)
    assert found.records == 8000
    assert not found.problems
    gender, race = found.attributes
    assert gender.groups == ("male", "female")
    assert gender.rates[:, 1] == pytest.approx([0.45, 0.26], abs=0.006)
    assert len(race.groups) == 5


@pytest.mark.parametrize(
    ("target", "women", "men"),
    [
        ("Wavy_Hair", 0.45, 0.14),
        ("Smiling", 0.55, 0.39),
        ("Attractive", 0.69, 0.27),
        ("Bald", 0.000, 0.058),
        ("Big_Nose", 0.11, 0.42),
    ],
)
def test_celeba(cache: Path, target: str, women: float, men: float) -> None:
    found = report("celeba", target, ["Male"], cache)
    assert found.records == 10_000
    assert not found.problems
    assert found.attributes[0].rates[:, 1] == pytest.approx([women, men], abs=0.006)


def test_adult(cache: Path) -> None:
    files = {"file": "adult_data.csv", "evaluation_file": "adult_test.csv"}
    found = report("table", ">50K", ["sex"], cache, folder="adult", **files)
    assert found.records == 32_561 + 16_281
    assert not found.problems
    (sex,) = found.attributes
    assert sex.groups == ("Female", "Male")
    assert sex.rates[:, 1] == pytest.approx([0.109, 0.304], abs=0.001)
    missing = {column.name: column.missing for column in found.columns if column.missing}
    assert missing == {"workclass": 2799, "occupation": 2809, "native-country": 857}
    assert sum(not column.categories for column in found.columns) == 6
