"""Pictures as a user names them: which files a folder or a CSV stands for, and under which names."""

from __future__ import annotations

from pathlib import Path

import pytest

from secure_fair.data.named import picture_files
from secure_fair.errors import UsageError


def test_a_folder_stands_for_what_is_called_like_a_picture_in_it(tmp_path: Path) -> None:
    for name in ("b.PNG", "a.jpg", "notes.txt", "below/c.webp", ".hidden/d.png", ".e.png", "plan.pdf"):
        file = tmp_path / name
        file.parent.mkdir(exist_ok=True)
        file.touch()
    found = picture_files([tmp_path])
    assert [Path(name).relative_to(tmp_path).as_posix() for name, _ in found] == ["a.jpg", "b.PNG", "below/c.webp"]
    assert all(Path(name) == file for name, file in found)


def test_a_table_s_paths_count_from_its_folder_and_stay_as_they_are(tmp_path: Path) -> None:
    (tmp_path / "list").mkdir()
    table = tmp_path / "list" / "new.CSV"
    table.write_text("id,photo\n1,../a.png\n2, b.png \n3,/c.png\n2,b.png\n")
    single = tmp_path / "without-ending"
    single.touch()
    assert picture_files([single, table], "photo") == [
        (str(single), single),
        ("../a.png", tmp_path / "list" / "../a.png"),
        ("b.png", tmp_path / "list" / "b.png"),
        ("/c.png", Path("/c.png")),
        ("b.png", tmp_path / "list" / "b.png"),
    ]


def test_lines_without_a_path_are_named(tmp_path: Path) -> None:
    table = tmp_path / "new.csv"
    table.write_text("id,path\n1,a.png\n2,\n3\n")
    with pytest.raises(UsageError) as caught:
        picture_files([table])
    assert caught.value.problems == [f"{table}:{line}: has no path" for line in (3, 4)]


def test_every_place_that_is_not_there_is_named(tmp_path: Path) -> None:
    with pytest.raises(UsageError) as caught:
        picture_files([tmp_path / "x", tmp_path / "y"])
    assert len(caught.value.problems) == 2
