"""The reference of every key of a scenario, made from the sections themselves."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from typing import Any

from secure_fair.learning.method import Method
from secure_fair.learning.methods import METHODS
from secure_fair.operations import OPERATIONS
from secure_fair.scenarios.keys import rows_of
from secure_fair.scenarios.schema import Scenario
from secure_fair.sections import Section, section_of

HEAD = """# Every key of a scenario

Made by `secure-fair scenario reference`. A scenario is a TOML file; any key can be set on the command line as well
(`-o method.strength=4`). Unknown keys are refused. `[policy]` has the keys of an auditor's own policy file
([policy.md](policy.md)) and stands for it in a simulation; between machines it has no effect.
"""


def page() -> str:
    """The whole reference as Markdown."""
    parts = [HEAD.strip(), *_section("top level", Scenario), _methods(), _operations()]
    return "\n\n".join(parts) + "\n"


def _section(name: str, model: type[Section]) -> Iterator[str]:
    """The table of one section, then those inside it."""
    inside = {key: found for key, field in model.model_fields.items() if (found := section_of(field.annotation))}
    title = "Top level" if name == "top level" else f"`[{name}]`"
    table = rows_of(model, without=inside if name == "top level" else ())
    yield f"## {title}\n\n{_first_paragraph(model)}\n\n" + "\n".join(table)
    for key, found in inside.items():
        yield from _section(key if name == "top level" else f"{name}.{key}", found)


def _methods() -> str:
    rows = [
        f"| `{name}` | {_subject(method)} | {_releases(method)} | "
        f"{'yes' if method.own_records else 'no'} | {'no' if method.moves_features else 'yes'} | "
        f"{', '.join(f'`{key}`' for key in method.keys) or '-'} |"
        for name, method in METHODS.items()
    ]
    titles = ("`method.release`, the default first", "auditor's own records", "tables", "keys of `[method]`")
    head = f"| `method.name` | | {' | '.join(titles)} |"
    return "## Methods\n\n" + "\n".join([head, f"| --- | --- |{' --- |' * len(titles)}", *rows])


def _releases(method: type[Method]) -> str:
    noised = {method.noised_release: " (with noise the default)"}
    return ", ".join(f"`{release}`{noised.get(release, '')}" for release in method.releases) or "-"


def _operations() -> str:
    rows = []
    for name, operation in OPERATIONS.items():
        rule = operation.rule
        paid = f"post-processing of {' or '.join(rule.paid_by)}" if rule.post_processing else f"{rule.moves(2):.4g}"
        opened = "developer" if rule.opened else "nobody"
        rows.append(f"| `{name}` | {_subject(type(operation))} | {paid} | {opened} |")
    head = "| operation | | sensitivity (two groups) | opened to |"
    return "## Operations, as a policy names them\n\n" + "\n".join([head, "| --- | --- | --- | --- |", *rows])


def _first_paragraph(thing: Any) -> str:
    return " ".join((thing.__doc__ or "").split("\n\n")[0].split())


def _subject(thing: type) -> str:
    """The first line of the file that a method or an operation has for itself."""
    return (sys.modules[thing.__module__].__doc__ or "").split("\n")[0].replace("|", "\\|")
