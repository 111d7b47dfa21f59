"""A run's summary of the form that the launcher writes."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from secure_fair.fairness import metrics, sampling
from secure_fair.fairness.audit_table import audit_table
from secure_fair.fairness.audits import AttributeAudit


def fairness(seed: int, gap: float, names: tuple[str, ...]) -> dict[str, Any]:
    """The fairness of 400 drawn predictions whose selection rates differ by about ``gap``."""
    generator = np.random.default_rng(seed)
    y, g = generator.integers(0, 2, 400), generator.integers(0, len(names), 400)
    p = (generator.random(400) < 0.3 + 0.2 * y + gap * g / (len(names) - 1)).astype(int)
    counts = metrics.confusion_counts(y, p, g, (2, len(names)))
    further = {
        "null_floor": metrics.null_floor(counts),
        "intervals": sampling.gap_intervals(counts),
        "group_intervals": sampling.group_intervals(counts, names),
    }
    return metrics.fairness(counts, names) | further


def released(seed: int, gap: float, names: tuple[str, ...]) -> dict[str, Any]:
    """The same as parties see it: without what the experimenter alone can tell."""
    found = fairness(seed, gap, names)
    counts = np.random.default_rng(seed).integers(20, 90, (4, len(names))).astype(float)
    audit = audit_table(AttributeAudit(counts, 3.0, names, (True,) * len(names), int(counts.sum())))
    return {
        name: value for name, value in found.items() if name not in ("null_floor", "intervals", "group_intervals")
    } | {"audit": audit}


def one(method: str, release: str | None, gap: float) -> dict[str, Any]:
    """The summary of one method."""
    cost = {"moment": {"calls": 4, "rounds": 12, "bytes_sent": 400_000, "bytes_received": 410_000, "seconds": 1.5}}
    opening = {"operation": "moment", "attribute": "gender", "auditor": "auditor", "receiver": "developer"}
    used = method != "erm"
    return {
        "status": "ok",
        "scenario": "faces <demo>",
        "method": method,
        "release": release,
        "mode": "secure",
        "seed": 3,
        "records": {"training": 1200, "test": 400},
        "task": {"dataset": "faces", "target": "old <50", "classes": ["no", "yes"]},
        "intervals": {"accuracy": [0.75, 0.83], "balanced_accuracy": None},
        "past": None,
        "utility": {"accuracy": 0.8 - gap / 10, "balanced_accuracy": 0.79, "auroc": 0.88},
        "fairness": {"gender": fairness(1, gap, ("male", "female")), "race": fairness(2, gap, ("a & b", "> $50", "$"))},
        "fairness_released": {"gender": released(4, gap, ("male", "female"))} if used else {},
        "privacy": {
            "attributes": {
                "gender": {
                    "epsilon": 0.987,
                    "exact": False,
                    "delta": 1e-5,
                    "releases": 6,
                    "adjacency": "substitution of one person's gender",
                },
                "race": {"epsilon": None, "exact": True, "delta": 1e-5, "releases": 4, "adjacency": "substitution"},
            }
            if used
            else {},
            "records": {},
        },
        "cost": {**(cost if used else {}), "training_seconds": 61.5, "secure_seconds": 1.5 if used else 0.0},
        "openings": [
            {**opening, "releases": 4, "numbers": 64, "exact": False, "sigma": 11.9512},
            {**opening, "attribute": "race", "releases": 4, "numbers": 320, "exact": True, "sigma": None},
        ]
        if used
        else [],
        "security": {
            "engine": "CrypTen on shares",
            "clip": "check",
            "warnings": ["exact releases (moment): attributes can be computed from them"] if used else [],
        },
    }


@pytest.fixture
def drawn_fairness() -> Callable[[int, float, tuple[str, ...]], dict[str, Any]]:
    """Draws the fairness of an attribute with groups of these names."""
    return fairness


@pytest.fixture
def summary() -> dict[str, Any]:
    """A main method and a baseline beside it."""
    return {**one("parity", "moments", 0.08), "compare": [one("erm", None, 0.3)]}
