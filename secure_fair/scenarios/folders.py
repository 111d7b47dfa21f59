"""Run folders: a fresh one for a run, and where the model is in one that has ended."""

from __future__ import annotations

from pathlib import Path

from secure_fair.errors import UsageError
from secure_fair.parties.rows import HEAD
from secure_fair.scenarios.assemble import DEVELOPER
from secure_fair.scenarios.schema import Scenario


def run_folder(scenario: Scenario, out: Path | None) -> Path:
    """An empty folder for the run: ``out``, or a fresh one under runs/."""
    return new_folder(out, Path("runs") / f"{scenario.name}-{scenario.seed}")


def new_folder(out: Path | None, base: Path, option: str = "--out") -> Path:
    """An empty folder: ``out``, refused if it holds anything, or a fresh one called ``base`` or after it."""
    if out is not None:
        if out.exists() and (not out.is_dir() or any(out.iterdir())):
            raise UsageError(f"{option} {out}: exists and is not an empty folder; name another")
        try:
            out.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise UsageError(f"{option} {out}: cannot be made: {error.strerror}") from error
        return out
    number = 1
    while True:
        folder = base if number == 1 else base.with_name(f"{base.name}-{number}")
        try:
            folder.mkdir(parents=True)
        except FileExistsError:
            number += 1
        except OSError as error:
            raise UsageError(f"{folder}: cannot be made: {error.strerror}; name a folder with {option}") from error
        else:
            return folder


def model_folder(run: Path) -> Path:
    """The folder of a run's model: the developer's in the run's folder, or ``run`` itself where it is the developer's.

    UsageError where no run has ended well there.
    """
    for folder in (run / DEVELOPER, run):
        if (folder / HEAD).is_file():
            return folder
    if not run.is_dir():
        raise UsageError(f"{run}: no such folder; name the folder of a run, which it says at its end")
    what = "the run has not ended well" if (run / "scenario.toml").is_file() else "it is no run's folder"
    raise UsageError(f"{run}: holds no model, for {what}; name the folder of a run that has ended")
