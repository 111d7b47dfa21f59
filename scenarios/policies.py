"""Policy files: a first one, the reference of their keys, and whether a scenario's plan fits one."""

from __future__ import annotations

import textwrap
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import tomli_w
from pydantic.fields import FieldInfo

from parties.plans import own_trainings, plan_for, trains_adapter
from scenarios import assemble
from scenarios.plans import plans
from scenarios.reference import rows_of
from scenarios.schema import Scenario
from secure_fair.errors import Refusal, UsageError
from secure_fair.operations import OPERATIONS, RULES
from secure_fair.privacy.fit import misfits, reasons
from secure_fair.privacy.outlook import Outlook, new_people
from secure_fair.privacy.plan import Plan
from secure_fair.privacy.policy import Policy
from secure_fair.sections import listed

EXAMPLES: dict[str, Any] = {
    "epsilon": 1.0,
    "total_epsilon": 2.0,
    "delta": 1e-5,
    "allow_exact": False,
    "operations": ["group_counts", "moment", "evaluation_counts"],
    "minimum_batch": 32,
    "max_releases": 100,
    "max_records_per_person": 1,
    "developer": "may deviate",
    "row_bounds": "check",
}
WRITTEN = (
    "epsilon",
    "total_epsilon",
    "delta",
    "allow_exact",
    "minimum_batch",
    "developer",
    "row_bounds",
)  # the others are left as comments
WIDTH = 120

PAGE = """# An auditor's policy

Made by `secure-fair policy reference`. What an auditor lets out is for its own file to say, and never for the scenario:
`secure-fair party auditor` does not start without `--policy FILE`.

    secure-fair policy init policy.toml                # safe limits, every key with its meaning
    secure-fair policy check policy.toml               # every mistake at once
    secure-fair policy check policy.toml scenario.toml # whether this plan fits a first run
    secure-fair policy show policy.toml                # as the gate takes it

A plan that does not fit is refused before anything is served, with one message at both parties and a line in the ledger
for each operation: exit code 4, or 3 where a limit for life would be exceeded.

In a simulation (`secure-fair run`, `secure-fair sweep`) the scenario's `[policy]` has the same keys and stands for
every auditor's file. There, and nowhere else, `allow_exact` is implied where the scenario has no `privacy.epsilon` and
its `[policy]` no limit; the run warns of exact releases."""


def load(file: Path) -> Policy:
    """An auditor's file."""
    return Policy.load(file, known=OPERATIONS)


def template() -> str:
    """The text of a first policy: safe limits, and all other keys as comments."""
    lines = ["# The policy of an auditor: what its gate lets out, whatever a scenario asks for."]
    for key, field in Policy.model_fields.items():
        lines += ["", *textwrap.wrap(_meaning(field), WIDTH, initial_indent="# ", subsequent_indent="# ")]
        lines.append(("" if key in WRITTEN else "# ") + example(key))
    return "\n".join(lines) + "\n"


def text(policy: Policy) -> str:
    """A policy with every key, those without a value as comments."""
    values = policy.as_mapping()
    return "\n".join(f"# {key}: none" if value is None else _assignment(key, value) for key, value in values.items())


def page() -> str:
    """The reference of every key as Markdown."""
    table = "\n".join(rows_of(Policy))
    examples = "\n\n".join(
        f"**`{key}`.** {_meaning(field)}\n\n    {example(key)}" for key, field in Policy.model_fields.items()
    )
    return f"{PAGE}\n\n## Every key\n\n{table}\n\n## Examples\n\n{examples}\n"


def example(key: str) -> str:
    """A line that sets the key."""
    return _assignment(key, EXAMPLES[key])


def fit(
    policy: Policy, source: str, overrides: Iterable[str], *, auditor: str | None = None, records: int | None = None
) -> Outlook:
    """The outlook of a scenario under this policy, for people of whom nothing has been released.

    Refusal or BudgetExceeded where it does not fit; ``records``: how many are for training, where the data set is not
    here.
    """
    scenario = Scenario.load(source, overrides)
    asked = _plans(scenario, _attributes(scenario, auditor), records)
    config = assemble.run_config(scenario)
    found = misfits(policy, asked, RULES, scenario.train.batch_size, config.computed_intersections)
    if found:
        raise Refusal("; ".join(reasons(found)))
    spending, people = new_people()
    outlook = Outlook(
        policy=policy,
        plans=asked,
        rules=RULES,
        trainings=own_trainings(config) or int(trains_adapter(config)),
        spending=spending,
        people=people,
    )
    outlook.check()
    return outlook


def _attributes(scenario: Scenario, auditor: str | None) -> tuple[str, ...]:
    """The attributes that an auditor of the scenario holds; all of them where nobody is named."""
    held = {one.name: one.attributes for one in scenario.secure.auditors}
    if auditor is None:
        return scenario.data.sensitive
    if auditor not in held:
        raise UsageError(f"--auditor {auditor}: the scenario's auditors are {listed(held)}")
    return held[auditor]


def _plans(scenario: Scenario, attributes: Iterable[str], records: int | None) -> dict[str, Plan]:
    if records is not None:
        config = assemble.run_config(scenario)
        return {name: plan_for(config, name, 2, records) for name in attributes}
    try:
        found = plans(scenario)
    except UsageError as error:
        raise UsageError(
            [*error.problems, "the plan needs the number of training records: give it with --records N"]
        ) from None
    return {name: found[name] for name in attributes}


def _meaning(field: FieldInfo) -> str:
    return " ".join((field.description or "").split())


def _assignment(key: str, value: Any) -> str:
    return tomli_w.dumps({key: value}, indent=0).strip().replace("[\n", "[").replace(",\n]", "]").replace(",\n", ", ")
