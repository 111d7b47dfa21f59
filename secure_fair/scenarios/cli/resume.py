"""`secure-fair resume`: go on with a simulated run that has failed."""

from __future__ import annotations

from pathlib import Path

import click

from secure_fair.scenarios.cli.options import Output, shared_options


@click.command()
@click.argument("run", type=click.Path(path_type=Path, exists=True, file_okay=False))
@shared_options
def resume(run: Path, output: Output) -> None:
    """Go on with the RUN (its folder) that has failed or was interrupted, from the last whole epoch of all parties.

    The result is that of a run that was never interrupted. What was released stays spent and is not asked for again;
    a release that was under way may be paid for a second time, from privacy.reserve_releases. Parties of a deployment
    go on with `secure-fair party ... --resume`, each where it is.
    """
    from secure_fair.scenarios.cli.run import followed
    from secure_fair.scenarios.launch import resume as go_on

    followed(run, output, lambda follow: go_on(run, follow))
