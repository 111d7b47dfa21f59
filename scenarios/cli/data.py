"""`secure-fair data`: looking at a data set before it is used."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from scenarios.cli.options import Output, override_option, shared_options

if TYPE_CHECKING:
    from secure_fair.data.records import Attribute


@click.group()
def data() -> None:
    """Look at data sets."""


@data.command()
@click.argument("source", metavar="SCENARIO")
@override_option
@shared_options
def check(source: str, overrides: tuple[str, ...], output: Output) -> None:
    """Read the data of SCENARIO: list every bad file, and count the records of each class and group.

    This is the view of whoever simulates all parties: it opens pictures and attributes alike.
    """
    from scenarios.launch import load
    from scenarios.progress import reporter
    from scenarios.schema import Scenario
    from secure_fair.report.tables import Table

    scenario = Scenario.load(source, (*overrides, "data.on_bad=skip"))  # to list every bad file, not stop at them
    follow = reporter(output.format)
    try:
        table = load(scenario, follow)
    finally:
        follow.close()
    bad = [str(problem) for problem in table.skipped]
    sensitive = {name: group_sizes(held) for name, held in table.sensitive.items()}
    roles = [("target", table.target.name, group_sizes(table.target))]
    roles += [("sensitive", name, sizes) for name, sizes in sensitive.items()]
    rows = tuple(
        (role, name, group, str(size), f"{size / max(len(table), 1):.3f}")
        for role, name, sizes in roles
        for group, size in sizes.items()
    )
    shown = Table(("role", "attribute", "group", "records", "share"), rows)
    lines = [f"{len(table)} records, {len(bad)} bad", shown.text(), *(f"bad: {problem}" for problem in bad)]
    tree = {"records": len(table), "bad": bad, "target": roles[0][2], "sensitive": sensitive}
    output.result(tree, "\n".join(lines))


def group_sizes(attribute: Attribute) -> dict[str, int]:
    """Records of each group."""
    return {group: int((attribute.codes == code).sum()) for code, group in enumerate(attribute.groups)}
