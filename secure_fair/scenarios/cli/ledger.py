"""`secure-fair ledger`: checking the record of everything that was opened."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from secure_fair.scenarios.cli.options import Output, shared_options


@click.group()
def ledger() -> None:
    """See and check ledgers of releases."""


@ledger.command()
@click.argument("state", metavar="STATE", type=click.Path(path_type=Path, exists=True, file_okay=False))
@click.option("--policy", type=click.Path(path_type=Path), help="The auditor's policy: what is left under it.")
@shared_options
def status(state: Path, policy: Path | None, output: Output) -> None:
    """Say what people have spent for life, what is left, which runs there were and what was opened.

    STATE is the --state folder of an auditor or a developer; nothing in it is changed, and its party may be running.
    A developer's ledger has digests of sets of records alone: what it was told is given as the epsilon of somebody who
    was in every release.
    """
    from secure_fair.operations import RULES
    from secure_fair.privacy.standing import standing
    from secure_fair.report.standing import standing_text
    from secure_fair.scenarios.policies import load

    found = standing(_ledger_in(state), RULES, load(policy) if policy is not None else None)
    output.result(found.facts(), standing_text(found))


@ledger.command()
@click.argument("folder", metavar="LEDGER", type=click.Path(path_type=Path, exists=True))
@click.argument(
    "other", metavar="[OTHER]", required=False, type=click.Path(path_type=Path, exists=True, dir_okay=False)
)
@shared_options
def verify(folder: Path, other: Path | None, output: Output) -> None:
    """Check a LEDGER folder from end to end: exit code 4 where an entry was changed, removed, moved or cut off.

    Its entries are counted again, too: every release has a run, records and a charge that its noise costs, and nobody
    has spent more than the policies allowed. A torn last line, which a power cut or a full disk leaves, is no change
    and is named: `ledger repair` removes it.

    Whoever can rewrite an entry and all that follows, the head included, is not found by this: the other side's extract
    has what it has received. With two extracts of one run (RUN/developer/ledger.jsonl and
    RUN/auditor-NAME/ledger.jsonl): check both, and that they agree.
    """
    from secure_fair.errors import ProtocolError, UsageError
    from secure_fair.operations import RULES
    from secure_fair.privacy.chain import ChainEnd, read_extract
    from secure_fair.privacy.chain import verify as verify_chain
    from secure_fair.privacy.comparison import compare, entries_about, missed
    from secure_fair.privacy.soundness import unsound

    folder = _ledger_in(folder) if folder.is_dir() else folder
    if other is None:
        end = ChainEnd(len(read_extract(folder)), "") if folder.is_file() else verify_chain(folder)
        problems = unsound(folder, RULES) if folder.is_dir() else []
        if problems:
            raise ProtocolError(f"{folder}: the chain holds, and its entries do not add up: " + "; ".join(problems))
        text = f"{folder}: intact, {end.entries} entries"
        if end.torn:
            text += f", and a torn line of {len(end.torn)} bytes behind them (`secure-fair ledger repair {folder}`)"
        output.result({"intact": True, "entries": end.entries, "torn": len(end.torn)}, text)
        return
    if folder.is_dir():
        raise UsageError(f"{folder}: to compare, name the two extracts of one run, files ending in ledger.jsonl")
    sides = {side: read_extract(file) for side, file in (("first", folder), ("second", other))}
    developers = next((entries for entries in sides.values() if not _is_auditors(entries)), None)
    auditors = next((entries for entries in sides.values() if _is_auditors(entries)), None)
    if developers is None or auditors is None:
        raise UsageError(f"{folder}, {other}: one must be the developer's extract, the other an auditor's")
    name = next(str(entry["auditor"]) for entry in auditors if _names_its_auditor(entry))
    about = entries_about(developers, name)
    differences = compare(about, auditors)
    if differences:
        raise ProtocolError("the ledgers differ: " + "; ".join(differences))
    releases, lost = sum(entry["kind"] == "received" for entry in about), missed(about)
    text = f"the ledgers agree: {releases} releases of {name}'s"
    if lost:
        text += f", and {lost} that the developer says it missed when a process had died: count them as told"
    output.result({"agree": True, "releases": releases, "missed": lost}, text)


@ledger.command()
@click.argument("state", metavar="STATE", type=click.Path(path_type=Path, exists=True, file_okay=False))
@shared_options
def repair(state: Path, output: Output) -> None:
    """Remove the torn last line of the ledger in STATE, and write down that it was there.

    Its write was cut short, so that nothing was opened under it; the next run would do the same. All else that is wrong
    with a ledger is damage, and is not repaired: exit code 4.
    """
    from secure_fair.privacy.ledger import repair as repair_ledger

    folder = _ledger_in(state)
    torn = repair_ledger(folder)
    done = f"a torn line of {torn} bytes was removed, and a line says so" if torn else "nothing to repair"
    output.result({"torn": torn}, f"{folder}: {done}")


def _is_auditors(entries: list[dict[str, Any]]) -> bool:
    return any(map(_names_its_auditor, entries))


def _names_its_auditor(entry: dict[str, Any]) -> bool:
    return entry["kind"] == "start" and "auditor" in entry


def _ledger_in(folder: Path) -> Path:
    """The folder of the ledger in a state folder, which may be named itself; UsageError where there is none."""
    from secure_fair.errors import UsageError

    for place in (folder, folder / "ledger"):
        if (place / "ledger.jsonl").is_file():
            return place
    raise UsageError(f"{folder}: holds no ledger (ledger.jsonl); name a party's state folder, or an extract")
