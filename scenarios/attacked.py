"""The security half of a trade-off: the strongest attacker's power by a run's releases, beside accuracy and gap."""

from __future__ import annotations

from typing import Any

from scenarios.schema import Scenario
from secure_fair.attacks.common.strongest import Strongest, most_area, responses_area
from secure_fair.report.attacks import ALARMS, hit_rate


def won(scenario: Scenario, attacker: Strongest, records: int) -> dict[str, Any]:
    """The area under its curve and its hit rates on the records that were trained on, the first that it saw.

    ``area_ceiling``: of that area by the epsilon asked for; 1 without noise, a half where nothing is released.
    """
    on_trained = attacker.first(records)
    privacy, ceiling = scenario.privacy, 1.0
    if scenario.method.release is None:
        ceiling = 0.5
    elif privacy is not None and privacy.epsilon is not None:
        responds = scenario.method.release == "attributes"
        epsilon, delta = privacy.epsilon, privacy.delta
        ceiling = responses_area(epsilon, attacker.groups) if responds else most_area(epsilon, delta)
    hits = {hit_rate(alarms): on_trained.hit_rate(alarms) for alarms in ALARMS}
    return {"records": records, "area": on_trained.area(), "area_ceiling": ceiling, **hits}
