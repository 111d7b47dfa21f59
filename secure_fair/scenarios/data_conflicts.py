"""Conflicts between the keys of ``[data]``, each named with its path, its value and the remedy."""

from __future__ import annotations

import math
from collections.abc import Iterator

from secure_fair.errors import UsageError
from secure_fair.scenarios.models import Data, DataSet
from secure_fair.sections import listed, near, show


def whole(data: Data) -> Iterator[str]:
    """Whether the keys of ``[data]`` go together."""
    yield from _data_set_conflicts("data", data)
    yield from _table_conflicts(data)
    yield from _attribute_conflicts("data", data, ("target", data.target))
    yield from _intersection_conflicts(data)
    yield from _label_bias_conflicts(data)
    yield from _group_conflicts(data)
    if data.target in data.sensitive:
        yield f"data.target: {show(data.target)} is among data.sensitive; the task must be another attribute"
    if data.split_given and data.split is not None:
        key = next(key for key in ("split_column", "evaluation_file", "partition") if getattr(data, key))
        yield f"data.split: data.{key} says who gets which record; leave one of the two out"
    if data.split is not None:
        total = data.split.developer + data.split.auditor + data.split.test
        if not math.isclose(total, 1.0, abs_tol=1e-6):
            yield f"data.split: the fractions sum to {total:g}; developer + auditor + test must be 1"
        for part in ("developer", "test"):
            if getattr(data.split, part) == 0:
                yield f"data.split.{part}: is 0; it needs records"
        own_of_split = data.auditor_records == "own" and data.auditor is None and data.dataset != "table"
        if own_of_split and data.split.auditor == 0:  # of a table "own" itself is refused
            yield (
                'data.split.auditor: is 0; with data.auditor_records "own" the auditor needs records of its own: give '
                "it a share, or name another data set in [data.auditor]"
            )


def _table_conflicts(data: Data) -> Iterator[str]:
    """Whether the keys of a table go together; its columns are known when it is read."""
    if data.dataset != "table":
        return
    if data.image_size != Data.model_fields["image_size"].default:
        yield f"data.image_size: {data.image_size} has no use with a table, which has no pictures; leave it out"
    if data.evaluation_file is not None and data.split_column is not None:
        yield "data.evaluation_file: data.split_column says which records are the test's; leave one of the two out"
    if data.auditor_records == "own":
        yield (
            'data.auditor_records: "own" has no use with a table: what auditors train on records of their own is about '
            'features that move, and those of a table do not; use "aligned"'
        )
    if data.auditor is not None:
        yield (
            f"data.auditor: {show(data.auditor.dataset)} cannot stand beside a table, which auditors know by the "
            "developer's records alone; leave [data.auditor] out"
        )


def separate(data: Data) -> Iterator[str]:
    """Whether the auditors' own data set is one of its own, and can stand for the developer's attributes."""
    own = data.auditor
    if own is None or data.dataset == "table":  # beside a table it is refused as a whole
        return
    yield from _data_set_conflicts("data.auditor", own)
    yield from _attribute_conflicts("data.auditor", own)
    if data.auditor_records != "own":
        yield (
            f"data.auditor_records: {show(data.auditor_records)} is not possible with [data.auditor], whose people are "
            'not the developer\'s; set it to "own", or leave [data.auditor] out'
        )
    if data.dataset != "faces" and (own.dataset, own.root, own.file) == (data.dataset, data.root, data.file):
        yield (
            f"data.auditor.root: {show(own.root)} is the developer's data set; name another, or leave [data.auditor] "
            "out: the auditors then have a random part of that one (data.split.auditor)"
        )
    if len(own.sensitive) != len(data.sensitive):
        yield (
            f"data.auditor.sensitive: {show(own.sensitive)} must stand for {show(data.sensitive)} (data.sensitive), "
            "one for each, in the same order"
        )
    for name in own.groups:
        if name not in data.sensitive:
            yield (
                f"data.auditor.groups: {show(name)} is not among data.sensitive (allowed: {listed(data.sensitive)})"
                f"{near(name, data.sensitive)}"
            )


def _data_set_conflicts(where: str, data: DataSet) -> Iterator[str]:
    if data.dataset != "faces" and data.root is None:
        yield f"{where}.root: is missing; name the folder that holds {data.dataset} (-o {where}.root=FOLDER)"
    if data.dataset == "faces" and data.root is not None:
        yield f'{where}.root: "{data.root}" has no use with dataset "faces", which draws its pictures; leave it out'
    for key, owners in data.foreign_keys():
        named = " and ".join(map(show, owners))
        yield f'{where}.{key}: belongs to dataset {named}, and this one is "{data.dataset}"; leave it out'
    if len(set(data.sensitive)) < len(data.sensitive):
        yield f"{where}.sensitive: {show(data.sensitive)} names an attribute twice"


def _attribute_conflicts(where: str, data: DataSet, *others: tuple[str, str]) -> Iterator[str]:
    """Whether the data set can have such columns; those of tables are known when the table is read."""
    from secure_fair.data import faces, utkface
    from secure_fair.data.records import parse_expression

    for key, text in (*others, *((f"sensitive.{i}", text) for i, text in enumerate(data.sensitive))):
        try:
            column, compared = parse_expression(text).column, parse_expression(text).numeric
        except UsageError as error:
            yield f"{where}.{key}: {error}"
            continue
        if data.dataset == "faces" and text not in faces.ATTRIBUTES:
            yield f"{where}.{key}: faces have no {show(text)}; allowed: {listed(faces.ATTRIBUTES)}"
        elif data.dataset == "utkface" and column not in utkface.COLUMNS:
            yield f"{where}.{key}: utkface has no {show(column)}; allowed: {listed(utkface.COLUMNS)}"
        elif data.dataset == "utkface" and compared != (column == "age"):
            how = 'age must be compared, as in "age > 35", or cut, as in "age cut at 30 and 60", and no other'
            yield f"{where}.{key}: {show(text)} is not allowed; {how}"


def _group_conflicts(data: Data) -> Iterator[str]:
    if data.groups and data.dataset == "faces":
        yield "data.groups: has no use with drawn portraits, whose attributes have two groups each; leave it out"
        return
    asked = (data.target, *data.sensitive)
    for attribute, groups in (data.groups or {}).items():
        key = f"data.groups.{attribute}"
        if attribute not in asked:
            yield f"{key}: {show(attribute)} is neither target nor sensitive; allowed: {listed(asked)}"
        if len(groups) < 2:
            yield f"{key}: {show(groups)} is one group; name two or more, with every value in one of them"


def _intersection_conflicts(data: Data) -> Iterator[str]:
    seen: dict[frozenset[str], int] = {}
    for index, attributes in enumerate(data.intersections):
        key = f"data.intersections.{index}"
        if len(attributes) < 2:
            yield f"{key}: {show(attributes)} is not an intersection; name two or more of {listed(data.sensitive)}"
        if len(set(attributes)) < len(attributes):
            yield f"{key}: {show(attributes)} names an attribute twice; name each once"
        for attribute in dict.fromkeys(attributes):
            if attribute not in data.sensitive:
                yield (
                    f"{key}: {show(attribute)} is not among data.sensitive (allowed: {listed(data.sensitive)})"
                    f"{near(attribute, data.sensitive)}"
                )
        if frozenset(attributes) in seen:
            yield f"{key}: {show(attributes)} stands there already, at {seen[frozenset(attributes)]}; leave one out"
        seen.setdefault(frozenset(attributes), index)
    if data.intersections and data.auditor_records == "own":
        yield (
            "data.intersections: are made of what auditors hold of the same people, and with data.auditor_records "
            '"own" they hold nothing of the developer\'s; leave them out'
        )
    for name, attributes in data.joint_attributes.items():
        if len(attributes) > 1 and name in (*data.sensitive, data.target):
            yield f"data.intersections: {show(name)} is the name of a column too; rename the column"


def _label_bias_conflicts(data: Data) -> Iterator[str]:
    from secure_fair.data import faces

    bias = data.label_bias
    if bias is None:
        return
    if bias.attribute not in data.sensitive:
        yield (
            f"data.label_bias.attribute: {show(bias.attribute)} is not among data.sensitive "
            f"(allowed: {listed(data.sensitive)}){near(bias.attribute, data.sensitive)}"
        )
    elif data.dataset == "faces" and bias.attribute in faces.ATTRIBUTES:  # other groups are known when they are read
        groups = faces.ATTRIBUTES[bias.attribute]
        if bias.group not in groups:
            yield (
                f"data.label_bias.group: {bias.attribute} has no group {show(bias.group)}; "
                f"allowed: {listed(groups)}{near(bias.group, groups)}"
            )
