"""One attribute's part of an audit as plain numbers: its groups with their rates, and all metrics between them."""

from __future__ import annotations

import math
from typing import Any

from secure_fair.fairness.audits import SELECTION, AttributeAudit, Estimate, metrics


def audit_table(audit: AttributeAudit, selection: str = SELECTION) -> dict[str, Any]:
    """Groups and metrics, JSON-ready; None where undefined. ``selection``: what the selection rate is called."""
    groups = []
    ratios, deviations = audit.impact_ratios(), audit.standard_deviations()
    rates = {name: audit.rate(name, sampling=True) for name in audit.rates}
    for group, name in enumerate(audit.names):
        row: dict[str, Any] = {
            "group": name,
            "records": number(float(audit.sizes[group])),
            "share": number(float(audit.sizes[group]) / audit.total),
            "included": bool(audit.included[group]),
            "reason": audit.reason(group),
        }
        for rate, found in rates.items():
            ends = [number(float(found.low[group])), number(float(found.high[group]))]
            row[called(rate, selection)] = {"value": number(float(found.value[group])), "interval": ends}
        row["impact ratio"] = estimate_tree(ratios[group])
        row["standard deviations"] = estimate_tree(deviations[group])
        groups.append(row)
    found_metrics = {called(name, selection): estimate_tree(one) for name, one in metrics(audit).items()}
    return {"groups": groups, "metrics": found_metrics, "sigma": audit.sigma, "smallest_share": audit.smallest}


def called(name: str, selection: str) -> str:
    """A rate's or metric's name where decisions are scores above the median."""
    return name.replace(SELECTION, selection)


def estimate_tree(estimate: Estimate) -> dict[str, Any]:
    """The number, its interval for people like these, and that for these people, by noise alone."""
    return {
        "value": number(estimate.value),
        "interval": [number(end) for end in estimate.beyond],
        "these_people": [number(end) for end in estimate.here],
    }


def number(value: float) -> float | None:
    """A finite number, or None."""
    return float(value) if math.isfinite(value) else None
