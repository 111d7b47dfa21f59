"""Files and folders that appear whole or not at all, however the process ends."""

from __future__ import annotations

import glob
import os
import shutil
import socket
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO, Literal


@contextmanager
def atomic_write(path: Path) -> Iterator[Path]:
    """Yield a hidden path beside ``path`` to write a file or folder at; it takes the name once the block ended well.

    What was written is on disk before it is named, and private to its owner (0600, folders 0700). Several processes may
    write the same path, on several machines that share the folder: the last one to end wins.
    """
    own = f".{path.name}.{socket.gethostname()}"
    partial = path.with_name(f"{own}.{os.getpid()}.partial")
    # those of other machines are left alone: nobody knows here whether their processes run
    for left in path.parent.glob(f"{glob.escape(own)}.*.partial"):
        if left == partial or not _runs(int(left.name.split(".")[-2])):
            _remove(left)
    try:
        yield partial
        for made in (partial, *partial.rglob("*")) if partial.is_dir() else (partial,):
            made.chmod(0o700 if made.is_dir() else 0o600)
            if made.is_file():
                with made.open("rb") as written:
                    os.fsync(written.fileno())
        if path.is_dir():  # no folder with something in it is ever replaced in one step
            _remove(path)
        partial.replace(path)
    except BaseException:
        _remove(partial)
        raise


def is_there(file: Path, folder: Path) -> bool:
    """Whether a file below ``folder`` is there; OSError where the folder itself is not.

    A disk that is away says nothing of what is on it.
    """
    if file.is_file():
        return True
    with os.scandir(folder):
        return False


def write_bytes(path: Path, content: bytes) -> None:
    """Replace a file, private to its owner (0600); a crash leaves the old one or the new one."""
    with atomic_write(path) as partial, open_private(partial, "wb") as file:
        file.write(content)


def open_private(path: Path, mode: Literal["wb", "ab"]) -> BinaryIO:
    """Open a file to write or to append, private to its owner (0600) also where it was there already."""
    file = open(path, mode, opener=lambda name, flags: os.open(name, flags, 0o600))  # noqa: SIM115 (the caller closes)
    os.fchmod(file.fileno(), 0o600)
    return file


def private_folder(path: Path) -> None:
    """Make a folder private to its owner (0700), and the same of those above it that are missing; or tighten it."""
    for missing in reversed([folder for folder in path.parents if not folder.exists()]):
        missing.mkdir(mode=0o700, exist_ok=True)
    path.mkdir(mode=0o700, exist_ok=True)
    if path.stat().st_uid == os.geteuid():
        path.chmod(0o700)


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
