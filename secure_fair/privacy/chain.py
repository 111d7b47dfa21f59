"""The form of a ledger on disk, and its reading: one line an entry, each with the hash of the one before it.

Whoever reads here changes nothing and needs no lock. A last line without its end is *torn*: its write was cut short by
a power cut or a full disk, so that nothing was opened under it. All else that does not fit is damage.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

from secure_fair.errors import DamagedFile
from secure_fair.files import is_there
from secure_fair.ids import Ids, of_lines
from secure_fair.privacy.entries import malformed

GENESIS = "0" * 64
ENTRIES = "ledger.jsonl"
HEAD = "ledger.head"
TABLES = "tables"
_REMEDY = "restore it from a backup, or begin a new state directory and treat every budget of this one as spent"


class ChainEnd(NamedTuple):
    """The end of a chain that holds: how many entries, the hash of the last, and the bytes of a torn line behind it."""

    entries: int
    hash: str
    torn: bytes = b""


def verify(directory: Path) -> ChainEnd:
    """Check a whole ledger: every line, hash, number, the chain, the head and the tables. Its end.

    Raises DamagedFile that names the first entry that was changed, removed, moved or cut off. A torn line is no damage.
    """
    end, tables = walked(directory)
    for entry in tables:
        if len(ids_of(directory, entry["table"])) != entry["count"]:
            raise DamagedFile(f"{directory}: ledger entry {entry['entry']} has another count than its table")
        if "persons" in entry:
            persons_of(directory, entry["persons"])
    return end


def walked(directory: Path) -> tuple[ChainEnd, list[dict[str, Any]]]:
    """The end of a ledger whose chain and head hold, and its entries about tables; DamagedFile otherwise."""
    count, previous, hashes = 0, GENESIS, {0: GENESIS}
    tables = []
    for entry in entries_of(directory):
        count += 1
        if entry.get("entry") != count or entry.get("previous") != previous:
            raise DamagedFile(f"{directory}: ledger entry {count} does not follow the one before it; {_REMEDY}")
        if entry.get("hash") != entry_hash(entry):
            raise DamagedFile(f"{directory}: ledger entry {count} was changed; {_REMEDY}")
        previous = hashes[count] = entry["hash"]
        if entry["kind"] == "table":
            tables.append(entry)
    _check_head(directory, count, hashes)
    return ChainEnd(count, previous, torn_line(directory / ENTRIES)), tables


def _check_head(directory: Path, count: int, hashes: dict[int, str]) -> None:
    """DamagedFile unless the head names one of these entries. Those beyond it are sound: it waits for the next lasting
    one, and a crash leaves it behind."""
    head = directory / HEAD
    if not is_there(head, directory):
        if count > 1:  # a ledger with one entry may have lost its first head to a crash
            raise DamagedFile(f"{directory}: the ledger's head file is missing; {_REMEDY}")
        return
    content = head.read_bytes()
    try:
        wanted = json.loads(content)
        known = hashes.get(wanted["entries"])
        damaged = content != head_line(wanted["entries"], wanted["hash"])  # a space that became a tab was touched, too
    except (ValueError, RecursionError, KeyError, TypeError):
        damaged = True
    if damaged:
        raise DamagedFile(f"{directory}: the ledger's head file is damaged; {_REMEDY}")
    if known != wanted["hash"]:
        raise DamagedFile(
            f"{directory}: the ledger ends at entry {count}, its head names entry {wanted['entries']}: "
            f"entries were cut off or rewritten; {_REMEDY}"
        )


def entries_of(directory: Path) -> Iterator[dict[str, Any]]:
    """The whole entries of a ledger's folder in order; DamagedFile where a line is no entry."""
    return lines_of(directory / ENTRIES)


def ids_of(directory: Path, table: str) -> Ids:
    """The ids of an enrolled table, in order."""
    return _names(directory, f"{table}.ids")


def persons_of(directory: Path, name: str) -> Ids:
    """Whose the records of a table are, by the name of that list; "" where that is not known."""
    return _names(directory, f"{name}.persons")


def _names(directory: Path, file: str) -> Ids:
    """The lines of a kept list, which is named by its hash; DamagedFile where it is missing or was changed."""
    path = directory / TABLES / file
    content = path.read_bytes() if is_there(path, directory) else None
    if content is None or hashlib.sha256(content).hexdigest() != path.stem:
        what = "missing" if content is None else "changed"
        raise DamagedFile(f"{directory}: table {file[:12]} of record ids is {what}; restore it from a backup")
    return of_lines(content)


def read_extract(path: Path) -> list[dict[str, Any]]:
    """The entries of one run's extract, each checked against its hash, and their number; DamagedFile otherwise."""
    lines = list(lines_of(path))
    whole = bool(lines) and lines[0].get("kind") == "extract" and lines[0].get("entries") == len(lines) - 1
    if not whole or torn_line(path):
        raise DamagedFile(f"{path}: not a whole extract of a ledger; make it again from the ledger")
    last = 0
    for place, entry in enumerate(lines[1:], 1):
        problem = malformed(entry)
        if problem:
            raise DamagedFile(f"{path}: line {place + 1}: {problem}; make it again from the ledger")
        if entry.get("hash") != entry_hash(entry) or not entry["entry"] > last:
            raise DamagedFile(f"{path}: entry {entry.get('entry')} was changed or moved; make it again from the ledger")
        last = entry["entry"]
    return lines[1:]


def lines_of(path: Path) -> Iterator[dict[str, Any]]:
    """The objects in a file's whole lines, each in the one form in which they are written; DamagedFile otherwise."""
    with path.open("rb") as file:
        for number, line in enumerate(file, 1):
            if not line.endswith(b"\n"):
                return
            try:
                entry = json.loads(line)
            except (ValueError, RecursionError):
                raise DamagedFile(f"{path}: line {number} is damaged") from None
            if not isinstance(entry, dict) or line != line_of(entry):  # a space that became a tab was touched, too
                raise DamagedFile(f"{path}: line {number} is damaged")
            yield entry


def torn_line(path: Path) -> bytes:
    """The bytes behind the last whole line."""
    content = path.read_bytes()
    return content[content.rfind(b"\n") + 1 :]


def line_of(entry: dict[str, Any]) -> bytes:
    """The one form in which an entry is written."""
    return (json.dumps(entry, sort_keys=True) + "\n").encode()


def head_line(entries: int, newest: str) -> bytes:
    """The one form in which a head is written."""
    return json.dumps({"entries": entries, "hash": newest}).encode()


def entry_hash(entry: dict[str, Any]) -> str:
    """The SHA-256 of an entry without its own hash."""
    content = {key: value for key, value in entry.items() if key != "hash"}
    return hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()
