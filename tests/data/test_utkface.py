"""UTKFace: labels come from the names, and a wrong name is said."""

from __future__ import annotations

from pathlib import Path

import pytest
from sample_files import Load, write_picture

from secure_fair.data.check import check
from secure_fair.errors import UsageError


def test_labels_come_from_the_names(utkface: Path, load: Load) -> None:
    table = load("utkface", utkface, "age > 35", ["gender", "race", "age >= 60"])
    assert table.target.groups == ("age <= 35", "age > 35")
    assert table.target.codes.tolist() == [0, 0, 0, 1, 1, 1, 1, 1]
    assert table.sensitive["gender"].groups == ("male", "female")
    assert table.sensitive["gender"].codes.tolist() == [0, 1] * 4
    assert table.sensitive["race"].codes.tolist() == [0, 1, 2, 3, 4, 0, 1, 2]
    assert table.sensitive["age >= 60"].codes.tolist() == [0] * 5 + [1] * 3
    assert table.inputs.shape == (8, 16, 16, 3)
    assert table.given_split is None


@pytest.mark.parametrize(
    ("name", "kind", "says"),
    [
        ("61_1_20170109142408075.jpg.chip.jpg", "wrong name", "3 of 4 fields"),
        ("portrait.jpg", "wrong name", "1 of 4"),
        ("30_x_1_20170109142408075.jpg", "wrong name", "no numbers"),
        ("130_0_1_20170109142408075.jpg", "label out of range", "age 130"),
        ("30_2_1_20170109142408075.jpg", "label out of range", "gender 2"),
        ("sub/30_0_5_20170109142408075.png", "label out of range", "race 5"),
    ],
)
def test_a_bad_name_is_refused_or_listed(utkface: Path, load: Load, name: str, kind: str, says: str) -> None:
    write_picture(utkface / name, 99)
    with pytest.raises(UsageError, match=says) as refused:
        load("utkface", utkface, "gender", ["race"])
    assert name in str(refused.value)
    table = load("utkface", utkface, "gender", ["race"], on_bad="skip")
    assert len(table) == 8
    assert [(problem.place, problem.kind) for problem in table.skipped] == [(name, kind)]


ODD = ("24_0_1_20170116220224657 .jpg.chip.jpg", "55_0_0_20170116232725357jpg.chip.jpg")


def test_names_with_an_odd_ending_are_read_and_counted(utkface: Path, load: Load) -> None:
    for number, name in enumerate(ODD):
        write_picture(utkface / name, 50 + number)
    table = load("utkface", utkface, "age > 35", ["race"])
    found = {Path(name).name: code for name, code in zip(table.names, table.sensitive["race"].codes, strict=True)}
    assert [found[name] for name in ODD] == [1, 0]
    assert table.notes == (f"2 names with an odd ending are read all the same, the first {ODD[0]!r}",)
    report = check("utkface", root=utkface, target="age > 35", sensitive=["race"], image_size=16, cache=utkface / "c")
    assert table.notes[0] in report.warnings


@pytest.mark.parametrize(
    ("target", "says"),
    [("age", 'compare it, as in "age > 35"'), ("gender > 0", "no order"), ("height > 3", "no 'height'")],
)
def test_impossible_targets(utkface: Path, load: Load, target: str, says: str) -> None:
    with pytest.raises(UsageError, match=says):
        load("utkface", utkface, target, ["race"])


def test_no_folder_no_pictures(tmp_path: Path, load: Load) -> None:
    with pytest.raises(UsageError, match="no such folder"):
        load("utkface", tmp_path / "nowhere", "gender", ["race"])
    with pytest.raises(UsageError, match=r"set data\.root"):
        load("utkface", None, "gender", ["race"])
    (tmp_path / "empty").mkdir()
    with pytest.raises(UsageError, match="no pictures"):
        load("utkface", tmp_path / "empty", "gender", ["race"])
