"""`secure-fair deploy`: the files with which several companies run a scenario between their machines."""

from __future__ import annotations

from pathlib import Path

import click

from secure_fair.scenarios.cli.options import Output, override_option, shared_options


@click.group()
def deploy() -> None:
    """Get a deployment between machines ready."""


@deploy.command()
@click.argument("folder", metavar="DIR", type=click.Path(path_type=Path))
@click.option("--scenario", "source", required=True, metavar="SCENARIO", help="File, or name in the library.")
@override_option
@click.option(
    "--party", "parties", multiple=True, metavar="NAME=HOST:PORT", help="Where the others reach a party. For each one."
)
@click.option("--relay", metavar="HOST:PORT", help="In place of --party: where a relay will be, if they only dial out.")
@click.option("--authority", metavar="NAME", help="Which party signs the names.  [default: developer]")
@shared_options
def init(
    folder: Path,
    source: str,
    overrides: tuple[str, ...],
    parties: tuple[str, ...],
    relay: str | None,
    authority: str | None,
    output: Output,
) -> None:
    """Write DIR/NAME for each party, to be handed to it: its README.md has every command in order.

    \b
      secure-fair deploy init kit --scenario s.toml --party developer=dev.example.org:7700 \\
                 --party auditor=clinic.example.org:7700 --party dealer=dealer.example.org:7700

    With the scenario, whose files are below `own` at their party, a policy to edit for each auditor, run.sh, and files
    for containers and systemd. There is nothing secret in it.
    """
    from secure_fair.scenarios.kit.files import deployment, write_kit
    from secure_fair.scenarios.schema import Scenario

    kit = deployment(Scenario.load(source, overrides, output.note), parties, authority, relay)
    if kit.scenario.privacy is None:
        output.note("the scenario has no [privacy]: releases are exact, which no auditor's policy allows by default")
    written = write_kit(kit, folder)
    lines = [f"{name}: {place}" for name, place in written.items()]
    lines.append("hand each folder to its party; README.md in it has every command in order")
    output.result({name: str(place) for name, place in written.items()}, "\n".join(lines))
