"""`secure-fair ledger`: checking the record of everything that was opened."""

from __future__ import annotations

from pathlib import Path

import click

from scenarios.cli.options import Output, shared_options


@click.group()
def ledger() -> None:
    """Check ledgers of releases."""


@ledger.command()
@click.argument("file", type=click.Path(path_type=Path, exists=True, dir_okay=False))
@shared_options
def verify(file: Path, output: Output) -> None:
    """Check the chain of hashes of a ledger FILE: exit code 4 where an entry was altered, removed or reordered."""
    from secure_fair.privacy.ledger import verify as verify_chain

    entries = verify_chain(file)
    output.result({"intact": True, "entries": entries}, f"{file}: intact, {entries} entries")
