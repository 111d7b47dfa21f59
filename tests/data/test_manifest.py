"""Any CSV: columns by name, natural order of groups, and every kind of bad row with its line."""

from __future__ import annotations

import math
from pathlib import Path

import pytest
from sample_files import Load, write_picture

from secure_fair.data.csv_rows import number_range, unmangle
from secure_fair.errors import UsageError


def replace_line(root: Path, number: int, text: str) -> None:
    lines = (root / "manifest.csv").read_text().splitlines()
    lines[number - 1] = text
    (root / "manifest.csv").write_text("\n".join(lines) + "\n")


def test_columns_and_natural_order(manifest: Path, load: Load) -> None:
    table = load("manifest", manifest, "age > 12.5", ["band", "hair"], id_column="person", split_column="part")
    assert table.target.codes.tolist() == [0, 0, 0, 1, 1, 1]
    assert table.sensitive["band"].groups == ("0-2", "3-9", "10-19")
    assert table.sensitive["band"].codes.tolist() == [0, 1, 2, 2, 1, 0]
    assert table.sensitive["hair"].groups == ("black", "red")
    assert table.given_split is not None
    assert table.given_split.tolist() == ["developer", "auditor", "test"] * 2


@pytest.mark.parametrize(
    ("text", "ends"),
    [
        ("7", (7, 7)),
        ("3-9", (3, 9)),
        ("50 – 59", (50, 59)),
        ("70+", (70, math.inf)),
        ("more than 70", (math.nextafter(70, 71), math.inf)),
        ("9-3", None),
        ("a-b", None),
        ("", None),
    ],
)
def test_ranges_of_numbers(text: str, ends: tuple[float, float] | None) -> None:
    assert number_range(text) == ends


def test_a_range_is_compared_as_a_whole(manifest: Path, load: Load) -> None:
    table = load("manifest", manifest, "band >= 10", ["hair"])
    assert table.target.groups == ("band < 10", "band >= 10")
    assert table.target.codes.tolist() == [0, 0, 1, 1, 0, 0]


def test_other_names_and_given_classes(manifest: Path, load: Load) -> None:
    text = (manifest / "manifest.csv").read_text().replace("path,", "file name,", 1)
    (manifest / "people.csv").write_bytes(b"\xef\xbb\xbf" + text.encode())  # as spreadsheets save UTF-8
    options = {"file": "people.csv", "path_column": "file name", "classes": {"hair": ["red", "black", "grey"]}}
    table = load("manifest", manifest, "hair", ["band"], **options)
    assert table.target.groups == ("red", "black", "grey")
    assert table.target.codes.tolist() == [1, 0] * 3


def test_paths_count_from_the_csv(manifest: Path, load: Load) -> None:
    (manifest / "lists").mkdir()
    text = (manifest / "manifest.csv").read_text().replace("faces/", "../faces/")
    (manifest / "lists" / "a.csv").write_text(text)
    table = load("manifest", manifest, "hair", ["band"], file="lists/a.csv")
    assert len(table) == 6


@pytest.mark.parametrize(
    ("row", "kind", "says"),
    [
        ("faces/p2.png,id2,7,03-Sep,red,test", "mangled value", "spreadsheet took '3-9' for a date"),
        ("faces/p2.png,id2,7,Oct-19,red,test", "mangled value", "'10-19'"),
        ("faces/p2.png,id2,7,,red,test", "empty value", "band is empty"),
        (",id2,7,0-2,red,test", "empty value", "path is empty"),
        ("faces/p2.png,,7,0-2,red,test", "empty value", "person is empty"),
        ("faces/p2.png,id2,old,0-2,red,test", "label out of range", "age is 'old', neither a number nor a range"),
        ("faces/p2.png,id2,nan,0-2,red,test", "label out of range", "neither a number"),
        ("faces/p2.png,id2,9-3,0-2,red,test", "label out of range", "neither a number"),
        ("faces/p2.png,id2,12-13,0-2,red,test", "label out of range", "age is '12-13', on both sides of 'age > 12'"),
        ("faces/p2.png,id2,03-Sep,0-2,red,test", "mangled value", "spreadsheet took '3-9' for a date"),
        ("faces/p2.png,id2,7,0-2,red,train", "unknown value", "part is 'train'"),
        ("faces/p2.png,id2,7,0-2,red", "wrong line", "5 fields instead of 6"),
        ("faces/p2.png,id0,7,0-2,red,test", "duplicate id", "'id0' is on line 2 already"),
        ("faces/../faces/p0.png,id2,7,0-2,red,test", "duplicate path", "on line 2 already"),
        ("../outside.png,id2,7,0-2,red,test", "path outside", "outside.png"),
        ("/etc/hostname,id2,7,0-2,red,test", "path outside", "leaves the data set's folder"),
        ("link.png,id2,7,0-2,red,test", "path outside", "link.png"),
        ("faces/none.png,id2,7,0-2,red,test", "missing picture", "none.png"),
    ],
)
def test_bad_rows_name_their_line(manifest: Path, load: Load, row: str, kind: str, says: str) -> None:
    (manifest / "link.png").symlink_to(write_picture(manifest.parent / "outside.png", 50))
    replace_line(manifest, 4, row)
    options = {"id_column": "person", "split_column": "part"}
    with pytest.raises(UsageError, match=rf"manifest\.csv:4( \(.*\))?: {kind}: .*{says}"):
        load("manifest", manifest, "age > 12", ["band"], **options)
    table = load("manifest", manifest, "age > 12", ["band"], on_bad="skip", **options)
    assert len(table) == 5
    assert [problem.kind for problem in table.skipped] == [kind]


def test_a_value_that_is_not_among_the_classes(manifest: Path, load: Load) -> None:
    options = {"classes": {"band": ["0-2", "3-9"]}}
    with pytest.raises(UsageError, match="unknown value: band is '10-19'; it must be one of 0-2, 3-9"):
        load("manifest", manifest, "hair", ["band"], **options)
    assert len(load("manifest", manifest, "hair", ["band"], on_bad="skip", **options)) == 4


def test_a_class_that_looks_like_a_date_is_fine_where_it_is_named(manifest: Path, load: Load) -> None:
    text = (manifest / "manifest.csv").read_text().replace("3-9", "03-Sep")
    (manifest / "manifest.csv").write_text(text)
    table = load("manifest", manifest, "hair", ["band"], classes={"band": ["0-2", "03-Sep", "10-19"]})
    assert table.sensitive["band"].codes.tolist() == [0, 1, 2, 2, 1, 0]


def test_lines_are_counted_through_quoted_line_breaks(manifest: Path, load: Load) -> None:
    replace_line(manifest, 2, 'faces/p0.png,"id\n0",0,0-2,black,developer')
    replace_line(manifest, 5, "faces/p2.png,id2,7,,red,test")
    with pytest.raises(UsageError, match=r"manifest\.csv:5: empty value"):
        load("manifest", manifest, "hair", ["band"])


def test_missing_columns_are_all_listed(manifest: Path, load: Load) -> None:
    with pytest.raises(UsageError) as refused:
        load("manifest", manifest, "height > 3", ["eyes"], id_column="key")
    assert len(refused.value.problems) == 3
    assert all("it has path, person, age" in problem for problem in refused.value.problems)


def test_semicolons_are_recognised(manifest: Path, load: Load) -> None:
    text = (manifest / "manifest.csv").read_text().replace(",", ";")
    (manifest / "manifest.csv").write_text(text)
    with pytest.raises(UsageError, match="separate the columns by commas"):
        load("manifest", manifest, "hair", ["band"])


def test_a_column_of_names_is_no_target(manifest: Path, load: Load) -> None:
    text = "path,n\n" + "".join(f"faces/p0.png?{i},{i}\n" for i in range(70))
    (manifest / "manifest.csv").write_text(text.replace("?", "x"))
    with pytest.raises(UsageError, match=r'70 distinct values.*as in "n > 35"'):
        load("manifest", manifest, "n", ["path"])


@pytest.mark.parametrize("content", [b"", b"path,hair\na,b\0\n", b"\xff\xfe\x00", b'path,hair\n"a,b\n'])
def test_files_that_are_not_csv(manifest: Path, load: Load, content: bytes) -> None:
    (manifest / "manifest.csv").write_bytes(content)
    with pytest.raises(UsageError, match=r"manifest\.csv"):
        load("manifest", manifest, "hair", ["band"])


@pytest.mark.parametrize(
    ("value", "was"),
    [
        ("03-Sep", "3-9"),
        ("9-Mar", "3-9"),
        ("Mar-09", "3-9"),
        ("19-Oct", "10-19"),
        ("02-Jan", "1-2"),
        ("20-Nov", "11-20"),
    ],
)
def test_dates_of_a_spreadsheet_are_read_as_ranges(value: str, was: str) -> None:
    assert unmangle(value) == was


@pytest.mark.parametrize("value", ["3-9", "60+", "more than 70", "03-Abc", "2003-09-03"])
def test_other_values_are_left_alone(value: str) -> None:
    assert unmangle(value) is None
