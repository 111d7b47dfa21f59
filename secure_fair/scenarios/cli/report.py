"""`secure-fair report`: making the report of a finished run again, and several runs side by side."""

from __future__ import annotations

from pathlib import Path

import click

from secure_fair.scenarios.cli.options import Output, shared_options


@click.command()
@click.argument(
    "folders",
    metavar="RUN...",
    nargs=-1,
    required=True,
    type=click.Path(path_type=Path, exists=True, file_okay=False),
)
@click.option("--out", type=click.Path(path_type=Path, dir_okay=False), help="Page of several.  [default: index.html]")
@click.option(
    "--tensorboard",
    "board",
    metavar="DIR",
    type=click.Path(path_type=Path),
    help="Write training curves for TensorBoard instead, of one RUN: what its developer may know, and no exact rates.",
)
@shared_options
def report(folders: tuple[Path, ...], out: Path | None, board: Path | None, output: Output) -> None:
    """Write report.html of a RUN folder again from its summary.json.

    Of several, or of a folder of runs, write a page that has them side by side, with links to their reports.
    With --tensorboard RUN may also be what a developer between machines wrote with --out.
    """
    from secure_fair.errors import UsageError
    from secure_fair.report.board import write_board
    from secure_fair.report.html import SUMMARY, write_report
    from secure_fair.report.index import INDEX, runs_below, side_by_side, write_index

    if board is not None:
        if len(folders) > 1 or out is not None:
            raise UsageError(f"--tensorboard {board}: takes one RUN, and no --out; call it once for each run")
        found = [str(folder) for folder in write_board(folders[0], board)]
        output.result({"tensorboard": found}, "\n".join([*found, "", f"to see them: tensorboard --logdir {board}"]))
        return
    if len(folders) == 1 and out is None and (folders[0] / SUMMARY).is_file():
        written = write_report(folders[0])
        output.result({"report": str(written)}, str(written))
        return
    runs = runs_below(folders)
    if not runs:
        raise UsageError(f"{', '.join(map(str, folders))}: no finished run in it or right below ({SUMMARY})")
    if out is not None and not out.parent.is_dir():
        raise UsageError(f"--out {out}: {out.parent} is no folder; make it first")
    page = out or (folders[0] / INDEX if len(folders) == 1 else Path(INDEX))
    write_index(runs, page)
    tables = side_by_side(runs)
    text = "\n\n".join([*(f"{task}\n{table.text()}" for task, table in tables.items()), str(page)])
    output.result({"index": str(page), "runs": {task: table.tree() for task, table in tables.items()}}, text)
