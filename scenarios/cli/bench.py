"""`secure-fair bench`: what the secure engine costs on this machine, beside stock CrypTen."""

from __future__ import annotations

import json
import os
from pathlib import Path

import click

from scenarios.cli.options import Output, shared_options


@click.command()
@click.option("--parties", type=click.IntRange(2, 4), default=2, show_default=True, help="Compute parties.")
@click.option("--batch", type=click.IntRange(1, 4096), default=128, show_default=True, help="Records.")
@click.option("--dim", type=click.IntRange(1, 4096), default=192, show_default=True, help="Features of a record.")
@click.option("--repeat", type=click.IntRange(1), default=11, show_default=True, help="Timings of each row.")
@click.option(
    "--rows", type=click.IntRange(1, 10_000_000), multiple=True, help="Rows of a moment and its proof; may be repeated."
)
@click.option("--out", type=click.Path(path_type=Path, dir_okay=False), help="Also write FILE.md or FILE.json.")
@shared_options
def bench(
    parties: int, batch: int, dim: int, repeat: int, rows: tuple[int, ...], out: Path | None, output: Output
) -> None:
    """Measure rounds, bytes, milliseconds and errors of the secure operations, ours and CrypTen 0.4.1's in turns.

    Then a moment of 2,400, 20,000 and 100,000 rows (or of --rows), without and with the proof that its query keeps to
    its bound: bytes, rounds, milliseconds, and each party's memory.
    """
    from secure_fair.errors import UsageError

    if out is not None and (out.suffix not in (".md", ".json") or not os.access(out.parent, os.W_OK)):
        raise UsageError(f"--out {out}: name a file that ends in .md or .json, in a folder that can be written to")

    from bench.measure import measure
    from bench.moments import SIZES, measure_moments
    from bench.report import BenchReport

    def follow(title: str) -> None:
        click.echo(f"measuring {title}", err=True)

    operations = measure(parties, batch, dim, repeat, follow)
    moments = measure_moments(rows or SIZES, follow)
    load = os.getloadavg()[1] if hasattr(os, "getloadavg") else None
    report = BenchReport(parties, batch, dim, repeat, operations, load, moments)
    if out is not None:
        out.write_text(report.page() if out.suffix == ".md" else json.dumps(report.tree(), indent=2) + "\n")
    output.result(report.tree(), report.text())
