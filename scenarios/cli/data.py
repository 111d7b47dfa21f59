"""`secure-fair data`: looking at a data set before it is used."""

from __future__ import annotations

import click

from scenarios.cli.options import Output, override_option, shared_options


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
    import tempfile
    from pathlib import Path

    import numpy as np

    from scenarios.progress import reporter
    from scenarios.schema import Scenario
    from scenarios.tables import text_table
    from secure_fair.data import load_table

    scenario = Scenario.load(source, overrides)
    settings = scenario.data
    follow = reporter(output.format)
    try:
        with tempfile.TemporaryDirectory(prefix="secure-fair-") as cache:
            table = load_table(
                settings.dataset,
                root=None if settings.root is None else Path(settings.root),
                target=settings.target,
                sensitive=settings.sensitive,
                image_size=settings.image_size,
                cache=Path(cache),
                limit=settings.limit,
                on_bad="skip",  # a check lists every bad file instead of stopping at them
                progress=follow.progress,
                **settings.dataset_options,
            )
            count = len(table.digests)
    finally:
        follow.close()
    attributes = {"target": table.target, **table.sensitive}
    counts = {
        (role, attribute.name): dict(
            zip(
                attribute.groups,
                np.bincount(attribute.codes, minlength=len(attribute.groups)).tolist(),
                strict=True,
            )
        )
        for role, attribute in attributes.items()
    }
    bad = [str(problem) for problem in table.skipped]
    tree = {
        "records": count,
        "bad": bad,
        "target": counts["target", table.target.name],
        "sensitive": {name: groups for (role, name), groups in counts.items() if role != "target"},
    }
    rows = [
        ("target" if role == "target" else "sensitive", name, group, str(number), f"{number / max(count, 1):.3f}")
        for (role, name), groups in counts.items()
        for group, number in groups.items()
    ]
    lines = [f"{count} records, {len(bad)} bad", text_table(("", "attribute", "group", "records", "share"), rows)]
    output.result(tree, "\n".join(lines + [f"bad: {problem}" for problem in bad]))
