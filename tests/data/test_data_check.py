"""The report on a data set: counts, rates and the gap of the labels, against numbers worked out by hand."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from secure_fair.data import Attribute, Dataset, check, describe


def table(target: list[int], group: list[int]) -> Dataset:
    n = len(target)
    return Dataset(
        np.zeros((n, 16, 16, 3), np.uint8),
        [f"{i:064x}" for i in range(n)],
        {"kind": Attribute("kind", np.array(group), ("a", "b", "c"))},
        target=Attribute("task", np.array(target), ("no", "yes")),
    )


def test_counts_rates_and_gap() -> None:
    report = describe("manifest", table([1, 1, 1, 0, 0, 1, 0, 0, 0, 0], [0, 0, 0, 0, 1, 1, 1, 1, 1, 1]))
    (attribute,) = report.attributes
    assert report.class_counts.tolist() == [6, 4]
    assert attribute.counts.tolist() == [[1, 3], [5, 1], [0, 0]]
    assert attribute.gap == pytest.approx(3 / 4 - 1 / 6)
    assert attribute.rates[:2, 1] == pytest.approx([3 / 4, 1 / 6])
    assert np.isnan(attribute.rates[2]).all()
    assert "no record has kind = c" in report.warnings
    assert "(gap of the labels 0.583)" in report.text()
    assert json.loads(json.dumps(report.tree()))["sensitive"]["kind"]["groups"]["a"]["classes"] == {"no": 1, "yes": 3}


def test_gap_agrees_with_fairlearn() -> None:
    from fairlearn.metrics import demographic_parity_difference

    rng = np.random.default_rng(0)
    target, group = rng.integers(0, 2, 300), rng.integers(0, 3, 300)
    (attribute,) = describe("manifest", table(target.tolist(), group.tolist())).attributes
    assert attribute.gap == pytest.approx(demographic_parity_difference(target, target, sensitive_features=group))


def test_one_group_has_no_gap() -> None:
    report = describe("manifest", table([0, 1], [2, 2]))
    assert report.attributes[0].gap is None
    assert "not defined" in report.text()


def test_check_lists_every_problem(utkface: Path, tmp_path: Path) -> None:
    for i in range(25):
        (utkface / f"bad{i}.jpg").write_bytes(b"x")
    report = check(
        "utkface", root=utkface, target="age > 35", sensitive=["gender"], image_size=16, cache=tmp_path / "cache"
    )
    assert report.records == 8
    assert report.tree()["problems"]["count"] == 25
    assert report.text().count("left out: bad") == 25
