"""Training curves and released figures for TensorBoard: from developers' folders alone, so what they may know."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from secure_fair.errors import UsageError
from secure_fair.files import private_folder

ROUNDS, RESULT = "rounds.jsonl", "result.json"
DEVELOPER = "developer"


def developers(run: Path) -> dict[str, Path]:
    """The developers' folders of a run by method, or ``run`` itself where it is what a developer wrote with --out."""
    if (run / ROUNDS).is_file():
        return {DEVELOPER: run}
    found = {folder.name: folder / DEVELOPER for folder in sorted((run / "compare").glob("*"))}
    found["main"] = run / DEVELOPER
    return {name: folder for name, folder in found.items() if (folder / ROUNDS).is_file()}


def write_board(run: Path, out: Path) -> list[Path]:
    """Write the events of each method of a run into a folder of its name below ``out``; returns those folders.

    UsageError where ``run`` has no training to tell of, where it is damaged, or ``out`` holds something.
    """
    found = {name: list(_scalars(folder)) for name, folder in developers(run).items()}
    if not found:
        raise UsageError(f"{run}: no developer's {ROUNDS} in it; name the folder of a run that has ended")
    if out.exists() and (not out.is_dir() or any(out.iterdir())):
        raise UsageError(f"--tensorboard {out}: exists and is not an empty folder; name another")
    try:
        private_folder(out)
    except OSError as error:
        raise UsageError(f"--tensorboard {out}: cannot be made: {error.strerror}") from error
    from torch.utils.tensorboard import SummaryWriter  # which takes seconds to import

    for name, scalars in found.items():
        private_folder(out / name)
        with SummaryWriter(str(out / name)) as writer:
            for tag, value, epoch in scalars:
                writer.add_scalar(tag, value, epoch)
    return [out / name for name in found]


def _scalars(folder: Path) -> Iterator[tuple[str, float, int]]:
    """Tag, value and epoch of every number that a developer has kept; the result belongs to the last epoch."""
    epoch = 0
    try:
        for line in (folder / ROUNDS).read_text(encoding="utf-8").splitlines():
            told = json.loads(line)
            epoch = told.pop("epoch")
            yield from ((f"train/{tag}", value, epoch) for tag, value in _numbers(told))
        if (folder / RESULT).is_file():
            result = json.loads((folder / RESULT).read_text(encoding="utf-8"))
            figures = {"test": result["utility"], "test_released": result["fairness_released"]}
            yield from ((tag, value, epoch) for tag, value in _numbers(figures))
    except (ValueError, RecursionError, KeyError, AttributeError, TypeError) as error:
        raise UsageError(f"{folder}: {ROUNDS} or {RESULT} is damaged: {error!r}") from error


def _numbers(tree: Mapping[str, Any], prefix: str = "") -> Iterator[tuple[str, float]]:
    """Every number of nested tables under its path; what is undefined is left out."""
    for key, value in tree.items():
        if isinstance(value, Mapping):
            yield from _numbers(value, f"{prefix}{key}/")
        elif isinstance(value, int | float) and not isinstance(value, bool):
            yield prefix + key, float(value)
