"""Files and folders that appear whole or not at all, however the process ends."""

from __future__ import annotations

import glob
import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path


@contextmanager
def atomic_write(path: Path) -> Iterator[Path]:
    """Yield a hidden path beside ``path`` to write a file or folder at; it takes the name once the block ended well.

    What was written is on disk before it is named; a file is readable by its owner alone unless it was made otherwise.
    Several processes may write the same path: the last one to end wins.
    """
    partial = path.with_name(f".{path.name}.{os.getpid()}.partial")
    for left in path.parent.glob(f".{glob.escape(path.name)}.*.partial"):
        if left == partial or not _runs(int(left.name.split(".")[-2])):
            _remove(left)
    try:
        yield partial
        for file in (partial, *partial.rglob("*")) if partial.is_dir() else (partial,):
            if file.is_file():
                with file.open("rb") as written:
                    os.fsync(written.fileno())
        if path.is_dir():  # no folder with something in it is ever replaced in one step
            _remove(path)
        partial.replace(path)
    except BaseException:
        _remove(partial)
        raise


def write_bytes(path: Path, content: bytes) -> None:
    """Replace a file, private to its owner (0600); a crash leaves the old one or the new one."""
    with atomic_write(path) as partial, open(os.open(partial, os.O_WRONLY | os.O_CREAT, 0o600), "wb") as file:
        file.write(content)


def _remove(path: Path) -> None:
    if path.is_dir():
        shutil.rmtree(path)
    else:
        path.unlink(missing_ok=True)


def _runs(process: int) -> bool:
    try:
        os.kill(process, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    return True
