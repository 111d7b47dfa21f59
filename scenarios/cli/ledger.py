"""`secure-fair ledger`: checking the record of everything that was opened."""

from __future__ import annotations

from pathlib import Path

import click

from scenarios.cli.options import Output, shared_options


@click.group()
def ledger() -> None:
    """Check ledgers of releases."""


@ledger.command()
@click.argument("folder", metavar="LEDGER", type=click.Path(path_type=Path, exists=True, file_okay=False))
@shared_options
def verify(folder: Path, output: Output) -> None:
    """Check a LEDGER folder from end to end: exit code 4 where an entry was changed, removed, moved or cut off."""
    from secure_fair.privacy.ledger import verify as verify_chain

    entries = verify_chain(folder)
    output.result({"intact": True, "entries": entries}, f"{folder}: intact, {entries} entries")
