"""Groups of one attribute in two data sets: which of the one is which of the other, refused where it is not certain."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace

import numpy as np

from secure_fair.data.records import YES_NO, Attribute
from secure_fair.data.table import AttributeTable
from secure_fair.errors import UsageError

KEY = "data.auditor.groups"
Given = Mapping[str, Mapping[str, Sequence[str]]]
"""By measured attribute and by its group: the groups of the auditors' data set that it is made of."""


def places(name: str, groups: Sequence[str], own: str, own_groups: Sequence[str], given: Given) -> tuple[int, ...]:
    """For each of ``own_groups``, of the auditors' attribute ``own``, its place among the ``groups`` of ``name``.

    As ``given[name]`` says. Without it the names must be the same but for upper and lower case, in any order; "no" and
    "yes" say nothing by themselves, so that then the attributes' names must be the same too. Raises UsageError.
    """
    if name in given:
        problems = list(_problems(name, groups, own_groups, given[name]))
        if problems:
            raise UsageError(problems)
        place_of = {member: groups.index(group) for group, members in given[name].items() for member in members}
        return tuple(place_of[group] for group in own_groups)
    folded = [group.casefold() for group in groups]
    own_folded = [group.casefold() for group in own_groups]
    alike = len(set(folded)) == len(folded) and sorted(folded) == sorted(own_folded)
    told = tuple(folded) != YES_NO or name.casefold() == own.casefold()
    if not (alike and told):
        why = "have other names" if not alike else "say nothing of what they are about"
        raise UsageError(
            f"{KEY}: the groups of {own!r} in the auditors' data set ({_listed(own_groups)}) {why}, and it stands for "
            f"{name!r} ({_listed(groups)}); say which is which: {KEY}.{_key(name)} = "
            f"{{ {', '.join(f'{_key(group)} = [...]' for group in groups)} }}"
        )
    return tuple(folded.index(group) for group in own_folded)


def matched(
    table: AttributeTable, sensitive: Sequence[str], measured: Mapping[str, Sequence[str]], given: Given
) -> AttributeTable:
    """The auditors' table with its attributes, ``sensitive``, under the names and in the groups of those that are
    ``measured``, which they stand for in their order."""
    found = {}
    for own, (name, groups) in zip(sensitive, measured.items(), strict=True):
        attribute = table.sensitive[own]
        place_of = np.array(places(name, groups, own, attribute.groups, given), dtype=np.int64)
        found[name] = Attribute(name, place_of[attribute.codes], tuple(groups))
    return replace(table, sensitive=found)


def _problems(
    name: str, groups: Sequence[str], own_groups: Sequence[str], given: Mapping[str, Sequence[str]]
) -> Iterator[str]:
    """Everything wrong with the groups that are given for an attribute."""
    where = f"{KEY}.{_key(name)}"
    for group, members in given.items():
        if group not in groups:
            yield f"{where}: {group!r} is not a group of {name!r} (allowed: {_listed(groups)})"
        for member in members:
            if member not in own_groups:
                yield (
                    f"{where}.{_key(group)}: {member!r} is not a group of the auditors' data set "
                    f"(allowed: {_listed(own_groups)})"
                )
    for group in groups:
        if not given.get(group):
            yield f"{where}: nobody of the auditors' data set is {group!r}; name the groups that are"
    placed = [member for members in given.values() for member in members]
    for member in own_groups:
        if placed.count(member) != 1:
            times = "nowhere" if member not in placed else f"{placed.count(member)} times"
            yield f"{where}: {member!r} of the auditors' data set stands there {times}; it must be in one group"


def _listed(groups: Sequence[str]) -> str:
    return ", ".join(map(repr, groups))


def _key(name: str) -> str:
    """The name as a TOML key."""
    return name if name.replace("_", "").replace("-", "").isalnum() and name.isascii() else f'"{name}"'
