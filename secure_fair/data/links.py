"""Files by which parties that prepare apart come to the same record ids: the join key, matched ids, ids that are held.

A join key is made once and handed over between the parties that hold data, never to the dealer. Ids that a matching has
made say nothing to anybody; ids by a key can be computed again, and so be tested, by whoever has the key.
"""

from __future__ import annotations

import csv
import hashlib
import hmac
import io
import re
import secrets
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path

from secure_fair.data.csv_rows import read_csv, require_columns
from secure_fair.data.store import KEY_BYTES
from secure_fair.errors import UsageError
from secure_fair.files import write_bytes

OWN_ID, RECORD = "id", "record"  # columns of a file of matched ids
_RECORD_ID = re.compile(r"[0-9a-f]{32}")


# --- the join key -----------------------------------------------------------------------------------------------------


def make_join_key(file: Path) -> bytes:
    """Write a new key from the operating system, for its owner alone to read; UsageError where the file exists."""
    if file.exists():
        raise UsageError(f"{file}: exists already; a new key would give everybody new ids, so name another file")
    try:
        file.parent.mkdir(parents=True, exist_ok=True)
        write_bytes(file, secrets.token_bytes(KEY_BYTES))
    except OSError as error:
        raise UsageError(f"{file}: the join key cannot be written: {error.strerror}") from error
    return read_join_key(file)


def read_join_key(file: Path) -> bytes:
    """The join key that a file holds."""
    try:
        key = file.read_bytes()
    except FileNotFoundError as error:
        raise UsageError(
            f"{file}: no such join key; one party makes it with `secure-fair data join-key FILE` and hands it to the "
            "others that hold data"
        ) from error
    except OSError as error:
        raise UsageError(f"{file}: the join key cannot be read: {error.strerror}") from error
    if len(key) != KEY_BYTES:
        raise UsageError(f"{file}: {len(key)} bytes are no join key, which has {KEY_BYTES}: name another file")
    return key


def lasting_join_key(file: Path) -> bytes:
    """The same; a file that does not exist yet gets a new key, which later calls find."""
    return read_join_key(file) if file.exists() else make_join_key(file)


def key_fingerprint(key: bytes) -> str:
    """The first 64 bits, in hex, of a keyed hash of nothing: by it the parties hear that they have the same key."""
    return hmac.new(key, b"fingerprint of the join key", hashlib.sha256).hexdigest()[:16]


# --- matched ids ------------------------------------------------------------------------------------------------------


def read_matched(file: Path) -> dict[str, str]:
    """Record ids by a party's own ids, from a CSV with the columns ``id`` and ``record``."""
    header, rows = _read(file)
    require_columns(header, [OWN_ID, RECORD], file)
    own, record = header.index(OWN_ID), header.index(RECORD)
    found: dict[str, str] = {}
    seen: set[str] = set()
    for line, cells in rows:
        if len(cells) != len(header):
            raise UsageError(f"{file}:{line}: {len(cells)} fields instead of {len(header)}")
        name, given = cells[own].strip(), cells[record].strip()
        if not _RECORD_ID.fullmatch(given):
            raise UsageError(f"{file}:{line}: record {given!r} is not 32 hex digits: match again")
        if name in found or given in seen:
            raise UsageError(f"{file}:{line}: {name if name in found else given!r} stands there twice: match again")
        found[name] = given
        seen.add(given)
    if not found:
        raise UsageError(f"{file}: no id is matched: nobody has a record in common, or the columns of ids differ")
    return found


# --- ids that are held ------------------------------------------------------------------------------------------------


def write_held(file: Path, ids: Iterable[str]) -> None:
    """Write the ids that an auditor holds, in ascending order: what it hands to the developer, and nothing more."""
    text = io.StringIO(newline="")
    csv.writer(text, lineterminator="\n").writerows([(RECORD,), *((name,) for name in sorted(ids))])
    write_bytes(file, text.getvalue().encode())


def read_held(file: Path) -> set[str]:
    """Ids that ``write_held`` has written at an auditor."""
    header, rows = _read(file)
    if header != [RECORD]:
        raise UsageError(
            f"{file}:1: the columns are {', '.join(header)}; a list of held records has {RECORD} alone: an auditor "
            "makes it with `secure-fair data prepare auditor`"
        )
    wrong = next(((line, cells) for line, cells in rows if len(cells) != 1 or not _RECORD_ID.fullmatch(cells[0])), None)
    if wrong is not None:
        raise UsageError(f"{file}:{wrong[0]}: {','.join(wrong[1])!r} is not 32 hex digits")
    return {cells[0] for _, cells in rows}


def held_by_all(held: Mapping[str, set[str]], holders: Mapping[str, Sequence[str]]) -> set[str]:
    """Ids of which every attribute has a holder; ``held`` by auditor, ``holders`` the auditors of each attribute."""
    known = [set().union(*(held[name] for name in names)) for names in _asked(held, holders)]
    return set.intersection(*known)


def _asked(held: Mapping[str, set[str]], holders: Mapping[str, Sequence[str]]) -> Iterator[Sequence[str]]:
    missing = sorted({name for names in holders.values() for name in names} - held.keys())
    if missing:
        raise UsageError([f"--held {name}=FILE: is missing; every auditor hands its list over" for name in missing])
    yield from holders.values()


def _read(file: Path) -> tuple[list[str], list[tuple[int, list[str]]]]:
    try:
        return read_csv(file)
    except OSError as error:
        raise UsageError(f"{file}: cannot be read: {error.strerror}") from error
