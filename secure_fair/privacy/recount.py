"""The spending of one run counted again, from the noise in its ledger's receipts and not from what was charged.

Who reads a ledger need not believe its charges: sigma, the people and the operation's rule say what a release costs.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from secure_fair.privacy.accounting import gaussian_advantage, mixed_epsilon
from secure_fair.privacy.entries import charge_of, is_training, paying
from secure_fair.privacy.rules import Rules

TOLERANCE = 1e-6  # relative, of charges and sums


@dataclass(frozen=True)
class Recount:
    """The account of one attribute: whoever has paid most. ``wrong``: releases whose charge is less than their noise
    says, by their number."""

    attribute: str
    releases: int
    mu: float
    epsilon: float
    wrong: tuple[int, ...]

    @property
    def advantage(self) -> float:
        """The most by which an attacker tells two values of the attribute apart, by the Gaussian releases."""
        return gaussian_advantage(self.mu)


def recounts(entries: Sequence[Mapping[str, Any]], rules: Rules, delta: float) -> dict[str, Recount]:
    """The accounts of a run's ``entries`` by attribute; trainings on the auditor's own records have none here."""
    planned = [dict(entry) for entry in entries if entry["kind"] == "planned" and not is_training(dict(entry))]
    return {
        name: _recount(name, [entry for entry in planned if entry["attribute"] == name], rules, delta)
        for name in dict.fromkeys(entry["attribute"] for entry in planned)
    }


def _recount(attribute: str, planned: Sequence[dict[str, Any]], rules: Rules, delta: float) -> Recount:
    size = 1 + max((int(paying(entry, None).places.max(initial=-1)) for entry in planned), default=0)
    mu2, added, wrong = np.zeros(size), np.zeros(size), []
    for entry in planned:
        payers, charge = paying(entry, None), charge_of(entry)
        cost = cost_of(entry, rules, groups_of(planned, rules))
        mu2[payers.places] += cost * payers.times.astype(np.float64) ** 2
        added[payers.places] = np.maximum(added[payers.places], charge.epsilon)
        if charge.mu2 < cost * (1 - TOLERANCE):
            wrong.append(int(entry["number"]))
    states = np.unique(np.stack([mu2, added], axis=1), axis=0).tolist()
    epsilon = max((mixed_epsilon(math.sqrt(square), more, 0.0, delta) for square, more in states), default=0.0)
    return Recount(attribute, len(planned), math.sqrt(mu2.max(initial=0.0)), epsilon, tuple(wrong))


def mu_of(entries: Sequence[dict[str, Any]], rules: Rules, groups: int) -> float:
    """The mu of these planned releases together, to whoever pays most for them; infinite where one is exact."""
    size = 1 + max((int(paying(entry, None).places.max(initial=-1)) for entry in entries), default=0)
    mu2 = np.zeros(size)
    for entry in entries:
        payers = paying(entry, None)
        mu2[payers.places] += cost_of(entry, rules, groups) * payers.times.astype(np.float64) ** 2
    return math.sqrt(mu2.max(initial=0.0))


def cost_of(entry: Mapping[str, Any], rules: Rules, groups: int) -> float:
    """The mu^2 of a release to a person with one record in it, by its noise; infinite where it is exact.

    0 for what is post-processing, and for answers at random, whose noise is in the answers.
    """
    rule = rules[entry["operation"]]
    if rule.post_processing or rule.responds_at_random:
        return 0.0
    sigma = entry["sigma"]
    return math.inf if not sigma else float((rule.moves(groups) / sigma) ** 2)


def groups_of(planned: Sequence[Mapping[str, Any]], rules: Rules) -> int:
    """The groups of what the releases are about, by the columns that were opened; 3, which costs no less, where none
    of them tells."""
    for entry in planned:
        if rules[entry["operation"]].by_group:
            return max(2, int(entry["shape"][1]))
    return 3
