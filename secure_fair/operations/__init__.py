"""The operations that auditors may be asked for, one file each: the set of the files is the registry.

What has no file here has no rule, and is refused by every plan, policy and gate.
"""

from __future__ import annotations

import importlib
import pkgutil

import numpy as np

from secure_fair.errors import Refusal
from secure_fair.operations.common.ask import Ask
from secure_fair.operations.common.operation import Operation, make_request
from secure_fair.operations.common.state import PublicFacts
from secure_fair.privacy.plan import PlannedRelease
from secure_fair.privacy.request import Request
from secure_fair.privacy.rules import Rules


def _found() -> dict[str, Operation]:
    """Every operation by the name of its file, which must define it as ``OPERATION``, with a rule."""
    operations = {}
    for module in pkgutil.iter_modules(__path__):
        if module.ispkg:
            continue
        operation = getattr(importlib.import_module(f"{__name__}.{module.name}"), "OPERATION", None)
        if not isinstance(operation, Operation) or not hasattr(operation, "rule"):
            raise TypeError(f"operations/{module.name}.py defines no OPERATION with a rule")
        operations[module.name] = operation
    return operations


OPERATIONS = _found()
RULES: Rules = {name: operation.rule for name, operation in OPERATIONS.items()}


def operation_of(ask: Ask) -> Operation:
    """The operation that is asked for; Refusal where there is none of that name."""
    if ask.operation not in OPERATIONS:
        raise Refusal(f"operation {ask.operation!r} is unknown; known are {', '.join(OPERATIONS)}")
    return OPERATIONS[ask.operation]


def requests(ask: Ask, records: np.ndarray, facts: PublicFacts) -> list[Request]:
    """The requests as the gate judges them, made by each party from public values: nobody can understate them.

    The last is for what is opened; updates that stay on shares, which it depends on, have theirs before it.
    """
    operation = operation_of(ask)
    if ask.attribute not in facts.groups:
        raise Refusal(f"attribute {ask.attribute!r} is unknown; known are {', '.join(sorted(facts.groups))}")
    outside = records[(records < 0) | (records >= facts.enrolled)]
    if len(outside):
        raise Refusal(f"record {outside[0]}: the enrolled table has {facts.enrolled} records")
    if ask.attribute in facts.intersections and not operation.rule.on_intersections:
        raise Refusal(f"{ask.operation} of {ask.attribute}: ask for each of its attributes")
    operation.check(ask, records, facts)
    # an adversary that its auditor trained on its own pictures takes no step on the developer's
    accounted = () if facts.own_records else operation.accounts
    return [
        make_request(name, ask, OPERATIONS[name].shape(ask, records, facts), records, facts)
        for name in (*accounted, ask.operation)
    ]


def planned(operation: str, groups: int, count: int, participations: int, weight: float = 1.0) -> PlannedRelease:
    """``count`` releases of an attribute of so many ``groups``, each record in at most ``participations`` of them."""
    return PlannedRelease(operation, count, participations, RULES[operation].moves(groups), weight)
