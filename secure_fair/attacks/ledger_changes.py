"""Changes to a ledger: bytes flipped, lines cut off, taken out, swapped or rewritten, and a state from before."""

from __future__ import annotations

import hashlib
import json
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np

from secure_fair.attacks.common.attack import DEVELOPER, Attack, Context, Outcome, balanced
from secure_fair.attacks.common.auditor import isolating, opened, training_plan
from secure_fair.errors import DamagedFile
from secure_fair.privacy.chain import verify
from secure_fair.privacy.comparison import compare
from secure_fair.privacy.entries import malformed
from secure_fair.privacy.ledger import Ledger
from secure_fair.privacy.policy import Policy

NAME = "moment"
PEOPLE = 32
RELEASES = 4
FLIPS = 100
ENTRIES = "ledger.jsonl"


class LedgerChanges(Attack):
    """The chain of hashes tells of all changes but one, a state from before; that the other side's ledger tells."""

    claim = "no change to an auditor's ledger goes unnoticed by it and by the developer's ledger"
    view = "outsider"
    needs = "write access to the auditor's state folder"
    twin = "a ledger without hashes: lines that are read one by one"

    def run(self, context: Context) -> Outcome:
        """Make every change to a copy of a ledger, and see who notices."""
        with TemporaryDirectory(prefix="secure-fair-review-") as folder:
            earlier, state, developer = _filled(Path(folder), context)
            copies, unnoticed, readable = Path(folder) / "copy", 0, 0
            changes = [lambda: shutil.copytree(earlier, copies), *self._changes(state, copies, context)]
            for change in changes:
                shutil.rmtree(copies, ignore_errors=True)
                change()
                unnoticed += not _noticed(copies, developer)
                readable += _reads(copies)
        return Outcome.counted(unnoticed, readable, len(changes), most=0.0)

    def _changes(self, state: Path, copy: Path, context: Context) -> Iterator[Callable[[], None]]:
        """Everything that is done to the lines, each to a copy of its own."""
        content = (state / ENTRIES).read_bytes()
        lines, generator = content.splitlines(keepends=True), context.generator("ledger_changes")

        def write(changed: bytes) -> Callable[[], None]:
            def change() -> None:
                shutil.copytree(state, copy)
                (copy / ENTRIES).write_bytes(changed)

            return change

        for place in generator.integers(0, len(content), FLIPS):
            flipped = bytearray(content)
            flipped[place] ^= int(generator.integers(1, 256))
            yield write(bytes(flipped))
        for number in range(len(lines)):
            yield write(b"".join(lines[:number]))
            yield write(b"".join([*lines[:number], *lines[number + 1 :]]))
            yield write(b"".join([*lines[:number], _rewritten(lines[number]), *lines[number + 1 :]]))
        for number in range(len(lines) - 1):
            yield write(b"".join([*lines[:number], lines[number + 1], lines[number], *lines[number + 2 :]]))


def _filled(folder: Path, context: Context) -> tuple[Path, Path, list[dict[str, object]]]:
    """An auditor's ledger after one release and after all of them, and the developer's entries."""
    state, earlier = folder / "state", folder / "earlier"
    plan = training_plan(NAME, context.terms, participations=RELEASES, exact=False)
    everybody = np.arange(PEOPLE, dtype=np.int64)
    developer = Ledger(folder / "developer", DEVELOPER, simulated=True)
    with opened(state, balanced(PEOPLE), plan, Policy()) as asked:
        for number in range(RELEASES):
            asked.ask(NAME, everybody, isolating(PEOPLE), context.terms.precision_bits)
            if number == 0:
                shutil.copytree(state / "ledger", earlier)
        for receipt in asked.receipts:
            developer.received(receipt)
    entries = list(developer.entries("run"))
    developer.close()
    return earlier, state / "ledger", entries


def _noticed(ledger: Path, developer: list[dict[str, object]]) -> bool:
    try:
        verify(ledger)
    except DamagedFile:
        return True
    entries = [json.loads(line) for line in (ledger / ENTRIES).read_bytes().splitlines()]
    about = [entry for entry in entries if entry.get("run") == "run"]
    return any(map(malformed, about)) or bool(compare(developer, about))


def _reads(ledger: Path) -> bool:
    """Whether somebody who reads line by line finds nothing wrong."""
    try:
        return all(isinstance(json.loads(line), dict) for line in (ledger / ENTRIES).read_bytes().splitlines())
    except ValueError:
        return False


def _rewritten(line: bytes) -> bytes:
    """The entry with less said, under a hash that fits it."""
    entry = {**json.loads(line), "time": "1970-01-01T00:00:00.000+00:00"}
    del entry["hash"]
    entry["hash"] = hashlib.sha256(json.dumps(entry, sort_keys=True).encode()).hexdigest()
    return (json.dumps(entry, sort_keys=True) + "\n").encode()


ATTACK = LedgerChanges()
