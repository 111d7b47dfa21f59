"""`secure-fair cache`: the decoded pictures that are kept between runs, to look at and to throw away."""

from __future__ import annotations

from pathlib import Path

import click

from scenarios.cli.options import Output, shared_options


@click.group()
def cache() -> None:
    """Show or clear the decoded pictures that are kept between runs."""


@cache.command()
@shared_options
def show(output: Output) -> None:
    """Say where the cache is, how much is in it, and who may read it."""
    from scenarios.people import cache_folder
    from secure_fair.report.tables import size

    folder = cache_folder()
    files, held = _held(folder)
    mode = f"{folder.stat().st_mode & 0o777:04o}" if folder.is_dir() else "-"
    tree = {"folder": str(folder), "files": files, "bytes": held, "mode": mode}
    text = f"{folder}: {files} files, {size(held)}, mode {mode}" if files else f"{folder}: empty"
    output.result(tree, f"{text}\n(SECURE_FAIR_CACHE names another folder)")


@cache.command()
@shared_options
def clear(output: Output) -> None:
    """Delete the decoded pictures, and nothing else that is in the folder; the next run decodes anew."""
    from scenarios.people import cache_folder
    from secure_fair.data.pictures import kept_in
    from secure_fair.report.tables import size

    folder = cache_folder()
    files, held = _held(folder)
    for file in kept_in(folder):
        file.unlink(missing_ok=True)
    output.result(
        {"folder": str(folder), "files": files, "bytes": held}, f"{folder}: {files} files, {size(held)} deleted"
    )


def _held(folder: Path) -> tuple[int, int]:
    """How many files of the cache are in a folder, and their bytes."""
    from secure_fair.data.pictures import kept_in

    sizes = [file.stat().st_size for file in kept_in(folder)]
    return len(sizes), sum(sizes)
