"""`secure-fair export`: a finished model as a folder for use elsewhere."""

from __future__ import annotations

from pathlib import Path

import click

from secure_fair.scenarios.cli.options import Output, shared_options
from secure_fair.scenarios.cli.predict import run_argument, strength_option, weights_option


@click.command()
@run_argument
@click.argument("out", metavar="[DIR]", required=False, type=click.Path(path_type=Path))
@click.option("--merged", is_flag=True, help="Backbone, adapter and head in one file too: a plain timm model.")
@click.option("--onnx", is_flag=True, help="An ONNX file too. Needs: pip install 'secure-fair[onnx]'.")
@click.option(
    "--copy-weights/--no-copy-weights",
    "copied",
    default=None,
    help="Put the backbone's weights into DIR, or their file's name and SHA-256 alone.  [default: copy up to 64 MB]",
)
@weights_option
@strength_option
@click.option(
    "--scenario",
    type=click.Path(path_type=Path, exists=True, dir_okay=False),
    help="The agreed scenario, for the card, where RUN is what a developer wrote with --out.",
)
@shared_options
def export(
    run: Path,
    out: Path | None,
    merged: bool,
    onnx: bool,
    copied: bool | None,
    weights: Path | None,
    strength: float | None,
    scenario: Path | None,
    output: Output,
) -> None:
    """Write the model of RUN, a run's folder, into DIR (RUN/export by default), for use without this program.

    Adapter (PEFT), head, classes, preprocessing, the backbone's weights or their SHA-256, a card (README.md), and
    load.py, which predicts pictures with torch, timm and peft alone. What was written is loaded and compared with the
    run's model first. The card has what the developer may know: released figures, never the experimenter's exact rates.
    With --strength DIR is RUN/export-S by default.
    """
    from secure_fair.scenarios.export import ExportParts
    from secure_fair.scenarios.export import export as write
    from secure_fair.scenarios.progress import reporter

    folder = out or run / ("export" if strength is None else f"export-{strength:g}")
    follow = reporter(output.format)
    try:
        wanted = ExportParts(merged, onnx, copied, strength)
        written = write(run, folder, wanted, follow, weights=weights, scenario=scenario)
    finally:
        follow.close()
    output.result({"folder": str(folder), "files": written}, "\n".join([*written, "", f"Export: {folder}"]))
