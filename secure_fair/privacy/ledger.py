"""The ledger of releases: append-only, chained by hash, on disk before an opening; budgets are read back from it.

An entry is one JSON line with its number, the hash of the entry before it and its own. A side file holds the number
and hash of the newest entry, so that a truncated ledger is noticed too. The owner of a ledger could still rewrite it
as a whole; that is what the comparison of the two sides' ledgers is for.
"""

from __future__ import annotations

import fcntl
import hashlib
import json
import os
from collections.abc import Iterator, Sequence
from dataclasses import asdict, fields
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np

from secure_fair.errors import DamagedFile, UsageError
from secure_fair.files import private_folder, write_bytes
from secure_fair.ids import Ids, Names, as_ids, lines, of_lines
from secure_fair.privacy.entries import Charge, Payers, Receipt, opens_nothing, planned_entry, table_hash
from secure_fair.privacy.spending import Spending

_GENESIS = "0" * 64
_ENTRIES = "ledger.jsonl"
_HEAD = "ledger.head"
_TABLES = "tables"
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
        for folder in (directory, directory / _TABLES):
            private_folder(folder)
        self._descriptor = os.open(directory / _ENTRIES, os.O_RDWR | os.O_CREAT | os.O_APPEND, 0o600)
        try:
            self._lock()
            self._drop_torn_line()
            self._count, self._hash = _verified_end(directory)
            if self._count:
                self._check_identity()
            else:
                self._append({"kind": "created", "owner": owner, "simulated": simulated})
            self._write_head()
            self._numbers = self._last_numbers()
            self.spending = Spending(self.entries(), self.table, self._persons)
        except BaseException:
            os.close(self._descriptor)
            raise

    @property
    def head(self) -> str:
        """The hash of the newest entry, which fixes all before it."""
        return self._hash

    def next_number(self, run: str) -> int:
        """A new release number of a run: counting from 1, never given twice, also by a run that is resumed."""
        self._numbers[run] = self._numbers.get(run, 0) + 1
        return self._numbers[run]

    def close(self) -> None:
        """Give the ledger free for other processes."""
        os.fsync(self._descriptor)
        self._write_head()
        os.close(self._descriptor)

    def enrol(self, ids: Names, persons: Names | None = None) -> str:
        """Keep a table of record ids, once, under its hash; entries refer to records by their place in it.

        ``persons``: whose each record is, "" where that is not known; UsageError where one was another's before.
        """
        records = as_ids(ids)
        rows = self.spending.enrol(records, persons)
        name = self._keep(records, "ids")
        self.spending.note_table(name, rows)
        whose = {} if persons is None else {"persons": self._keep(as_ids(persons), "persons")}
        self._append({"kind": "table", "table": name, "count": len(records), **whose})
        return name

    def _keep(self, names: Ids, kind: str) -> str:
        name = table_hash(names)
        path = self.directory / _TABLES / f"{name}.{kind}"
        if not path.exists():
            write_bytes(path, lines(names))
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
        training = opens_nothing(receipt.shape)
        self.spending.add(receipt.attribute, receipt.operation, rows, cost, training=training)

    def opened(self, receipt: Receipt) -> None:
        """Note that the opening went through; without this note it was interrupted, and is spent all the same."""
        self._append({"kind": "opened", "run": receipt.run, "number": receipt.number}, lasting=False)

    def refused(self, run: str, operation: str, attribute: str, reason: str) -> None:
        """Note a request that was not admitted, and why; nothing was spent."""
        self._append({"kind": "refused", "run": run, "operation": operation, "attribute": attribute, "reason": reason})

    def received(self, receipt: Receipt) -> None:
        """The receiver's side: write down what it was given."""
        self._append({"kind": "received", **asdict(receipt)})

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
        return (entry for entry in _lines(self.directory / _ENTRIES) if run is None or entry.get("run") == run)

    def table(self, name: str) -> Ids:
        """The ids of an enrolled table."""
        return _names(self.directory, f"{name}.ids")

    def _persons(self, name: str) -> Ids:
        return _names(self.directory, f"{name}.persons")

    def extract(self, run: str, path: Path) -> None:
        """Copy one run's entries to a file for the run's folder; ``read_extract`` reads it."""
        kept = list(self.entries(run))
        header = {"kind": "extract", "owner": self.owner, "run": run, "simulated": self.simulated, "entries": len(kept)}
        write_bytes(path, b"".join(map(_line, [header, *kept])))

    def _append(self, content: dict[str, Any], *, lasting: bool = True) -> None:
        """Add an entry; a ``lasting`` one is on disk, and so is the head, when this returns."""
        time = datetime.now(UTC).isoformat(timespec="milliseconds")
        entry = {"entry": self._count + 1, "time": time, "previous": self._hash, **content}
        entry["hash"] = _entry_hash(entry)
        _write_all(self._descriptor, _line(entry))
        self._count, self._hash = entry["entry"], entry["hash"]
        if lasting:
            os.fsync(self._descriptor)
            self._write_head()

    def _write_head(self) -> None:
        write_bytes(self.directory / _HEAD, json.dumps({"entries": self._count, "hash": self._hash}).encode())

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

    def _drop_torn_line(self) -> None:
        """Cut off a last line without its end: its fsync never returned, so nothing was opened under it."""
        content = (self.directory / _ENTRIES).read_bytes()
        whole = content.rfind(b"\n") + 1
        if whole < len(content):
            os.ftruncate(self._descriptor, whole)
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


def verify(directory: Path) -> int:
    """Check a whole ledger: every line, hash, number, the chain, the head and the tables. The number of entries.

    Raises DamagedFile that names the first entry that was changed, removed, moved or cut off.
    """
    count, _ = _verified_end(directory)
    for entry in _lines(directory / _ENTRIES):
        if entry["kind"] == "table":
            _names(directory, f"{entry['table']}.ids")
            if "persons" in entry:
                _names(directory, f"{entry['persons']}.persons")
    return count


def _names(directory: Path, file: str) -> Ids:
    """The lines of a kept list, which is named by its hash; DamagedFile where it is missing or was changed."""
    path = directory / _TABLES / file
    content = path.read_bytes() if path.is_file() else None
    if content is None or hashlib.sha256(content).hexdigest() != path.stem:
        what = "missing" if content is None else "changed"
        raise DamagedFile(f"{directory}: table {file[:12]} of record ids is {what}; restore it from a backup")
    return of_lines(content)


def read_extract(path: Path) -> list[dict[str, Any]]:
    """The entries of one run's extract, each checked against its hash, and their number; DamagedFile otherwise."""
    lines = list(_lines(path))
    if not lines or lines[0].get("kind") != "extract" or lines[0].get("entries") != len(lines) - 1:
        raise DamagedFile(f"{path}: not a whole extract of a ledger; make it again from the ledger")
    last = 0
    for entry in lines[1:]:
        if entry.get("hash") != _entry_hash(entry) or not entry["entry"] > last:
            raise DamagedFile(f"{path}: entry {entry.get('entry')} was changed or moved; make it again from the ledger")
        last = entry["entry"]
    return lines[1:]


def entries_about(entries: Sequence[dict[str, Any]], auditor: str) -> list[dict[str, Any]]:
    """The entries of the developer's that are about one auditor, or about none."""
    return [entry for entry in entries if entry.get("auditor", entry.get("receiver", auditor)) == auditor]


def compare(developer: Sequence[dict[str, Any]], auditor: Sequence[dict[str, Any]]) -> list[str]:
    """Differences between the two sides' entries of one run (and one auditor); empty where the ledgers agree.

    Everything that the developer received must be planned by the auditor in the same words. A release that was
    planned but neither opened nor received is an interrupted one, and no difference. Verdicts and disclosures must be
    on both sides; ledgers from before these were written down have none.
    """
    planned = {entry["number"]: entry for entry in auditor if entry["kind"] == "planned"}
    opened = {entry["number"] for entry in auditor if entry["kind"] == "opened"}
    received: dict[int, dict[str, Any]] = {}
    problems = []
    for entry in developer:
        if entry["kind"] == "received":
            if entry["number"] in received:
                problems.append(f"release {entry['number']}: the developer wrote it down twice")
            received[entry["number"]] = entry
    for number, entry in sorted(received.items()):
        problems += _differences(number, planned.get(number), entry)
    for number in sorted(opened - set(received)):
        problems.append(f"release {number}: opened by the auditor, not in the developer's ledger")
    if any(entry["kind"] == "start" and "notes" in entry for entry in (*developer, *auditor)):
        problems += _verdict_differences(developer, auditor) + _disclosed_differences(developer, auditor)
    return problems


def _verdict_differences(developer: Sequence[dict[str, Any]], auditor: Sequence[dict[str, Any]]) -> list[str]:
    """The differences between verdicts; one that the developer was not told of (``within`` None) is interrupted."""
    theirs, ours = (
        {entry["number"]: entry for entry in side if entry["kind"] == "verdict"} for side in (developer, auditor)
    )
    problems = []
    for number in sorted(theirs.keys() | ours.keys()):
        told, learned = theirs.get(number), ours.get(number)
        if told is None:
            problems.append(f"verdict on release {number}: learned by the auditor, not in the developer's ledger")
        elif learned is None:
            if told["within"] is not None:
                problems.append(f"verdict on release {number}: told to the developer, not in the auditor's ledger")
        else:
            keys = ("receiver", "operation", "attribute", *(("within",) if told["within"] is not None else ()))
            problems += [
                f"verdict on release {number}: {key} is {learned[key]!r} at the auditor, {told[key]!r} at the developer"
                for key in keys
                if learned[key] != told[key]
            ]
    return problems


def _disclosed_differences(developer: Sequence[dict[str, Any]], auditor: Sequence[dict[str, Any]]) -> list[str]:
    """The differences between what was given away and what arrived, in this order; the last may be on its way."""
    given, arrived = (
        [(entry["receiver"], entry["what"], entry["numbers"]) for entry in side if entry["kind"] == "disclosed"]
        for side in (developer, auditor)
    )
    problems = [
        f"disclosure {place}: {ours} at the auditor, {theirs} at the developer"
        for place, (theirs, ours) in enumerate(zip(given, arrived, strict=False), 1)
        if theirs != ours
    ]
    if len(arrived) > len(given):
        problems.append(f"disclosure {len(given) + 1}: arrived at the auditor, not in the developer's ledger")
    elif len(given) > len(arrived) + 1:
        problems.append(f"disclosure {len(arrived) + 1}: given by the developer, not in the auditor's ledger")
    return problems


def _differences(number: int, planned: dict[str, Any] | None, received: dict[str, Any]) -> list[str]:
    """The differences between the two entries about one release."""
    if planned is None:
        return [f"release {number}: received by the developer, unknown to the auditor"]
    pairs = [(item.name, planned.get(item.name, ""), received.get(item.name, "")) for item in fields(Receipt)]
    return [
        f"release {number}: {key} is {ours!r} at the auditor, {theirs!r} at the developer"
        for key, ours, theirs in pairs
        if ours != theirs
    ]


def _verified_end(directory: Path) -> tuple[int, str]:
    """Number and hash of the last entry of a ledger whose chain and head hold; DamagedFile otherwise."""
    count, previous, hashes = 0, _GENESIS, {0: _GENESIS}
    remedy = "restore it from a backup, or begin a new state directory and treat every budget of this one as spent"
    for entry in _lines(directory / _ENTRIES):
        count += 1
        if entry.get("entry") != count or entry.get("previous") != previous:
            raise DamagedFile(f"{directory}: ledger entry {count} does not follow the one before it; {remedy}")
        if entry.get("hash") != _entry_hash(entry):
            raise DamagedFile(f"{directory}: ledger entry {count} was changed; {remedy}")
        previous = hashes[count] = entry["hash"]
    head = directory / _HEAD
    if not head.is_file():
        if count > 1:  # a ledger with one entry may have lost its first head to a crash
            raise DamagedFile(f"{directory}: the ledger's head file is missing; {remedy}")
        return count, previous
    try:
        wanted = json.loads(head.read_text())
        known = hashes.get(wanted["entries"])
    except (ValueError, KeyError, TypeError):
        raise DamagedFile(f"{directory}: the ledger's head file is damaged; {remedy}") from None
    # Entries beyond the head are sound: it waits for the next release, and a crash leaves it behind.
    if known != wanted["hash"]:
        raise DamagedFile(
            f"{directory}: the ledger ends at entry {count}, its head names entry {wanted['entries']}: "
            f"entries were cut off or rewritten; {remedy}"
        )
    return count, previous


def _lines(path: Path) -> Iterator[dict[str, Any]]:
    with path.open("rb") as file:
        for number, line in enumerate(file, 1):
            try:
                entry = json.loads(line)
            except ValueError:
                raise DamagedFile(f"{path}: line {number} is damaged") from None
            if not isinstance(entry, dict) or line != _line(entry):  # a space that became a tab was touched, too
                raise DamagedFile(f"{path}: line {number} is damaged")
            yield entry


def _line(entry: dict[str, Any]) -> bytes:
    """The one form in which an entry is written."""
    return (json.dumps(entry, sort_keys=True) + "\n").encode()


def _entry_hash(entry: dict[str, Any]) -> str:
    content = {key: value for key, value in entry.items() if key != "hash"}
    return hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()


def _write_all(descriptor: int, content: bytes) -> None:
    while content:
        content = content[os.write(descriptor, content) :]
