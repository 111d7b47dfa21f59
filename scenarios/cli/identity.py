"""`secure-fair identity`: the certificate authority and the parties' certificates."""

from __future__ import annotations

from pathlib import Path

import click

from scenarios.cli.options import Output, shared_options

folder_argument = click.argument("folder", type=click.Path(path_type=Path))


@click.group()
def identity() -> None:
    """Make and inspect the certificates by which parties know each other."""


@identity.command()
@folder_argument
@shared_options
def init(folder: Path, output: Output) -> None:
    """Make a certificate authority in FOLDER. Whoever holds it decides who takes part."""
    from parties.identity import create_authority

    made = create_authority(folder)
    output.result({"authority": str(made)}, f"certificate authority in {made}: keep its key to yourself")


@identity.command()
@folder_argument
@click.argument("name")
@click.option("--days", type=click.IntRange(1, 3650), default=365, show_default=True, help="Validity.")
@shared_options
def issue(folder: Path, name: str, days: int, output: Output) -> None:
    """Issue a certificate to the party NAME under the authority in FOLDER."""
    from parties.identity import issue as issue_certificate

    made = issue_certificate(folder, name, days)
    output.result({"name": name, "folder": str(made)}, f"identity of {name} in {made}: hand that folder to it alone")


@identity.command()
@folder_argument
@shared_options
def show(folder: Path, output: Output) -> None:
    """Describe the certificate in FOLDER: name, issuer, validity, fingerprint. Never its key."""
    from parties.identity import describe

    described = describe(folder)
    tree = {
        "name": described.name,
        "issuer": described.issuer,
        "valid_from": described.valid_from.isoformat(),
        "valid_until": described.valid_until.isoformat(),
        "fingerprint": described.fingerprint,
        "problems": list(described.problems),
    }
    lines = [f"{key}: {value}" for key, value in tree.items() if key != "problems"]
    output.result(tree, "\n".join(lines + [f"problem: {problem}" for problem in described.problems]))
