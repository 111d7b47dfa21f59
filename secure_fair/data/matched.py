"""Matched ids: a CSV ``id,record`` of the record ids that two or more sides have in common, each for its own ids.

Whom not all have gets a record id that is drawn on the spot and means nothing to anybody.
"""

from __future__ import annotations

import csv
import io
import secrets
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path

from secure_fair.data.decisions import Decisions
from secure_fair.data.intersection import RECORD_BYTES
from secure_fair.data.links import OWN_ID, RECORD
from secure_fair.data.table import AttributeTable
from secure_fair.errors import UsageError
from secure_fair.files import write_bytes
from secure_fair.ids import as_ids, as_text


def write_matched(file: Path, matched: Mapping[str, str]) -> None:
    """Write record ids by own id, private to the owner: whom others have as well is nobody else's to know."""
    text = io.StringIO(newline="")
    csv.writer(text, lineterminator="\n").writerows([(OWN_ID, RECORD), *sorted(matched.items())])
    write_bytes(file, text.getvalue().encode())


def names_of(ids: Sequence[str], matched: Mapping[str, str], file: Path) -> list[str]:
    """The record id of each of these ids, a new one where it is not matched; UsageError where none is."""
    if not any(name in matched for name in ids):
        raise UsageError(f"{file}: no id of this side is matched there; is it the file of another side?")
    return [matched[name] if name in matched else secrets.token_hex(RECORD_BYTES) for name in ids]


def renamed_decisions(decisions: Decisions, matched: Mapping[str, str], file: Path) -> Decisions:
    """The decisions under matched ids."""
    return replace(decisions, ids=names_of(as_text(as_ids(decisions.ids)), matched, file))


def renamed_attributes(table: AttributeTable, names: Sequence[str]) -> AttributeTable:
    """An auditor's table under the ``names`` of ``names_of``. Its people stay those of its own ids, so that budgets
    outlive a matching, whatever record ids the next one gives them."""
    return replace(table, record_ids=list(names), persons=table.digests)
