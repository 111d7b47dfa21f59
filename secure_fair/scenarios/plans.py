"""The records of each party and the releases of a scenario with the noise on each, before anything runs."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import replace

import numpy as np

from secure_fair.data.matching import places
from secure_fair.data.split import part_of, split
from secure_fair.data.table import Census, count_records
from secure_fair.errors import UsageError
from secure_fair.parties.plans import plan_for, trained_on_own, trains_adapter
from secure_fair.privacy.plan import Plan
from secure_fair.scenarios import assemble
from secure_fair.scenarios.schema import Scenario


def census(scenario: Scenario) -> Census:
    """The records and groups of the data set, and of the auditors' own, from their tables alone.

    UsageError where one is not here, and where the groups of the auditors' are not those that are measured.
    """
    counted, own = count_records(**scenario.data.asked), scenario.data.auditor
    if own is None:
        return counted
    theirs = count_records(**own.asked)
    for name, attribute in zip(scenario.data.sensitive, own.sensitive, strict=True):
        places(name, counted.groups[name], attribute, theirs.groups[attribute], own.groups)
    return replace(counted, separate=theirs.records)


def sizes(scenario: Scenario, counted: Census) -> dict[str, int]:
    """How many records go to developer, auditor and test."""
    found = counted.given
    if found is None:
        parts = split(counted.records, scenario.data.fractions, scenario.seed)
        found = {name: len(rows) for name, rows in parts.items()}
    return found if counted.separate is None else {**found, "auditor": counted.separate}


def check_sizes(scenario: Scenario, records: Mapping[str, int]) -> None:
    """UsageError with every key that these numbers of records are too few for."""
    secure, batch, training = scenario.secure, scenario.train.batch_size, records["developer"]
    needed = ["developer", "test"]
    if scenario.data.auditor_records == "own" or trains_adapter(assemble.run_config(scenario)):
        needed.append("auditor")
    problems = [f"data.split.{name}: no records fall to it; give it more" for name in needed if not records[name]]
    if 0 < training < batch:
        problems.append(f"train.batch_size: {batch} is more than the {training} training records; lower it")
    for name, part in secure.parts.items():
        if not any(len(part_of(np.arange(records[one]), part, scenario.seed)) for one in ("developer", "test")):
            problems.append(f"secure.auditors: no record falls to {name}'s part of the people; raise its records")
    if problems:
        raise UsageError(problems)


def checked(scenarios: Iterable[Scenario]) -> list[tuple[Scenario, Census]]:
    """The scenarios, each with the census of its data set; UsageError with all problems where one does not fit it."""
    known: dict[str, Census] = {}
    problems: list[str] = []
    found = []
    for scenario in scenarios:
        data = scenario.data.model_dump_json()
        known[data] = known.get(data) or census(scenario)
        found.append((scenario, known[data]))
        try:
            check_sizes(scenario, sizes(*found[-1]))
        except UsageError as error:
            problems += error.problems
    if problems:
        raise UsageError(list(dict.fromkeys(problems)))
    return found


def plans(scenario: Scenario, counted: Census | None = None) -> dict[str, Plan]:
    """The plan of each sensitive attribute; reads the data set's tables, but no picture. UsageError without data."""
    counted, config = counted or census(scenario), assemble.run_config(scenario)
    training = sizes(scenario, counted)["developer"]
    return {name: plan_for(config, name, len(counted.groups[name]), training) for name in scenario.data.sensitive}


def plans_text(scenario: Scenario, counted: Census | None = None) -> str:
    """The plans as tables for the terminal."""
    made = plans(scenario, counted)
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
