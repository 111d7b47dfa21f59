"""Scenario files: finding one by path or library name, and setting keys from the command line."""

from __future__ import annotations

import sys
import tomllib
from collections.abc import Iterable, Mapping
from importlib.resources import files
from pathlib import Path
from typing import Any

from secure_fair.errors import UsageError
from secure_fair.toml_text import UNREADABLE

FOLDERS = {"scenario": "library", "sweep": "sweeps"}


def library(kind: str = "scenario") -> dict[str, str]:
    """Name and TOML text of every scenario, or sweep, that comes with the program, in alphabetical order."""
    folder = files("secure_fair.scenarios") / FOLDERS[kind]
    entries = sorted(
        (entry for entry in folder.iterdir() if entry.name.endswith(".toml")), key=lambda entry: entry.name
    )
    return {entry.name.removesuffix(".toml"): entry.read_text(encoding="utf-8") for entry in entries}


def find(source: str | Path, kind: str = "scenario") -> tuple[str, str]:
    """Where a scenario or sweep was found (for messages) and its text.

    ``source``: a file, a name of the library, or "-" for standard input.
    """
    if str(source) == "-":
        return "standard input", sys.stdin.read()
    path = Path(source)
    if path.is_file():
        try:
            return str(path), path.read_text(encoding="utf-8")
        except (OSError, UnicodeDecodeError) as error:
            why = error.strerror if isinstance(error, OSError) else f"not UTF-8 text, byte {error.start}"
            raise UsageError(f"{path}: cannot be read ({why})") from error
    if path.is_dir():
        remedy = "name the run that has ended, or its scenario.toml" if kind == "scenario" else "name the file in it"
        raise UsageError(f"{path}: is a folder, and no {kind}; {remedy}")
    known = library(kind)
    if str(source) in known:
        return f"library {kind} {source}", known[str(source)]
    raise UsageError(f"{source}: no such {kind} file, nor a name of the library (known: {', '.join(known)})")


def value_of(text: str) -> Any:
    """A value given on the command line: TOML where it parses as TOML, else the text itself."""
    try:
        parsed = tomllib.loads(f"value = {text}\n")
    except tomllib.TOMLDecodeError:
        return text
    except (RecursionError, ValueError) as error:
        raise UsageError(f"-o ...={text[:20]}...: {UNREADABLE}") from error
    # `1\nother = 2` would parse too: only a text that is one value counts as TOML
    return parsed["value"] if set(parsed) == {"value"} else text


def override(tree: Mapping[str, Any], assignments: Iterable[str]) -> dict[str, Any]:
    """A copy of ``tree`` with ``section.key=value`` assignments applied in order; ``section.key=`` takes a key out."""
    result = _copy(tree)
    problems = []
    for assignment in assignments:
        key, equals, text = assignment.partition("=")
        path = [part.strip() for part in key.split(".")]
        if not equals or not all(path):
            problems.append(f"-o {assignment}: expected section.key=value, for instance method.strength=4")
            continue
        problem = _assign(result, path, text.strip())
        if problem:
            problems.append(f"-o {assignment}: {problem}")
    if problems:
        raise UsageError(problems)
    return result


def _assign(tree: dict[str, Any], path: list[str], text: str) -> str | None:
    """Set or take out one key in place; says what is in the way, if anything is."""
    for depth, part in enumerate(path[:-1], start=1):
        branch = tree.setdefault(part, {})
        if not isinstance(branch, dict):
            return f"{'.'.join(path[:depth])} is a value, not a section"
        tree = branch
    if text:
        tree[path[-1]] = value_of(text)
    else:
        tree.pop(path[-1], None)
    return None


def _copy(tree: Mapping[str, Any]) -> dict[str, Any]:
    return {key: _copy(value) if isinstance(value, Mapping) else value for key, value in tree.items()}
