"""Matched ids: a CSV ``id,record`` of the record ids that two or more sides have in common, each for its own ids.

Whom not all have gets a record id that is drawn on the spot and means nothing to anybody.
"""

from __future__ import annotations

import csv
import io
import re
import secrets
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path

from secure_fair.data.csv_rows import read_csv, require_columns
from secure_fair.data.decisions import Decisions, digest_of
from secure_fair.data.intersection import RECORD
from secure_fair.data.store import KEY_BYTES, person_ids
from secure_fair.data.table import AttributeTable
from secure_fair.errors import UsageError
from secure_fair.files import write_bytes

HEADER = ("id", "record")
MATCHED_KEY = bytes(KEY_BYTES)  # the key of a store's ids where those are random already, and tell nothing
_RECORD = re.compile(rf"[0-9a-f]{{{2 * RECORD}}}")


def write_matched(file: Path, matched: Mapping[str, str]) -> None:
    """Write record ids by own id, private to the owner: whom others have as well is nobody else's to know."""
    text = io.StringIO(newline="")
    csv.writer(text, lineterminator="\n").writerows([HEADER, *sorted(matched.items())])
    write_bytes(file, text.getvalue().encode())


def read_matched(file: Path) -> dict[str, str]:
    """Record ids by own id; UsageError for anything that ``write_matched`` does not write."""
    if not file.is_file():
        raise UsageError(f"{file}: no such file; name the CSV of matched ids that secure-fair match has written")
    header, rows = read_csv(file)
    require_columns(header, HEADER, file)
    found: dict[str, str] = {}
    for line, cells in rows:
        name, record = (dict(zip(header, cells, strict=False)).get(column, "").strip() for column in HEADER)
        if not name or not _RECORD.fullmatch(record):
            raise UsageError(f"{file}:{line}: {name!r}, {record!r}: expected an id and a record id of 32 hex digits")
        if name in found:
            raise UsageError(f"{file}:{line}: the id {name!r} is there twice; match again")
        found[name] = record
    if len(set(found.values())) != len(found):
        raise UsageError(f"{file}: a record id is there twice; match again")
    return found


def names_of(ids: Sequence[str], matched: Mapping[str, str], file: Path) -> list[str]:
    """The record id of each of these ids, a new one where it is not matched; UsageError where none is."""
    if not any(name in matched for name in ids):
        raise UsageError(f"{file}: no id of this side is matched there; is it the file of another side?")
    return [matched[name] if name in matched else secrets.token_hex(RECORD) for name in ids]


def renamed_decisions(decisions: Decisions, matched: Mapping[str, str], file: Path) -> Decisions:
    """The decisions under matched ids."""
    return replace(decisions, ids=names_of(decisions.ids, matched, file))


def renamed_attributes(table: AttributeTable, names: Sequence[str]) -> AttributeTable:
    """An auditor's table under the ``names`` of ``names_of``. Its people stay those of its own ids, so that budgets
    outlive a matching, whatever record ids the next one gives them."""
    return replace(table, digests=[digest_of(name) for name in names], persons=table.digests)


def under_own_key(table: AttributeTable, own_key: bytes) -> AttributeTable:
    """The same with people named by a key that this auditor alone has."""
    assert table.persons is not None  # renamed before
    return replace(table, persons=person_ids(own_key, table.persons))
