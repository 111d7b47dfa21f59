"""CelebA: both forms of the table, the partition, and every kind of bad line."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
from sample_files import Load, write_picture

from secure_fair.data.table import count_records
from secure_fair.errors import UsageError

TABLE = "list_attr_celeba.txt"


def rewrite(root: Path, change: Callable[[list[str]], object]) -> None:
    lines = (root / TABLE).read_text().splitlines()
    change(lines)
    (root / TABLE).write_text("\n".join(lines) + "\n")


def test_original_table(celeba: Path, load: Load) -> None:
    table = load("celeba", celeba, "smiling", ["Male"])
    assert table.target.groups == ("no", "yes")
    assert table.target.codes.tolist() == [1, 1, 0, 0, 1, 1]
    assert table.sensitive["Male"].groups == ("female", "male")
    assert table.sensitive["Male"].codes.tolist() == [0, 1] * 3


def test_csv_says_the_same(celeba: Path, load: Load) -> None:
    before = load("celeba", celeba, "Smiling", ["Male"])
    lines = (celeba / TABLE).read_text().splitlines()[1:]
    text = "\n".join(",".join((["image_id"] if i == 0 else []) + line.split()) for i, line in enumerate(lines))
    (celeba / "list_attr_celeba.csv").write_text(text)
    (celeba / TABLE).unlink()
    after = load("celeba", celeba, "Smiling", ["Male"])
    assert after.digests == before.digests
    assert after.target.codes.tolist() == before.target.codes.tolist()


def test_partition_gives_the_split(celeba: Path, load: Load) -> None:
    (celeba / "list_eval_partition.txt").write_text("".join(f"{i + 1:06d}.jpg {i // 2}\n" for i in range(6)))
    table = load("celeba", celeba, "Smiling", ["Male"], partition=True)
    assert table.given_split is not None
    assert table.given_split.tolist() == ["developer"] * 2 + ["auditor"] * 2 + ["test"] * 2
    assert load("celeba", celeba, "Smiling", ["Male"]).given_split is None
    asked = {"root": celeba, "target": "Smiling", "sensitive": ["Male"]}
    assert count_records("celeba", **asked, partition=True).given == {"developer": 2, "auditor": 2, "test": 2}
    assert count_records("celeba", **asked).given is None
    (celeba / "list_eval_partition.txt").write_text("".join(f"{i + 1:06d}.jpg {i}\n" for i in range(6)))
    skipped = load("celeba", celeba, "Smiling", ["Male"], partition=True, on_bad="skip").skipped
    assert [problem.kind for problem in skipped] == ["missing split"] * 3


def set_cell(value: str) -> Callable[[list[str]], object]:
    return lambda lines: lines.__setitem__(3, value)


@pytest.mark.parametrize(
    ("line", "kind", "says"),
    [
        ("000002.jpg  0  1", "label out of range", "Male is '0'"),
        ("000002.jpg  1", "wrong line", "2 fields instead of 3"),
        ("000001.jpg  1  1", "duplicate path", "line 3 already"),
        ("000009.jpg  1  1", "missing picture", "000009.jpg"),
        ("../escape.jpg  1  1", "path outside", "escape"),
    ],
)
def test_bad_lines_name_their_line(celeba: Path, load: Load, line: str, kind: str, says: str) -> None:
    rewrite(celeba, set_cell(line))
    with pytest.raises(UsageError, match=f"{TABLE}:4: {kind}: .*{says}"):
        load("celeba", celeba, "Smiling", ["Male"])
    table = load("celeba", celeba, "Smiling", ["Male"], on_bad="skip")
    problems = {problem.place: problem.kind for problem in table.skipped}
    assert problems.pop(f"{TABLE}:4") == kind
    # the second picture has lost its line, and that is said as well
    assert problems in ({"img_align_celeba/000002.jpg": "unlisted picture"}, {})
    assert len(table) == 5


def test_csv_with_an_empty_cell(celeba: Path, load: Load) -> None:
    (celeba / TABLE).unlink()
    rows = ["image_id,Male,Smiling", *(f"{i:06d}.jpg,1,{'' if i == 3 else 1}" for i in range(1, 7))]
    (celeba / "list_attr_celeba.csv").write_text("\n".join(rows))
    with pytest.raises(UsageError, match=r"list_attr_celeba\.csv:4: empty value: Smiling"):
        load("celeba", celeba, "Smiling", ["Male"])


def test_a_picture_without_a_line_is_reported(celeba: Path, load: Load) -> None:
    write_picture(celeba / "img_align_celeba" / "000007.jpg", 7)
    with pytest.raises(UsageError, match=r"000007\.jpg: unlisted picture"):
        load("celeba", celeba, "Smiling", ["Male"])


def test_a_table_cut_off_is_refused_whole(celeba: Path, load: Load) -> None:
    rewrite(celeba, lambda lines: lines.pop())
    with pytest.raises(UsageError, match="says 6 pictures, the file has 5"):
        load("celeba", celeba, "Smiling", ["Male"], on_bad="skip")


@pytest.mark.parametrize(
    ("target", "says"), [("Happy", "no column 'Happy'; it has Male, Smiling"), ("Smiling > 0", "1 or -1")]
)
def test_impossible_targets(celeba: Path, load: Load, target: str, says: str) -> None:
    with pytest.raises(UsageError, match=says):
        load("celeba", celeba, target, ["Male"])


def test_missing_table_and_folder(celeba: Path, load: Load) -> None:
    (celeba / TABLE).rename(celeba / "attributes.txt")
    with pytest.raises(UsageError, match=r"neither list_attr_celeba\.txt nor list_attr_celeba\.csv"):
        load("celeba", celeba, "Smiling", ["Male"])
    (celeba / "img_align_celeba").rename(celeba / "pictures")
    with pytest.raises(UsageError, match="no folder img_align_celeba"):
        load("celeba", celeba, "Smiling", ["Male"])
