"""Temporary folders of a launcher, which hold stores and private keys: gone with it, or at the next one's start.

Who makes one holds a lock on a file in it for as long as it lives, so that the folder of a process that was killed is
told from one in use, whatever became of its number. It is locked before it has the name by which others find it: there
is no moment in which a living one looks like one that was left.
"""

from __future__ import annotations

import fcntl
import os
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

PREFIX = "secure-fair-"
UNNAMED = "."  # before the name of one that is not locked yet
LOCK = ".in-use"


@contextmanager
def temporary_folder(purpose: str) -> Iterator[Path]:
    """A folder for this process alone, removed afterwards; and first those that killed processes have left."""
    remove_left()
    folder = Path(tempfile.mkdtemp(prefix=f"{UNNAMED}{PREFIX}{purpose}-"))
    lock = os.open(folder / LOCK, os.O_RDWR | os.O_CREAT, 0o600)
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        folder = folder.rename(folder.with_name(folder.name.removeprefix(UNNAMED)))
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)
        os.close(lock)


def remove_left() -> list[Path]:
    """Remove this user's folders of processes that live no more; returns them. Others' and those in use stay."""
    removed = []
    for folder in sorted(Path(tempfile.gettempdir()).glob(f"{PREFIX}*")):
        if _is_left(folder):
            shutil.rmtree(folder, ignore_errors=True)
            removed.append(folder)
    return removed


def _is_left(folder: Path) -> bool:
    """Whether its owner was this user and holds its lock no more. Without a lock's file it is not from here."""
    try:
        if folder.is_symlink() or not folder.is_dir() or folder.stat().st_uid != os.geteuid():
            return False
        lock = os.open(folder / LOCK, os.O_RDWR | os.O_NOFOLLOW)
    except OSError:  # no lock, or it went away meanwhile
        return False
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    finally:
        os.close(lock)
    return True
