"""`secure-fair cache`: what is kept between runs to spare work, to look at and to throw away."""

from __future__ import annotations

from pathlib import Path

import click

from secure_fair.scenarios.cli.options import Output, shared_options

SWEEPS = ("tokens/tokens-*.pt", "features/features-*.pt", "trainings/training-*.pt")


@click.group()
def cache() -> None:
    """Show or clear what is kept between runs: decoded pictures, and a sweep's tokens, features and trainings."""


@cache.command()
@shared_options
def show(output: Output) -> None:
    """Say where the cache is, how much is in it, and who may read it."""
    from secure_fair.report.tables import size
    from secure_fair.scenarios.people import cache_folder

    folder = cache_folder()
    files, held = _held(folder)
    mode = f"{folder.stat().st_mode & 0o777:04o}" if folder.is_dir() else "-"
    tree = {"folder": str(folder), "files": files, "bytes": held, "mode": mode}
    text = f"{folder}: {files} files, {size(held)}, mode {mode}" if files else f"{folder}: empty"
    output.result(tree, f"{text}\n(SECURE_FAIR_CACHE names another folder)")


@cache.command()
@shared_options
def clear(output: Output) -> None:
    """Delete what the program has put there, and nothing else that is in the folder; the next run computes anew."""
    from secure_fair.report.tables import size
    from secure_fair.scenarios.people import cache_folder

    folder = cache_folder()
    files, held = _held(folder)
    for file in _kept(folder):
        file.unlink(missing_ok=True)
    output.result(
        {"folder": str(folder), "files": files, "bytes": held}, f"{folder}: {files} files, {size(held)} deleted"
    )


def _held(folder: Path) -> tuple[int, int]:
    """How many files of the cache are in a folder, and their bytes."""
    sizes = [file.stat().st_size for file in _kept(folder)]
    return len(sizes), sum(sizes)


def _kept(folder: Path) -> list[Path]:
    """The files in the folder that this program has put there, by their names."""
    from secure_fair.data.pictures import kept_in

    return [*kept_in(folder), *(file for pattern in SWEEPS for file in folder.glob(pattern) if file.is_file())]
