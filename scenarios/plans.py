"""The releases that a scenario will make and the noise on each, before anything runs."""

from __future__ import annotations

from pathlib import Path

from parties.plans import plan_for
from scenarios import assemble
from scenarios.schema import Scenario
from secure_fair.data.table import count_records
from secure_fair.privacy.plan import Plan


def plans(scenario: Scenario) -> dict[str, Plan]:
    """The plan of each sensitive attribute; reads the data set's tables, but no picture. UsageError without data."""
    data = scenario.data
    count, groups = count_records(
        data.dataset,
        root=None if data.root is None else Path(data.root),
        target=data.target,
        sensitive=data.sensitive,
        limit=data.limit,
        **data.dataset_options,
    )
    training = round(count * data.fractions["developer"])
    config = assemble.run_config(scenario)
    return {name: plan_for(config, name, len(groups[name]), training) for name in data.sensitive}


def plans_text(scenario: Scenario) -> str:
    """The plans as tables for the terminal."""
    return "\n\n".join(plan.table() for plan in plans(scenario).values())
