"""The releases that a scenario will make and the noise on each, before anything runs."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from parties.plans import plan_for, trained_on_own
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
    made = plans(scenario)
    return "\n\n".join([*(plan.table() for plan in made.values()), *own_records_lines(scenario, made)])


def own_records_lines(scenario: Scenario, made: Mapping[str, Plan]) -> list[str]:
    """For each auditor that trains for several attributes on its own records: what that adds up to for each record."""
    config, lines = assemble.run_config(scenario), []
    for auditor in config.auditors:
        trained = trained_on_own(config, auditor)
        if len(trained) < 2:
            continue
        epsilons = [made[attribute].epsilon for attribute in trained]
        total = "EXACT (no privacy)"
        if None not in epsilons:
            delta = sum(made[attribute].delta for attribute in trained)
            total = f"epsilon {sum(epsilon or 0.0 for epsilon in epsilons):g}, delta {delta:g}"
        lines.append(f"{auditor}'s own records, {', '.join(trained)} together: {total}")
    return lines
