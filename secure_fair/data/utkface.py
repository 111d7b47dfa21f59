"""UTKFace: pictures whose names are AGE_GENDER_RACE_DATE, e.g. 26_1_2_20170116174525125.jpg.chip.jpg."""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path

from secure_fair.data.records import Expression, Listing, Problem, Record, require_folder
from secure_fair.errors import UsageError

GROUPS: dict[str, tuple[str, ...]] = {
    "gender": ("male", "female"),
    "race": ("White", "Black", "Asian", "Indian", "Other"),
}
AGES = range(123)  # the oldest person on record lived 122 years
COLUMNS = ("age", *GROUPS)
NAME = re.compile(r"(\d+)_(\d+)_(\d+)_(\d+)(\.\w+)+")
# the data set has some with a blank before the ending, or without its dot: all four fields are there
_ODD = re.compile(r"(\d+)_(\d+)_(\d+)_(\d+)\s*\.?(jpe?g|png)(\s*\.\w+)*", re.IGNORECASE)
_SUFFIXES = (".jpg", ".jpeg", ".png")


def list_records(root: Path | None, expressions: Sequence[Expression]) -> Listing:
    """Every picture below ``root``, in the order of the names.

    Expressions are ``gender``, ``race`` or ``age`` compared with a number. Raises UsageError for others and for a
    folder without pictures; wrong names and labels out of range are problems of the listing. Names whose ending alone
    is odd are read all the same, and counted in its notes.
    """
    folder = require_folder("utkface", root)
    groups = _groups(expressions)
    files = sorted(file for file in folder.rglob("*") if file.suffix.lower() in _SUFFIXES)
    if not files:
        raise UsageError(f"{folder}: no pictures ({', '.join(_SUFFIXES)}) in this folder or below; set data.root")
    records, problems = [], []
    for file in files:
        name = file.relative_to(folder).as_posix()
        values = _read_name(file.name)
        if isinstance(values, Problem):
            problems.append(Problem(name, values.kind, values.text))
            continue
        codes = tuple(e.code(values[e.column]) if e.numeric else values[e.column] for e in expressions)
        records.append(Record(name, file, name, codes))
    odd = [record.name for record in records if NAME.fullmatch(record.file.name) is None]
    notes = (f"{len(odd)} names with an odd ending are read all the same, the first {odd[0]!r}",) if odd else ()
    return Listing(records, groups, problems, notes=notes)


def _groups(expressions: Sequence[Expression]) -> list[tuple[str, ...]]:
    groups: list[tuple[str, ...]] = []
    wrong = []
    for e in expressions:
        if e.column not in COLUMNS:
            wrong.append(f"utkface has no {e.column!r}: choose from {', '.join(COLUMNS)}")
        elif e.column == "age" and not e.numeric:
            wrong.append('age is a number: compare it, as in "age > 35", or cut it, as in "age cut at 30 and 60"')
        elif e.column != "age" and e.numeric:
            wrong.append(f"{e.text!r}: {e.column} has groups ({', '.join(GROUPS[e.column])}) and no order")
        else:
            groups.append(e.groups if e.numeric else GROUPS[e.column])
    if wrong:
        raise UsageError(wrong)
    return groups


def _read_name(name: str) -> dict[str, int] | Problem:
    match = NAME.fullmatch(name) or _ODD.fullmatch(name)
    if match is None:
        fields = name.split(".")[0].count("_") + 1
        return Problem(
            name, "wrong name", f"expected AGE_GENDER_RACE_DATE.jpg, found {fields} of 4 fields or no numbers"
        )
    age, gender, race = (int(match[i]) for i in (1, 2, 3))
    for column, code, bound in (("age", age, len(AGES)), ("gender", gender, 2), ("race", race, 5)):
        if code >= bound:
            return Problem(name, "label out of range", f"{column} {code} is not in 0 .. {bound - 1}")
    return {"age": age, "gender": gender, "race": race}
