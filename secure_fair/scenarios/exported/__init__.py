"""Programs that an export is given along with its weights: they need nothing of this project."""

from __future__ import annotations

from importlib.resources import files
from pathlib import Path
from types import ModuleType
from typing import Any

LOADER = "load.py"


def write_loader(folder: Path, name: str) -> None:
    """Put the loader of this name into an export."""
    source = files("secure_fair.scenarios.exported") / name
    (folder / LOADER).write_text(source.read_text(encoding="utf-8"), encoding="utf-8")


def loaded(folder: Path) -> Any:
    """The loader that an export has been given, as a module."""
    file = folder / LOADER
    module = ModuleType("exported_loader")
    module.__file__ = str(file)
    exec(
        compile(file.read_text(encoding="utf-8"), file, "exec"), module.__dict__
    )  # imported, it would leave its bytecode
    return module
