"""`secure-fair report`: making the report of a finished run again."""

from __future__ import annotations

from pathlib import Path

import click

from scenarios.cli.options import Output, shared_options


@click.command()
@click.argument("folder", metavar="RUN", type=click.Path(path_type=Path, exists=True, file_okay=False))
@shared_options
def report(folder: Path, output: Output) -> None:
    """Write report.html of a RUN folder again from its summary.json."""
    from secure_fair.report.html import write_report

    written = write_report(folder)
    output.result({"report": str(written)}, str(written))
