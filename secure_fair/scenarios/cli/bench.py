"""`secure-fair bench`: what the secure engine costs on this machine, beside stock CrypTen."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import TYPE_CHECKING

import click

from secure_fair.scenarios.cli.options import Output, shared_options

if TYPE_CHECKING:
    from secure_fair.bench.report import BenchReport


@click.command()
@click.option("--parties", type=click.IntRange(2, 4), default=2, show_default=True, help="Compute parties.")
@click.option("--batch", type=click.IntRange(1, 4096), default=128, show_default=True, help="Records.")
@click.option("--dim", type=click.IntRange(1, 4096), default=192, show_default=True, help="Features of a record.")
@click.option("--repeat", type=click.IntRange(1), default=11, show_default=True, help="Timings of each row.")
@click.option(
    "--rows", type=click.IntRange(1, 10_000_000), multiple=True, help="Rows of a moment and its proof; may be repeated."
)
@click.option(
    "--full", is_flag=True, help="A moment of 10,000, 100,000 and 1,000,000 rows: minutes, and 4 GB of memory."
)
@click.option(
    "--links",
    is_flag=True,
    help="Also the forecast beside the time of releases, over links of 0, 10 and 50 ms: minutes.",
)
@click.option(
    "--spu",
    type=click.Path(path_type=Path),
    metavar="PYTHON",
    help="Also SPU's adversary and comparison, by the Python of an environment in which `pip install spu` was done.",
)
@click.option(
    "--training",
    is_flag=True,
    help="Also an epoch of a run, beside a plain timm and peft loop and Hugging Face's Trainer: minutes.",
)
@click.option("--out", type=click.Path(path_type=Path, dir_okay=False), help="Also write FILE.md or FILE.json.")
@shared_options
def bench(
    parties: int,
    batch: int,
    dim: int,
    repeat: int,
    rows: tuple[int, ...],
    full: bool,
    links: bool,
    spu: Path | None,
    training: bool,
    out: Path | None,
    output: Output,
) -> None:
    """Measure rounds, bytes, milliseconds and errors of the secure operations, ours and CrypTen 0.4.1's in turns.

    Then a moment of 2,400, 20,000 and 100,000 rows (or of --rows), without and with the proof that its query keeps to
    its bound, and by CrypTen: bytes, rounds, milliseconds, and each party's memory. On as many rows also counts, the
    adversary's step and the comparison, as far as memory allows, and MPyC where it is installed. A page has a figure
    beside it.
    """
    from secure_fair.errors import UsageError

    if out is not None and (out.suffix not in (".md", ".json") or not os.access(out.parent, os.W_OK)):
        raise UsageError(f"--out {out}: name a file that ends in .md or .json, in a folder that can be written to")

    if full and rows:
        raise UsageError("--full and --rows: give one of them; --full is --rows 10000 --rows 100000 --rows 1000000")

    from secure_fair.bench.links import LATENCIES, RECORDS, measure_links
    from secure_fair.bench.measure import measure
    from secure_fair.bench.moments import FULL, SIZES, measure_moments
    from secure_fair.bench.report import BenchReport
    from secure_fair.bench.semi2k import check_spu, measure_spu
    from secure_fair.bench.sizes import measure_sizes
    from secure_fair.bench.training import measure_training

    if spu is not None:
        check_spu(spu)

    def follow(title: str) -> None:
        click.echo(f"measuring {title}", err=True)

    operations = measure(parties, batch, dim, repeat, follow)
    by_spu = []
    if spu is not None:
        follow("SPU")
        by_spu = measure_spu(spu, batch, dim, repeat)
    counts = FULL if full else rows or SIZES
    moments = measure_moments(counts, follow)
    sizes = measure_sizes(counts, follow)
    foreseen = measure_links(RECORDS, LATENCIES, follow) if links else []
    trained = measure_training(follow) if training else []
    load = os.getloadavg()[1] if hasattr(os, "getloadavg") else None
    report = BenchReport(parties, batch, dim, repeat, operations, load, moments, foreseen, sizes, by_spu, trained)
    if out is not None:
        _write(out, report)
    output.result(report.tree(), report.text())


def _write(out: Path, report: BenchReport) -> None:
    """Write a page with its figure beside it, or the numbers as JSON."""
    from secure_fair.bench.figure import moments_svg

    if out.suffix == ".json":
        out.write_text(json.dumps(report.tree(), indent=2) + "\n")
        return
    drawn = out.with_name(f"{out.stem}-moments.svg")
    drawn.write_text(moments_svg(report.moments))
    out.write_text(report.page(drawn.name))
