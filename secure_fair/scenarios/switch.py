"""From one method to another: keys of a scenario's file that stand there for a method which is not run."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from secure_fair.learning.methods import METHODS, unused_keys
from secure_fair.learning.settings import MethodSettings
from secure_fair.scenarios import files


def override(tree: Mapping[str, Any], assignments: Iterable[str]) -> tuple[dict[str, Any], str]:
    """The tree with ``section.key=value`` assignments applied, and a line about what was left out for them.

    Where they name another method, keys of the old one that the new one does not use go, and the new one is not
    compared with itself. Assigned keys stay, whatever they are.
    """
    assigned = list(assignments)
    result = files.override(tree, assigned)
    name = _name(result)
    if name not in METHODS or _name(tree) in (name, None):
        return result, ""
    fitting = files.override(tree, [])
    fitting["method"] = {**fitting.get("method", {}), "name": name}
    left = [f"method.{key}" for key in unused({**fitting, "compare": result.get("compare")})]
    release = fitting["method"].get("release")
    if release is not None and release not in METHODS[name].releases:
        left.append("method.release")
    for key in left:
        del fitting["method"][key.removeprefix("method.")]
    compare = fitting.get("compare")
    if isinstance(compare, list) and name in compare:
        fitting["compare"] = [other for other in compare if other != name]
        left.append(f"{name} in compare")
    line = f"method.name={name}: left out what {name} has no use for: {', '.join(left)}" if left else ""
    return files.override(fitting, assigned), line


def unused(tree: Mapping[str, Any]) -> list[str]:
    """Keys of ``[method]`` that neither the tree's method nor one to compare uses; none where it has no such method."""
    compare, table = tree.get("compare"), tree.get("method")
    named = [_name(tree), *(compare if isinstance(compare, list) else [])]
    methods = [name for name in named if isinstance(name, str) and name in METHODS]
    if not methods or not isinstance(table, Mapping):
        return []
    return [key for key in unused_keys(methods) if key in table]


def _name(tree: Mapping[str, Any]) -> Any:
    """The method that the tree names, or has by default."""
    table = tree.get("method", {})
    name = table.get("name", MethodSettings().name) if isinstance(table, Mapping) else None
    return name if isinstance(name, str) else None
