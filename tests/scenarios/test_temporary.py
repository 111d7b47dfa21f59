"""Temporary folders hold stores and keys: those that a killed process has left are found, and no others."""

from __future__ import annotations

import fcntl
import signal
import subprocess
import sys
import tempfile
from pathlib import Path

import pytest

from secure_fair.scenarios.temporary import remove_left, temporary_folder

HOLDER = """
import sys, time
from secure_fair.scenarios.temporary import temporary_folder
with temporary_folder("stores") as folder:
    print(folder, flush=True)
    time.sleep(60)
"""


@pytest.fixture(autouse=True)
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("TMPDIR", str(tmp_path))
    monkeypatch.setattr(tempfile, "tempdir", None)
    return tmp_path


def test_a_folder_goes_with_its_block(place: Path) -> None:
    with temporary_folder("stores") as folder:
        (folder / "below").mkdir()
        assert folder.parent == place
    assert list(place.iterdir()) == []


def test_a_folder_that_is_being_made_is_not_taken_for_one_that_was_left(
    place: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Another launcher looks in the moment before it is locked: it has a lock's file by then, which nobody holds."""
    looked: list[list[Path]] = []
    honest = fcntl.flock

    def flock(*what: int) -> None:
        if not looked:
            looked.append([])
            looked[0] = remove_left()
        honest(*what)

    monkeypatch.setattr(fcntl, "flock", flock)
    with temporary_folder("stores") as folder:
        assert looked == [[]]
        assert folder.is_dir()
        assert remove_left() == []
        (place / "secure-fair-left").mkdir()
        (place / "secure-fair-left" / ".in-use").touch()  # as it would have looked under its name
        assert remove_left() == [place / "secure-fair-left"]


def test_what_a_killed_process_has_left_goes_at_the_next_start_and_nothing_else(place: Path) -> None:
    (place / "secure-fair-mine").mkdir()  # of somebody's own, without a lock
    (place / "secure-fair-mine" / "notes").write_text("kept")
    (place / "secure-fair-elsewhere").symlink_to(place / "secure-fair-mine")
    holder = subprocess.Popen([sys.executable, "-c", HOLDER], stdout=subprocess.PIPE, text=True)
    try:
        assert holder.stdout is not None
        theirs = Path(holder.stdout.readline().strip())
        (theirs / "key.pem").write_text("private")
        assert remove_left() == []
        assert (theirs / "key.pem").exists()  # it lives
        holder.send_signal(signal.SIGKILL)
        holder.wait(10)
        with temporary_folder("stores") as folder:
            assert {path.name for path in place.iterdir()} == {
                *("secure-fair-mine", "secure-fair-elsewhere"),
                folder.name,
            }
    finally:
        holder.kill()
        holder.wait(10)
    assert (place / "secure-fair-mine" / "notes").read_text() == "kept"
