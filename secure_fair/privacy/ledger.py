"""The ledger of releases: append-only, chained by hash, on disk before an opening; budgets are read back from it.

An entry is one JSON line with its number, the hash of the entry before it and its own. A side file holds the number
and hash of the newest entry, so that a truncated ledger is noticed too. The owner of a ledger could still rewrite it
as a whole; that is what the comparison of the two sides' ledgers is for.
"""

from __future__ import annotations

import fcntl
import hashlib
import os
from collections.abc import Iterator, Sequence
from dataclasses import asdict
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from secure_fair.errors import UsageError
from secure_fair.files import atomic_write, open_private, private_folder, write_bytes
from secure_fair.ids import Ids, Names, as_ids, lines_by_part
from secure_fair.privacy.chain import (
    ENTRIES,
    HEAD,
    TABLES,
    ChainEnd,
    entries_of,
    entry_hash,
    head_line,
    ids_of,
    line_of,
    persons_of,
    walked,
)
from secure_fair.privacy.entries import Charge, Payers, Receipt, planned_entry, table_hash
from secure_fair.privacy.memory import LOST, SEEN
from secure_fair.privacy.spending import Spending

_NOTES = ("verdict", "disclosed")  # openings beside releases, which both sides write down


class Ledger:
    """One party's ledger in a directory of its own. One process at a time may have it open."""

    def __init__(self, directory: Path, owner: str, *, simulated: bool = False) -> None:
        """Open or create. The chain is verified; entries of an interrupted run stay and count as spent.

        ``simulated`` marks a ledger whose parties all run on one machine; a ledger never changes from one to the other.
        """
        self.directory = directory
        self.owner = owner
        self.simulated = simulated
        for folder in (directory, directory / TABLES):
            private_folder(folder)
        self._descriptor = os.open(directory / ENTRIES, os.O_RDWR | os.O_CREAT | os.O_APPEND, 0o600)
        try:
            self._lock()
            end, _ = walked(directory)
            self._count, self._hash = end.entries, end.hash
            if self._count:
                self._check_identity()
            self._drop(end.torn)
            if not self._count:
                self._append({"kind": "created", "owner": owner, "simulated": simulated})
            if end.torn:
                self._append(
                    {"kind": "repaired", "torn": len(end.torn), "sha256": hashlib.sha256(end.torn).hexdigest()}
                )
            self.settled()
            self._numbers = self._last_numbers()
            self.spending = Spending(self.entries(), self.table, partial(persons_of, directory))
        except BaseException:
            os.close(self._descriptor)
            raise

    @property
    def head(self) -> str:
        """The hash of the newest entry, which fixes all before it."""
        return self._hash

    @property
    def end(self) -> ChainEnd:
        """The newest entry that is on disk for certain: a crash now takes none up to it away."""
        return self._lasting

    def settled(self) -> ChainEnd:
        """The newest entry, once it is on disk."""
        os.fsync(self._descriptor)
        self._write_head()
        self._lasting = ChainEnd(self._count, self._hash)
        return self._lasting

    def hash_of(self, number: int) -> str:
        """The hash of an entry by its number; empty where there is no such entry."""
        return next((entry["hash"] for entry in self.entries() if entry["entry"] == number), "")

    def next_number(self, run: str) -> int:
        """A new release number of a run: counting from 1, never given twice, also by a run that is resumed."""
        self._numbers[run] = self._numbers.get(run, 0) + 1
        return self._numbers[run]

    def close(self) -> None:
        """Give the ledger free for other processes; what is on disk already is not written again."""
        if self._lasting.entries != self._count:
            self.settled()
        os.close(self._descriptor)

    def enrol(self, ids: Names, persons: Names | None = None) -> str:
        """Keep a table of record ids, once, under its hash; entries refer to records by their place in it.

        ``persons``: whose each record is, "" where that is not known; UsageError where one was another's before.
        """
        records = as_ids(ids)
        if persons is not None and not (as_ids(persons) != b"").any():  # nobody's is known
            persons = None
        rows = self.spending.enrol(records, persons)
        name = self._keep(records, "ids")
        self.spending.note_table(name, rows)
        whose = {} if persons is None else {"persons": self._keep(as_ids(persons), "persons")}
        self._append({"kind": "table", "table": name, "count": len(records), **whose})
        return name

    def _keep(self, names: Ids, kind: str) -> str:
        name = table_hash(names)
        path = self.directory / TABLES / f"{name}.{kind}"
        if not path.exists():
            with atomic_write(path) as new, open_private(new, "wb") as file:
                file.writelines(lines_by_part(names))
        return name

    def start(self, run: str, **facts: Any) -> None:
        """Note that a run begins, with public facts about it (noise source, policy), and what else is written down."""
        self._append({"kind": "start", "run": run, "notes": list(_NOTES), **facts})

    def plan(
        self,
        receipt: Receipt,
        charge: Charge,
        table: str,
        records: np.ndarray,
        *,
        payers: Payers | None = None,
        query: str = "",
    ) -> None:
        """Write down a release before it is opened: when this returns, the entry is on disk and the release spent.

        ``records``: int64 indices into the table; ``payers``: where that is not each of them, once.
        """
        size = self._table_size(table)
        payers = payers or Payers(np.sort(records), np.ones(len(records), dtype=np.int64))
        self._append(
            planned_entry(receipt, charge, table=table, size=size, records=records, payers=payers, query=query)
        )
        rows, cost = self.spending.rows_of_table(table)[payers.places], charge.times(payers.times)
        self.spending.add(receipt.attribute, receipt.operation, rows, cost, training=not receipt.shape)

    def opened(self, receipt: Receipt) -> None:
        """Note that the opening went through; without this note it was interrupted, and is spent all the same."""
        self._append({"kind": "opened", "run": receipt.run, "number": receipt.number}, lasting=False)

    def refused(self, run: str, operation: str, attribute: str, reason: str) -> None:
        """Note a request that was not admitted, and why; nothing was spent."""
        self._append({"kind": "refused", "run": run, "operation": operation, "attribute": attribute, "reason": reason})

    def received(self, receipt: Receipt, newest: ChainEnd | None = None) -> None:
        """The receiver's side: write down what it was given, and how far the auditor's ledger had come before."""
        told = {} if newest is None else {"newest": [newest.entries, newest.hash]}
        self._append({"kind": "received", **asdict(receipt), **told})

    def seen(self, run: str, peer: str, certificate: str, newest: ChainEnd) -> None:
        """Remember how far a peer's ledger has come (``secure_fair.privacy.memory``)."""
        known = {"peer": peer, "certificate": certificate, "count": newest.entries, "newest": newest.hash}
        self._append({"kind": SEEN, "run": run, **known})

    def lost(self, whose: str, certificate: str, known: ChainEnd) -> None:
        """Write down that somebody's ledger is said to be lost from before entry ``known`` on, and is gone on with."""
        about = {"whose": whose, "certificate": certificate, "count": known.entries, "newest": known.hash}
        self._append({"kind": LOST, **about})

    def missed(self, run: str, auditor: str, numbers: Sequence[int]) -> None:
        """The receiver's side: an auditor has let out releases that never came here, or to a process that died."""
        self._append({"kind": "missed", "run": run, "auditor": auditor, "numbers": list(numbers)})

    def verdict(
        self, run: str, number: int, receiver: str, operation: str, attribute: str, within: bool | None
    ) -> None:
        """Both sides: an auditor, ``receiver``, learned whether the developer's rows are within their bound.

        ``number``: of the release that they are for. ``within`` is None at a developer that was not told.
        """
        about = {"number": number, "receiver": receiver, "operation": operation, "attribute": attribute}
        self._append({"kind": "verdict", "run": run, **about, "within": within})

    def disclosed(self, run: str, receiver: str, what: str, numbers: int) -> None:
        """Both sides: something of the developer's own that an auditor, ``receiver``, was given."""
        self._append({"kind": "disclosed", "run": run, "receiver": receiver, "what": what, "numbers": numbers})

    def entries(self, run: str | None = None) -> Iterator[dict[str, Any]]:
        """The entries in order, of one run where it is given."""
        return (entry for entry in entries_of(self.directory) if run is None or entry.get("run") == run)

    def table(self, name: str) -> Ids:
        """The ids of an enrolled table."""
        return ids_of(self.directory, name)

    def extract(self, run: str, path: Path) -> None:
        """Copy one run's entries to a file for the run's folder; ``read_extract`` reads it."""
        kept = list(self.entries(run))
        header = {"kind": "extract", "owner": self.owner, "run": run, "simulated": self.simulated, "entries": len(kept)}
        write_bytes(path, b"".join(map(line_of, [header, *kept])))

    def _append(self, content: dict[str, Any], *, lasting: bool = True) -> None:
        """Add an entry; a ``lasting`` one is on disk, and so is the head, when this returns."""
        time = datetime.now(UTC).isoformat(timespec="milliseconds")
        entry = {"entry": self._count + 1, "time": time, "previous": self._hash, **content}
        entry["hash"] = entry_hash(entry)
        try:
            self._write(line_of(entry))
            self._count, self._hash = entry["entry"], entry["hash"]
            if lasting:
                self.settled()
        except OSError as error:
            raise UsageError(
                f"{self.directory}: the ledger cannot be written ({error.strerror}), so nothing is opened; make room "
                "for it, and start again: what is written down by then stays spent"
            ) from error

    def _write(self, line: bytes) -> None:
        """Add a line, or nothing of it."""
        size = os.fstat(self._descriptor).st_size
        try:
            _write_all(self._descriptor, line)
        except OSError:
            os.ftruncate(self._descriptor, size)
            raise

    def _write_head(self) -> None:
        write_bytes(self.directory / HEAD, head_line(self._count, self._hash))

    def _lock(self) -> None:
        try:
            fcntl.flock(self._descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise UsageError(
                f"{self.directory}: another process has this ledger open; wait for it, or stop it"
            ) from None

    def _last_numbers(self) -> dict[str, int]:
        """The last release number of each run."""
        numbers: dict[str, int] = {}
        for entry in self.entries():
            if entry["kind"] in ("planned", "verdict"):
                numbers[entry["run"]] = max(numbers.get(entry["run"], 0), entry["number"])
        return numbers

    def _drop(self, torn: bytes) -> None:
        """Cut off a last line without its end: its write never returned, so nothing was opened under it."""
        if torn:
            os.ftruncate(self._descriptor, os.fstat(self._descriptor).st_size - len(torn))
            os.fsync(self._descriptor)

    def _check_identity(self) -> None:
        first = next(self.entries())
        for key, given in (("owner", self.owner), ("simulated", self.simulated)):
            if first.get(key) != given:
                raise UsageError(
                    f"{self.directory}: this ledger was created with {key} = {first.get(key)!r}, not {given!r}; "
                    "name another state directory"
                )

    def _table_size(self, name: str) -> int:
        return len(self.spending.rows_of_table(name))


def repair(directory: Path) -> int:
    """Cut off a torn last line and write that down; the number of its bytes. DamagedFile where anything else is wrong.

    A ledger whose very first line is torn has nobody's name: it holds nothing, and its party begins it again.
    """
    torn = len(walked(directory)[0].torn)
    first = next(entries_of(directory), None)
    if torn and first is None:
        raise UsageError(f"{directory}: has no whole entry; begin it again with --new-state")
    if torn and first is not None:
        Ledger(directory, first["owner"], simulated=first["simulated"]).close()
    return torn


def _write_all(descriptor: int, content: bytes) -> None:
    while content:
        content = content[os.write(descriptor, content) :]
