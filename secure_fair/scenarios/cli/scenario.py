"""`secure-fair scenario`: the library of scenarios, and checking one before it runs."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from secure_fair.scenarios.cli.options import Output, override_option, scenario_argument, shared_options


@click.group()
def scenario() -> None:
    """List, show and validate scenarios."""


@scenario.command("list")
@shared_options
def list_(output: Output) -> None:
    """Name every scenario that comes with the program."""
    from secure_fair import toml_text
    from secure_fair.report.tables import Table
    from secure_fair.scenarios import files

    entries = {name: toml_text.parse(text, name).get("description", "") for name, text in files.library().items()}
    output.result(entries, Table(("scenario", "description"), tuple(entries.items())).text())


@scenario.command()
@scenario_argument
@override_option
@shared_options
def show(source: str, overrides: tuple[str, ...], output: Output) -> None:
    """Print SCENARIO as resolved, with defaults (unset keys are left out), and what is released with how much noise.

    Then what it will cost: rounds, bytes, memory and seconds of each secure operation, over the scenario's link.
    """
    from secure_fair.errors import UsageError
    from secure_fair.scenarios.schema import Scenario

    loaded = Scenario.load(source, overrides, output.note)
    tree = loaded.model_dump(mode="json", exclude_none=True)
    from secure_fair.scenarios.forecast import forecast_of, forecast_text, forecast_tree
    from secure_fair.scenarios.plans import census, plans_text

    cost: dict[str, Any] = {}
    try:
        counted = census(loaded)
    except UsageError as error:  # the scenario is right by itself; only its data set is not here yet
        plan = f"the plan of releases needs the data set: {error.problems[0]}"
    else:
        lines = forecast_of(loaded, counted)
        cost = {"forecast": forecast_tree(loaded, lines)}
        plan = f"{plans_text(loaded, counted)}\n\n{forecast_text(loaded, lines)}"
    comment = "\n".join(f"# {line}".rstrip() for line in plan.splitlines())
    output.result({**tree, "plan": plan, **cost}, f"{loaded.to_toml().rstrip()}\n\n{comment}")


@scenario.command()
@scenario_argument
@override_option
@shared_options
def validate(source: str, overrides: tuple[str, ...], output: Output) -> None:
    """Check every key of SCENARIO, alone and with the others, and against the tables of its data set if it is here."""
    from secure_fair.scenarios.plans import checked
    from secure_fair.scenarios.schema import Scenario

    loaded = Scenario.load(source, overrides, output.note)
    root = loaded.data.root
    if root is None or Path(root).is_dir():
        checked((*loaded.compared, loaded))
    else:
        output.note(f"data.root: {root} is not here; whether the data set fits was not checked")
    output.result(
        {"valid": True, "name": loaded.name, "hash": loaded.hash()}, f"{loaded.name} is valid (hash {loaded.hash()})"
    )


@scenario.command()
@shared_options
def reference(output: Output) -> None:
    """Describe every key of a scenario: type, default, meaning; every method and every operation."""
    from secure_fair.scenarios.reference import page

    text = page()
    output.result({"markdown": text}, text.rstrip())


@scenario.command()
@shared_options
def schema(output: Output) -> None:
    """Print the JSON schema of scenarios, by which editors complete and check them."""
    import json

    from secure_fair.scenarios.schema import Scenario

    tree = Scenario.model_json_schema()
    output.result(tree, json.dumps(tree, indent=2))
