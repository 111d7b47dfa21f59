"""The security half of a trade-off: the strongest attacker's power by a run's releases, beside accuracy and gap."""

from __future__ import annotations

from typing import Any

from secure_fair.attacks.common import secret_batches, strongest
from secure_fair.attacks.common.strongest import Strongest, responses_area
from secure_fair.report.attacks import ALARMS, hit_rate
from secure_fair.scenarios.schema import Scenario


def won(scenario: Scenario, attacker: Strongest, records: int) -> dict[str, Any]:
    """The area under its curve and its hit rates on the developer's records that were trained on, the first that it
    saw; where the auditor has trained an adapter, on the auditor's own.

    ``area_ceiling``: of that area by the epsilon asked for; 1 without noise, a half where nothing is released.
    """
    on_trained = attacker if attacker.trained else attacker.first(records)
    privacy, ceiling = scenario.privacy, 1.0
    if scenario.method.release is None:
        ceiling = 0.5
    elif privacy is not None and privacy.epsilon is not None:
        epsilon, delta = privacy.epsilon, privacy.delta
        if attacker.answered:
            ceiling = responses_area(epsilon, attacker.groups)
        else:
            ceiling = (secret_batches if attacker.trained else strongest).most_area(epsilon, delta)
    hits = {hit_rate(alarms): on_trained.hit_rate(alarms) for alarms in ALARMS}
    return {"records": on_trained.records, "area": on_trained.area(), "area_ceiling": ceiling, **hits}
