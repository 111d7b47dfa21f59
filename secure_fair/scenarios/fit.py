"""Whether a scenario's plan fits a policy, before anybody is asked."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from secure_fair.errors import Refusal, UsageError
from secure_fair.operations import RULES
from secure_fair.parties.config import RunConfig
from secure_fair.parties.plans import own_trainings, plan_for, trains_adapter
from secure_fair.privacy.fit import misfits, reasons
from secure_fair.privacy.outlook import Outlook, new_people
from secure_fair.privacy.plan import Plan
from secure_fair.privacy.policy import Policy
from secure_fair.scenarios import assemble
from secure_fair.scenarios.forecast import check_forecast
from secure_fair.scenarios.plans import checked, plans
from secure_fair.scenarios.schema import Scenario
from secure_fair.sections import listed


def admit(scenarios: Iterable[Scenario]) -> None:
    """Refuse what a simulation of these scenarios would be refused for once it has begun: before a picture is read.

    UsageError where the records are too few, or the model cannot be made; Refusal or BudgetExceeded where ``[policy]``
    forbids a plan.
    """
    models: set[tuple[object, ...]] = set()
    for scenario, counted in checked(scenarios):
        model = (scenario.backbone.name, scenario.backbone.weights, scenario.data.image_size, scenario.lora.last_blocks)
        if model not in models:
            check_model(scenario)
            models.add(model)
        check_forecast(scenario, counted)
        made = plans(scenario, counted)
        for auditor in scenario.secure.auditors:
            fit(scenario.policy, scenario, {name: made[name] for name in auditor.attributes})


def check_model(scenario: Scenario) -> None:
    """UsageError where the device is not there, or the backbone and its weights cannot be used as the scenario says."""
    if scenario.train.device == "cuda":
        import torch

        if not torch.cuda.is_available():
            raise UsageError('train.device: "cuda" is not there (torch finds no GPU); use "auto" or "cpu"')
    backbone = scenario.backbone
    if backbone.weights != "embedded":  # what comes with the program was checked with the other keys
        from secure_fair.learning.backbone import check_backbone

        check_backbone(backbone.name, backbone.weights, scenario.data.image_size, scenario.lora.last_blocks)


def fit(policy: Policy, scenario: Scenario, asked: Mapping[str, Plan]) -> Outlook:
    """The outlook of a scenario's plans under this policy, for people of whom nothing has been released.

    Refusal or BudgetExceeded where they do not fit.
    """
    return fit_run(policy, assemble.run_config(scenario), asked)


def fit_run(policy: Policy, config: RunConfig, asked: Mapping[str, Plan]) -> Outlook:
    """The same of any run's plans."""
    found = misfits(policy, asked, RULES, config.train.batch_size, config.products, alone=config.alone)
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


def plans_of(scenario: Scenario, auditor: str | None, records: int | None) -> dict[str, Plan]:
    """The plans of what an auditor holds, of everything where nobody is named; ``records``: how many are for training,
    where the data set is not here."""
    attributes = _attributes(scenario, auditor)
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


def _attributes(scenario: Scenario, auditor: str | None) -> tuple[str, ...]:
    """The attributes that an auditor of the scenario holds; all of them where nobody is named."""
    held = {one.name: one.attributes for one in scenario.secure.auditors}
    if auditor is None:
        return scenario.data.sensitive
    if auditor not in held:
        raise UsageError(f"--auditor {auditor}: the scenario's auditors are {listed(held)}")
    return held[auditor]
