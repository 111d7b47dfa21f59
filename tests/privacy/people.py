"""People and requests for the tests of the gate: enrolled people, a plan, a request in order and something to open."""

from typing import Any

import numpy as np
import torch
from rules import RULES

from secure_fair.defaults import DELTA
from secure_fair.privacy.openings import PlainOpening
from secure_fair.privacy.plan import Plan, PlannedRelease, make_plan
from secure_fair.privacy.request import Request

IDS = [f"{number:032x}" for number in range(200)]  # of training records
TESTED = [f"test {number:027x}" for number in range(80)]
TABLE = [*IDS, *TESTED]
TEST = np.arange(len(IDS), len(TABLE))
MOMENTS = PlannedRelease("moment", count=3, participations=3, sensitivity=1.0)
EVALUATION = PlannedRelease("evaluation_counts", count=1, participations=1, sensitivity=1.0)
SCALE = 2**16


def plan_for(attribute: str = "gender", epsilon: float | None = 1.0, **options: Any) -> Plan:
    """Three moments and one evaluation, nothing in reserve."""
    settings = {
        "rules": RULES,
        "delta": DELTA,
        "evaluation": [EVALUATION],
        "evaluation_epsilon": epsilon,
        "reserve_releases": 0,
        **options,
    }
    return make_plan(attribute, settings.pop("releases", [MOMENTS]), epsilon=epsilon, **settings)


def ask(operation: str = "moment", **changes: Any) -> Request:
    """A request that is in order, except for the changes."""
    fields = {
        "operation": operation,
        "attribute": "gender",
        "records": TEST if operation == "evaluation_counts" else np.arange(len(IDS)),
        "receiver": "developer",
        "shape": (4, 1),
        "groups": 2,
    }
    return Request(**{**fields, **changes})


def value(*shape: int) -> PlainOpening:
    """Something to open."""
    return PlainOpening(torch.arange(float(np.prod(shape))).reshape(shape) / 8, SCALE)
