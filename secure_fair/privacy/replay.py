"""The past of a run, read back from the ledger: what its earlier processes have spent, opened or not."""

from __future__ import annotations

from collections.abc import Collection

from secure_fair.errors import UsageError
from secure_fair.privacy.budgets import RunSums
from secure_fair.privacy.entries import charge_of, is_training, members
from secure_fair.privacy.ledger import Ledger


def replay(ledger: Ledger, run: str, *, attributes: Collection[str], table: str, size: int, sums: RunSums) -> None:
    """Add to ``sums`` what the run has spent on the planned ``attributes``; ``table``, of ``size``, must be the same.

    Entries speak for themselves: what was charged counts, whether or not its operation has a rule today.
    """
    opened = {entry["number"] for entry in ledger.entries(run) if entry["kind"] == "opened"}
    for entry in ledger.entries(run):
        if entry["kind"] != "planned" or entry["attribute"] not in attributes:
            continue
        operation, attribute = entry["operation"], entry["attribute"]
        if is_training(entry):
            sums.note_training(operation, attribute, charge_of(entry))
            continue
        if entry["table"] != table:
            raise UsageError(f"run {run} was begun with another table of records; resume with the same one")
        records = members(entry, size)
        sums.note(operation, attribute, records, charge_of(entry))
        if entry["number"] in opened:
            sums.note_opened(operation, attribute, records, entry["query"])


def check_split(ledger: Ledger, run: str, training: int) -> None:
    """Check that a run that is resumed has as many training records as when it was begun."""
    for entry in ledger.entries(run):
        begun = entry.get("training", training) if entry["kind"] == "start" else training
        if begun != training:
            raise UsageError(f"run {run} was begun with {begun} training records, not {training}; resume with as many")
