"""An auditor that rewrites its own ledger, hashes and all: the developer's ledger has what was really opened."""

from __future__ import annotations

import copy
import hashlib
import json
from collections.abc import Iterator
from dataclasses import fields
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np

from secure_fair.attacks.common.attack import DEVELOPER, Attack, Context, Outcome, balanced
from secure_fair.attacks.common.auditor import isolating, opened, training_plan
from secure_fair.errors import DamagedFile
from secure_fair.files import write_bytes
from secure_fair.privacy.chain import verify
from secure_fair.privacy.comparison import compare
from secure_fair.privacy.entries import Receipt
from secure_fair.privacy.ledger import Ledger
from secure_fair.privacy.policy import Policy

NAME = "moment"
PEOPLE, RELEASES = 32, 4
LIES: dict[str, Any] = {
    "run": "another",
    "number": 99,
    "auditor": "another",
    "operation": "group_counts",
    "attribute": "another",
    "records": "0" * 64,
    "count": 31,
    "shape": [1, 1],
    "sigma": 1e6,
    "of": "another",
}
"""What each field of a receipt becomes."""

Entries = list[dict[str, Any]]


class RewrittenLedger(Attack):
    """Every field of every release changed, releases left out or added: the chain holds, the comparison does not."""

    claim = "an auditor cannot write down other releases than the developer has received"
    view = "auditor"
    needs = "its own ledger, and the program to make a chain of hashes"
    twin = "a reviewer who looks at the auditor's ledger alone"

    def run(self, context: Context) -> Outcome:
        """Each lie in a ledger of its own."""
        assert set(LIES) == {item.name for item in fields(Receipt)}
        with TemporaryDirectory(prefix="secure-fair-review-") as folder:
            honest, developer = _both(Path(folder), context)
            lies, believed, unnoticed = list(_lies(honest)), 0, 0
            for number, entries in enumerate(lies):
                ledger = Path(folder) / f"{number}"
                _write(ledger, entries)
                alone = _sound(ledger)
                believed += alone
                unnoticed += alone and not compare(developer, [one for one in entries if one.get("run") == "run"])
        return Outcome.counted(unnoticed, believed, len(lies), most=0.0)


def _both(folder: Path, context: Context) -> tuple[Entries, Entries]:
    """The entries of an honest auditor, and those of the developer."""
    plan = training_plan(NAME, context.terms, participations=RELEASES, exact=False)
    developer = Ledger(folder / "developer", DEVELOPER, simulated=True)
    with opened(folder, balanced(PEOPLE), plan, Policy()) as asked:
        for _ in range(RELEASES):
            asked.ask(NAME, np.arange(PEOPLE, dtype=np.int64), isolating(PEOPLE), context.terms.precision_bits)
        for receipt in asked.receipts:
            developer.received(receipt)
        both = list(asked.ledger.entries()), list(developer.entries("run"))
    developer.close()
    return both


def _lies(honest: Entries) -> Iterator[Entries]:
    for place, entry in enumerate(honest):
        if entry["kind"] == "planned":
            for name, value in LIES.items():
                changed = copy.deepcopy(honest)
                changed[place][name] = value
                yield changed
            yield [one for one in honest if one.get("number") != entry["number"]]
        if entry["kind"] == "opened":
            added = copy.deepcopy(entry)
            added["number"] = 99
            yield [*honest, added]


def _write(folder: Path, entries: Entries) -> None:
    """The entries in a chain of their own, with its head; the tables of record ids are left out."""
    folder.mkdir()
    lines, previous = [], "0" * 64
    for number, entry in enumerate((one for one in entries if one["kind"] != "table"), 1):
        content = {name: value for name, value in entry.items() if name != "hash"}
        content |= {"entry": number, "previous": previous}
        previous = hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()
        lines.append(json.dumps({**content, "hash": previous}, sort_keys=True) + "\n")
    write_bytes(folder / "ledger.jsonl", "".join(lines).encode())
    write_bytes(folder / "ledger.head", json.dumps({"entries": len(lines), "hash": previous}).encode())


def _sound(ledger: Path) -> bool:
    try:
        return verify(ledger).entries > 0
    except DamagedFile:
        return False


ATTACK = RewrittenLedger()
