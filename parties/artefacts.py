"""Files and folders that appear whole or not at all, however the process ends."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path


@contextmanager
def whole(path: Path) -> Iterator[Path]:
    """A hidden path beside ``path`` to write a file or folder at; it takes the name once the block has ended well."""
    partial = path.with_name(f".{path.name}.partial")
    _remove(partial)
    yield partial
    for file in (partial, *partial.rglob("*")) if partial.is_dir() else (partial,):
        if file.is_file():
            with file.open("rb") as written:
                os.fsync(written.fileno())
    if path.is_dir():  # no folder with something in it is ever replaced in one step
        _remove(path)
    partial.replace(path)


def _remove(path: Path) -> None:
    if path.is_dir():
        shutil.rmtree(path)
    else:
        path.unlink(missing_ok=True)
