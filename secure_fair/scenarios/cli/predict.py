"""`secure-fair predict`: a finished model, applied to the user's own pictures or rows."""

from __future__ import annotations

from pathlib import Path

import click

from secure_fair.scenarios.cli.options import Output, shared_options

run_argument = click.argument("run", metavar="RUN", type=click.Path(path_type=Path))
weights_option = click.option(
    "--weights",
    type=click.Path(path_type=Path, exists=True, dir_okay=False),
    help="Where the backbone's file is now, if it was moved. Others than the run's are refused.",
)
strength_option = click.option(
    "--strength",
    type=float,
    metavar="S",
    help="Another strength of the run's path (posthoc), for no further release.  [default: the run's own]",
)


@click.command()
@run_argument
@click.argument("places", metavar="PICTURES...", nargs=-1, required=True, type=click.Path(path_type=Path))
@click.option("--output", "file", type=click.Path(path_type=Path), help="CSV to write.  [default: standard output]")
@click.option("--path-column", help="Column of a CSV that names the pictures.  [default: path]")
@click.option("--id-column", help="Column by which the rows of a table are called.  [default: file and line]")
@weights_option
@strength_option
@shared_options
def predict(
    run: Path,
    places: tuple[Path, ...],
    file: Path | None,
    path_column: str | None,
    id_column: str | None,
    weights: Path | None,
    strength: float | None,
    output: Output,
) -> None:
    """Predict PICTURES by the model of RUN, a run's folder: files, folders, or a CSV with their paths.

    Writes CSV: each picture under the name that it was given by, the name of its class, and the probability of each
    class. A picture that is broken is named, and nothing is predicted. A model of a table takes one CSV with the
    columns of its features. RUN/compare/METHOD is a run's folder too.
    """
    import io

    from secure_fair.errors import UsageError
    from secure_fair.scenarios.finished import load_model
    from secure_fair.scenarios.finished import predict as predictions_of
    from secure_fair.scenarios.progress import reporter

    if file is not None and file.exists():
        raise UsageError(f"--output {file}: exists already; name another file, or remove it")
    if file is not None and not file.parent.is_dir():
        raise UsageError(f"--output {file}: {file.parent} is no folder; make it first")
    follow = reporter(output.format)
    try:
        model = load_model(run, weights, strength)
        found = predictions_of(model, places, follow, path_column=path_column, id_column=id_column)
    finally:
        follow.close()
    table = io.StringIO()
    found.write(table)
    if file is None:
        output.result(found.rows(), table.getvalue().rstrip("\n"))
        return
    try:
        file.write_text(table.getvalue(), encoding="utf-8")
    except OSError as error:
        raise UsageError(f"--output {file}: cannot be written: {error.strerror}") from error
    output.result({"file": str(file), "records": len(found)}, f"{file}: {len(found)} predictions")
