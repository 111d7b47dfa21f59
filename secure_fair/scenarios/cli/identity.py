"""`secure-fair identity`: the parties' keys, the authority that signs, and what the parties agree on."""

from __future__ import annotations

from pathlib import Path

import click

from secure_fair.scenarios.cli.options import Output, shared_options

folder_argument = click.argument("folder", type=click.Path(path_type=Path))
existing = click.Path(path_type=Path, exists=True)
existing_file = click.Path(path_type=Path, exists=True, dir_okay=False)


@click.group()
def identity() -> None:
    """Make and inspect the certificates by which parties know each other."""


@identity.command()
@folder_argument
@shared_options
def init(folder: Path, output: Output) -> None:
    """Make a certificate authority in FOLDER. It signs names; it never has a party's key."""
    from secure_fair.parties.identity import create_authority

    made = create_authority(folder)
    output.result({"authority": str(made)}, f"certificate authority in {made}: keep its key to yourself")


@identity.command()
@folder_argument
@click.argument("name")
@shared_options
def request(folder: Path, name: str, output: Output) -> None:
    """Make this party's key in FOLDER/NAME, and a request for a certificate. The key stays on this machine."""
    from secure_fair.parties.identity import REQUEST_FILE
    from secure_fair.parties.identity import request as make_request

    made = make_request(folder, name)
    tree = {"name": name, "folder": str(made), "request": str(made / REQUEST_FILE)}
    output.result(tree, f"key of {name} in {made}: send {made / REQUEST_FILE} to the authority, and nothing else")


@identity.command()
@folder_argument
@click.argument("name")
@click.argument("request", type=existing_file)
@click.option("--days", type=click.IntRange(1, 3650), default=365, show_default=True, help="Validity.")
@click.option("--again", is_flag=True, help="Replace the certificate of a name that is signed already.")
@shared_options
def sign(folder: Path, name: str, request: Path, days: int, again: bool, output: Output) -> None:
    """Sign REQUEST as the party NAME's with the authority in FOLDER, having made sure who sent it."""
    from secure_fair.parties.identity import describe_shown
    from secure_fair.parties.identity import sign as sign_request

    made = sign_request(folder, name, request, days, again=again)
    tree = {"name": name, "signed": str(made), "fingerprint": describe_shown(made).fingerprint}
    output.result(tree, f"certificate of {name} in {made}, fingerprint {tree['fingerprint']}: send it to {name}")


@identity.command()
@folder_argument
@click.argument("signed", type=existing_file)
@shared_options
def accept(folder: Path, signed: Path, output: Output) -> None:
    """Put what the authority has SIGNED beside this party's key in FOLDER, if it belongs there."""
    from secure_fair.parties.identity import accept as accept_signed

    described = accept_signed(folder, signed)
    tree = {"name": described.name, "folder": str(folder), "fingerprint": described.fingerprint}
    output.result(
        tree, f"{folder} is ready: tell the other parties that {described.name} has fingerprint {described.fingerprint}"
    )


@identity.command()
@click.argument("shown", nargs=-1, required=True, metavar="CERTIFICATE...", type=existing)
@click.option("--out", type=click.Path(path_type=Path, dir_okay=False), required=True, help="The file for all parties.")
@shared_options
def agree(shown: tuple[Path, ...], out: Path, output: Output) -> None:
    """Write down the fingerprint of every party's CERTIFICATE (file, or folder), for `secure-fair party --parties`."""
    from secure_fair.parties.roster import Roster

    roster = Roster.collect(shown)
    roster.write(out)
    lines = [f"{fingerprint}  {name}" for name, fingerprint in roster.fingerprints.items()]
    lines.append(f"written to {out}, which all parties need: each compares every line with what that party itself says")
    output.result({"file": str(out), "digest": roster.digest, "parties": dict(roster.fingerprints)}, "\n".join(lines))


@identity.command()
@folder_argument
@shared_options
def show(folder: Path, output: Output) -> None:
    """Describe the certificate in FOLDER: name, issuer, validity, fingerprint. Never its key."""
    from secure_fair.parties.identity import describe

    described = describe(folder)
    tree = {
        "name": described.name,
        "issuer": described.issuer,
        "valid_from": described.valid_from.isoformat(),
        "valid_until": described.valid_until.isoformat(),
        "fingerprint": described.fingerprint,
        "simulated": described.simulated,
        "problems": list(described.problems),
    }
    lines = [f"{key}: {value}" for key, value in tree.items() if key != "problems"]
    output.result(tree, "\n".join(lines + [f"problem: {problem}" for problem in described.problems]))
