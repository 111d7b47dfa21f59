"""Files and folders that appear whole or not at all."""

from __future__ import annotations

import socket
import subprocess
import sys
from pathlib import Path

import pytest

from secure_fair.files import atomic_write


def test_nothing_has_the_name_before_it_is_whole(tmp_path: Path) -> None:
    with atomic_write(tmp_path / "result.json") as file:
        file.write_text("half")
        assert not (tmp_path / "result.json").exists()
        file.write_text("whole")
    assert (tmp_path / "result.json").read_text() == "whole"
    assert [path.name for path in tmp_path.iterdir()] == ["result.json"]


def test_an_error_leaves_what_was_there(tmp_path: Path) -> None:
    (tmp_path / "result.json").write_text("before")

    def interrupted() -> None:
        with atomic_write(tmp_path / "result.json") as file:
            file.write_text("half")
            raise RuntimeError

    with pytest.raises(RuntimeError):
        interrupted()
    assert (tmp_path / "result.json").read_text() == "before"


def test_a_folder_takes_the_place_of_another_whole(tmp_path: Path) -> None:
    (tmp_path / "adapter").mkdir()
    (tmp_path / "adapter" / "old").write_text("old")
    killed = subprocess.Popen([sys.executable, "-c", ""])
    killed.wait()
    left = tmp_path / f".adapter.{socket.gethostname()}.{killed.pid}.partial"  # by a process that has ended
    left.mkdir()
    (left / "torn").write_text("torn")
    with atomic_write(tmp_path / "adapter") as folder:
        folder.mkdir()
        (folder / "new").write_text("new")
        assert (tmp_path / "adapter" / "old").exists()
    assert [path.name for path in tmp_path.rglob("*")] == ["adapter", "new"]


def test_two_machines_write_into_one_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Process ids of another machine say nothing here: they may be this process's, or nobody's."""
    here = atomic_write(tmp_path / "shares")
    (mine := here.__enter__()).write_text("mine")
    monkeypatch.setattr(socket, "gethostname", lambda: "elsewhere")
    with atomic_write(tmp_path / "shares") as theirs:
        theirs.write_text("theirs")
        assert mine.read_text() == "mine"
    assert (tmp_path / "shares").read_text() == "theirs"
    here.__exit__(None, None, None)
    assert [(path.name, path.read_text()) for path in tmp_path.iterdir()] == [("shares", "mine")]
