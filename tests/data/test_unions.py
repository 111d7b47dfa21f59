"""Groups made of several values, and numbers cut into ranges: in pictures' names, manifests and tables alike."""

from __future__ import annotations

from pathlib import Path

import pytest
from sample_files import Load

from secure_fair.data.holder import read_holder
from secure_fair.data.table import count_records
from secure_fair.data.unions import united_columns
from secure_fair.errors import UsageError

RACES = {"race": {"White": ["White"], "other": ["Black", "Asian", "Indian", "Other"]}}


def test_values_are_united_and_the_others_stay(utkface: Path, load: Load) -> None:
    apart = load("utkface", utkface, "age > 35", ["race", "gender"])
    table = load("utkface", utkface, "age > 35", ["race", "gender"], unions=RACES)
    assert table.sensitive["race"].groups == ("White", "other")
    assert table.sensitive["race"].codes.tolist() == [int(code > 0) for code in apart.sensitive["race"].codes]
    assert table.sensitive["gender"].codes.tolist() == apart.sensitive["gender"].codes.tolist()
    counted = count_records("utkface", root=utkface, target="age > 35", sensitive=["race"], unions=RACES)
    assert counted.groups["race"] == ("White", "other")


def test_the_order_of_groups_is_the_one_that_is_given(manifest: Path, load: Load) -> None:
    unions = {"band": {"older": ["10-19"], "younger": ["3-9", "0-2"]}}
    table = load("manifest", manifest, "hair", ["band"], unions=unions)
    assert table.sensitive["band"].groups == ("older", "younger")
    assert table.sensitive["band"].codes.tolist() == [1, 1, 0, 0, 1, 1]


@pytest.mark.parametrize(
    ("groups", "says"),
    [
        ({"a": ["0-2"], "b": ["3-9"]}, "data.groups.band: 10-19: in no group"),
        ({"a": ["0-2"], "b": ["3-9", "10-19", "20-29"]}, "20-29: no value of 'band'; it has 0-2, 3-9, 10-19"),
        ({"a": ["0-2", "3-9"], "b": ["3-9", "10-19"]}, "3-9: in two groups"),
    ],
)
def test_groups_that_do_not_divide_the_values_are_refused(
    manifest: Path, load: Load, groups: dict[str, list[str]], says: str
) -> None:
    with pytest.raises(UsageError, match=says):
        load("manifest", manifest, "hair", ["band"], unions={"band": groups})


def test_columns_of_an_auditor_s_own_table_are_united_alike(tmp_path: Path) -> None:
    """An auditor that prepares alone comes to the groups that the scenario has, as a simulation does."""
    (tmp_path / "own.csv").write_text("id,race\na,Black\nb,White\nc,Asian\nd,White\n")
    held = read_holder(tmp_path / "own.csv", ["race"], id_column="id")
    united = united_columns(held.sensitive, {"race": {"White": ["White"], "other": ["Asian", "Black"]}})
    assert united["race"].groups == ("White", "other")
    assert united["race"].codes.tolist() == [1, 0, 1, 0]
    with pytest.raises(UsageError, match="Asian: in no group"):
        united_columns(held.sensitive, {"race": {"White": ["White"], "other": ["Black"]}})


def test_numbers_are_cut_into_ranges(utkface: Path, manifest: Path, load: Load) -> None:
    names = ("age < 30", "30 <= age < 60", "age >= 60")
    table = load("utkface", utkface, "gender", ["age cut at 30 and 60"])
    assert table.sensitive["age cut at 30 and 60"].groups == names
    assert table.sensitive["age cut at 30 and 60"].codes.tolist() == [0, 0, 1, 1, 1, 2, 2, 2]
    bands = load("manifest", manifest, "hair", ["band cut at 3 and 10"])  # ranges of numbers, each with all of it
    assert bands.sensitive["band cut at 3 and 10"].codes.tolist() == [0, 1, 2, 2, 1, 0]
    with pytest.raises(UsageError, match="band is '3-9', on both sides of 'band cut at 5'"):
        load("manifest", manifest, "hair", ["band cut at 5"])
