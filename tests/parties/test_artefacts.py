"""Files and folders that appear whole or not at all."""

from __future__ import annotations

from pathlib import Path

import pytest

from parties.artefacts import whole


def test_nothing_has_the_name_before_it_is_whole(tmp_path: Path) -> None:
    with whole(tmp_path / "result.json") as file:
        file.write_text("half")
        assert not (tmp_path / "result.json").exists()
        file.write_text("whole")
    assert (tmp_path / "result.json").read_text() == "whole"
    assert [path.name for path in tmp_path.iterdir()] == ["result.json"]


def test_an_error_leaves_what_was_there(tmp_path: Path) -> None:
    (tmp_path / "result.json").write_text("before")

    def interrupted() -> None:
        with whole(tmp_path / "result.json") as file:
            file.write_text("half")
            raise RuntimeError

    with pytest.raises(RuntimeError):
        interrupted()
    assert (tmp_path / "result.json").read_text() == "before"


def test_a_folder_takes_the_place_of_another_whole(tmp_path: Path) -> None:
    (tmp_path / "adapter").mkdir()
    (tmp_path / "adapter" / "old").write_text("old")
    (tmp_path / ".adapter.partial").mkdir()  # left by a process that was killed
    (tmp_path / ".adapter.partial" / "torn").write_text("torn")
    with whole(tmp_path / "adapter") as folder:
        folder.mkdir()
        (folder / "new").write_text("new")
        assert (tmp_path / "adapter" / "old").exists()
    assert [path.name for path in tmp_path.rglob("*")] == ["adapter", "new"]
