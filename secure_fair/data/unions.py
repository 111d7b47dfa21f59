"""Groups that are made of several values of a column, as a scenario names them: "other" of "Asian" and "Indian"."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import TypeVar

from secure_fair.data.records import Expression, Listing
from secure_fair.errors import UsageError

Unions = Mapping[str, Mapping[str, Sequence[str]]]
"""By attribute and group, the values that it is made of."""
L = TypeVar("L", bound=Listing)


def united(listing: L, expressions: Sequence[Expression], unions: Unions) -> L:
    """The listing with the groups of ``unions``; attributes that it does not name keep theirs.

    UsageError with every value that is in no group, in two, or in no record.
    """
    problems: list[str] = []
    groups, places = list(listing.groups), [list(range(len(names))) for names in listing.groups]
    for column, expression in enumerate(expressions):
        wanted = unions.get(expression.text)
        if wanted is not None:
            problems += _problems(expression.text, listing.groups[column], wanted)
            home = {value: place for place, values in enumerate(wanted.values()) for value in values}
            places[column] = [home.get(value, 0) for value in listing.groups[column]]
            groups[column] = tuple(wanted)
    if problems:
        raise UsageError(problems)
    records = [
        replace(record, codes=tuple(places[column][code] for column, code in enumerate(record.codes)))
        for record in listing.records
    ]
    return replace(listing, records=records, groups=groups)


def _problems(attribute: str, values: Sequence[str], wanted: Mapping[str, Sequence[str]]) -> list[str]:
    named = [value for group in wanted.values() for value in group]
    there = f"it has {', '.join(values)}"
    missing = [value for value in values if value not in named]
    unknown = [value for value in dict.fromkeys(named) if value not in values]
    twice = [value for value in dict.fromkeys(named) if named.count(value) > 1]
    where = f"data.groups.{attribute}"
    told = {
        f"{', '.join(missing)}: in no group; name every value once": missing,
        f"{', '.join(unknown)}: no value of {attribute!r}; {there}": unknown,
        f"{', '.join(twice)}: in two groups; name every value once": twice,
    }
    return [f"{where}: {text}" for text, found in told.items() if found]
