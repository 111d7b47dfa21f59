"""`secure-fair run`: every party on this machine, from data to report."""

from __future__ import annotations

import json
import os
import textwrap
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from secure_fair.scenarios.cli.options import Output, override_option, scenario_argument, shared_options
from secure_fair.scenarios.threads import VARIABLE

if TYPE_CHECKING:
    from secure_fair.scenarios.progress import Reporter

CHANGES = 5  # of each kind, told at the end of a run
WIDTH = 100  # columns of text


@click.command()
@scenario_argument
@override_option
@click.option("--out", type=click.Path(path_type=Path), help="Folder of the run.  [default: runs/NAME-SEED]")
@click.option(
    "--threads",
    type=click.IntRange(1, 1024),
    help="Threads of each party; results depend on it in their last digits.  [default: OMP_NUM_THREADS, else one for "
    "each core, 8 at most]",
)
@shared_options
def run(source: str, overrides: tuple[str, ...], out: Path | None, threads: int | None, output: Output) -> None:
    """Simulate SCENARIO (a file, a name of the library, or - for standard input), every party as its own process.

    Trains the methods to compare and the main one, audits them, and writes a folder with the report.
    """
    if threads is not None:
        os.environ[VARIABLE] = str(threads)  # before torch is imported

    from secure_fair.scenarios.fit import admit
    from secure_fair.scenarios.folders import run_folder
    from secure_fair.scenarios.schema import Scenario

    scenario = Scenario.load(source, overrides, output.note)
    admit((*scenario.compared, scenario))
    folder = run_folder(scenario, out)

    from secure_fair.scenarios.launch import run as launch

    followed(folder, output, lambda follow: launch(scenario, folder, follow))


def followed(folder: Path, output: Output, work: Callable[[Reporter], dict[str, Any]]) -> None:
    """Do a run's ``work`` in its folder, tell how far it is and what came out; or how it is gone on with."""
    from secure_fair.report.html import write_report
    from secure_fair.scenarios.failure import FAILED
    from secure_fair.scenarios.progress import reporter

    follow = reporter(output.format)
    try:
        summary = work(follow)
        follow.stage("report")
        write_report(folder)
    except BaseException:
        follow.close()
        if (folder / FAILED).is_file():
            output.note(f"go on with it: {json.loads((folder / FAILED).read_text())['resume']}")
        raise
    finally:
        follow.close()
    output.result(summary, result_text(summary, folder))


def result_text(summary: dict[str, Any], folder: Path) -> str:
    """The end of a run: the result in sentences, its price, and the tables."""
    from secure_fair.report import audit, sentences, tables, told

    better, worse = sentences.changes(summary)
    width = min(WIDTH, tables.terminal_width() or WIDTH)
    parts = ["", *(textwrap.fill(text, width) for text in sentences.headline(summary))]
    parts += [f"  better: {text}" for text in better[:CHANGES]] + [f"  worse:  {text}" for text in worse[:CHANGES]]
    parts += ["", tables.methods(summary).text(), ""]
    for name in tables.attributes_of(summary):
        parts += [tables.gaps(summary, name).text(), ""]
    parts += [textwrap.fill(f"({tables.GAP_LEGEND})", width), ""]
    titled = {
        "Labels, and what the past recorded in training records:": tables.past(summary),
        "Predictions of test records, by either:": tables.past_agreement(summary),
        "Other strengths, for no further epsilon (export RUN --strength S, predict likewise):": tables.path(summary),
        "Widest gaps between intersectional groups:": tables.intersections(summary),
        "Two data sets (colours in [0, 1], before the backbone's one normalisation):": tables.pictures(summary),
        "Certified of the test records (certificate.json):": audit.verdicts(audit.audit_of_run(summary)),
        "What was opened to whom:": tables.openings(summary),
        "What the releases say at most of one record, or person where they are told:": tables.privacy(summary),
    }
    for title, table in titled.items():
        if table.rows:
            parts += [title, table.text(), ""]
    if not tables.openings(summary).rows:
        parts += ["Nothing was opened to anybody.", ""]
    if asked := told.asked(summary):
        parts += [textwrap.fill(asked, width), ""]
    told_of = [*sentences.cautions(summary), *tables.warnings(summary)]
    parts += [f"warning: {text}" for text in told_of]
    parts += [f"Run folder: {folder}", f"Report:     {folder / 'report.html'}"]
    return "\n".join(parts)
