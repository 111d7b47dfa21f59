"""`secure-fair page`: making the generated blocks of a Markdown page again."""

from __future__ import annotations

from pathlib import Path

import click

from secure_fair.scenarios.cli.options import Output, shared_options


@click.command()
@click.argument("file", metavar="PAGE", type=click.Path(path_type=Path, exists=True, dir_okay=False))
@shared_options
def page(file: Path, output: Output) -> None:
    """Make tables and figures of a Markdown PAGE again from the CSVs of sweeps that it names.

    A block stands between two comments, with paths relative to the page; all other lines are left alone:

    \b
      <!-- table: results/methods.csv differences -->
      <!-- end -->
      <!-- figure: results/methods.csv front -->
      <!-- end -->

    Tables: settings, differences, kept, responses, hypervolume, front; attacks (of an attacks.csv). Figures:
    gap-epsilon, accuracy-epsilon, front.
    """
    from secure_fair.report.pages import Page

    written = Page.of(file).write(file)
    output.result({"files": [str(path) for path in written]}, "\n".join(map(str, written)))
