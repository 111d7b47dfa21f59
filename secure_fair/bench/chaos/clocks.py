"""A process whose clock is wrong, by libfaketime (https://github.com/wolfcw/libfaketime) where it is installed."""

from __future__ import annotations

import importlib.util
from pathlib import Path


def _library() -> Path | None:
    """The library of the Python package of that name, None without it."""
    package = importlib.util.find_spec("libfaketime")
    if package is None or package.origin is None:
        return None
    return Path(package.origin).parent / "vendor" / "libfaketime" / "src" / "libfaketime.so.1"


LIBRARY = _library()


def environment(offset: str) -> dict[str, str]:
    """The variables of a process whose clock is wrong by ``offset`` ("+30h", "-10y"); what it waits for is not
    longer or shorter for it."""
    assert LIBRARY is not None
    return {"LD_PRELOAD": str(LIBRARY), "FAKETIME": offset, "FAKETIME_DONT_FAKE_MONOTONIC": "1"}
