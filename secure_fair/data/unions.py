"""Groups that are made of several values of a column, as a scenario names them: "other" of "Asian" and "Indian"."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import TypeVar

import numpy as np

from secure_fair.data.records import Attribute, Expression, Listing
from secure_fair.errors import UsageError

Unions = Mapping[str, Mapping[str, Sequence[str]]]
"""By attribute and group, the values that it is made of."""
L = TypeVar("L", bound=Listing)


def united(listing: L, expressions: Sequence[Expression], unions: Unions) -> L:
    """The listing with the groups of ``unions``; attributes that it does not name keep theirs.

    UsageError with every value that is in no group, in two, or in no record.
    """
    names = [expression.text for expression in expressions]
    groups, places = _divided(names, listing.groups, unions)
    records = [
        replace(record, codes=tuple(places[column][code] for column, code in enumerate(record.codes)))
        for record in listing.records
    ]
    return replace(listing, records=records, groups=groups)


def united_columns(columns: Mapping[str, Attribute], unions: Unions) -> dict[str, Attribute]:
    """The same of columns that have been read already."""
    groups, places = _divided(list(columns), [one.groups for one in columns.values()], unions)
    return {
        name: Attribute(name, np.array(new, dtype=np.int64)[one.codes], names)
        for (name, one), names, new in zip(columns.items(), groups, places, strict=True)
    }


def _divided(
    attributes: Sequence[str], groups: Sequence[tuple[str, ...]], unions: Unions
) -> tuple[list[tuple[str, ...]], list[list[int]]]:
    """By attribute the new groups, and the place among them of each old one."""
    problems: list[str] = []
    made, places = list(groups), [list(range(len(names))) for names in groups]
    for column, (attribute, values) in enumerate(zip(attributes, groups, strict=True)):
        wanted = unions.get(attribute)
        if wanted is not None:
            problems += _problems(attribute, values, wanted)
            home = {value: place for place, held in enumerate(wanted.values()) for value in held}
            places[column] = [home.get(value, 0) for value in values]
            made[column] = tuple(wanted)
    if problems:
        raise UsageError(problems)
    return made, places


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
