"""Budgets: the price of a release, and whether every record in it can pay, in this run and for life."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

import numpy as np

from secure_fair.errors import BudgetExceeded
from secure_fair.privacy.accounting import gaussian_mu, mixed_epsilon
from secure_fair.privacy.plan import Plan
from secure_fair.privacy.policy import Policy
from secure_fair.privacy.receipt import Charge
from secure_fair.privacy.request import Grant, Request
from secure_fair.privacy.rules import Rules
from secure_fair.privacy.spending import Spending
from secure_fair.privacy.tally import Tally

ROUNDING = 1e-9  # relative slack of sums of mu^2 in float64


class Budgets:
    """The plan's pools of one run, and the policy's budgets for life. ``rows``: the records' rows in ``spending``."""

    def __init__(
        self,
        auditor: str,
        plans: Mapping[str, Plan],
        rules: Rules,
        policy: Policy,
        tally: Tally,
        spending: Spending,
        rows: np.ndarray,
        held: np.ndarray,
    ) -> None:
        self._auditor = auditor
        self._plans = plans
        self._rules = rules
        self._policy = policy
        self._tally = tally
        self._spending = spending
        self._rows = rows
        self._held = held

    def price(self, request: Request) -> tuple[float | None, Charge]:
        """The sigma in units of the opened value (None: exact), and what each record is charged."""
        rule, plan = self._rules[request.operation], self._plans[request.attribute]
        if rule.post_processing:
            return 0.0, Charge()
        if rule.responds_at_random:  # its noise is in the answers
            return (None, Charge(epsilon=math.inf)) if plan.epsilon is None else (0.0, Charge(epsilon=plan.epsilon))
        multiplier = plan.multipliers[request.operation]
        if multiplier is None:
            return None, Charge(mu2=math.inf)
        return multiplier * rule.moves(request.groups), Charge(mu2=multiplier**-2)

    def paying(self, request: Request) -> np.ndarray:
        """The records of the request that are held here; but a randomised response is drawn once for ever, and paid
        for once."""
        records = request.records[self._held[request.records]]
        if not self._rules[request.operation].responds_at_random:
            return records
        return records[~self._spending.responded(request.attribute, self._rows[records])]

    def check(self, request: Request, charged: np.ndarray, charge: Charge, beside: Sequence[Grant] = ()) -> None:
        """BudgetExceeded unless every record that is charged has room in this run's pool and for life.

        ``beside``: what is released along with it, and costs its records something too.
        """
        if charge == Charge():
            return
        attribute, plan = request.attribute, self._plans[request.attribute]
        evaluation = plan.is_evaluation(request.operation)
        cap = plan.mu2_cap(request.operation)
        spent = self._tally.pool(attribute, evaluation)[charged]
        most = float(spent.max(initial=0.0)) + sum(
            other.charge.mu2
            for other in beside
            if other.request.attribute == attribute and plan.is_evaluation(other.request.operation) == evaluation
        )
        if not math.isinf(cap) and most + charge.mu2 > cap * (1 + ROUNDING):
            raise BudgetExceeded(
                f"{attribute}: the plan's budget of mu^2 = {cap:.4g} per record is spent up to {most:.4g}, another "
                f" {request.operation} costs {charge.mu2:.4g}: go on without it, or plan more releases"
            )
        self.check_lifetime(attribute, self._rows[charged], charge, beside)

    def check_lifetime(self, attribute: str, rows: np.ndarray, charge: Charge, beside: Sequence[Grant] = ()) -> None:
        """BudgetExceeded where a person would go beyond what the policy allows for life."""
        on_this = [other.charge for other in beside if other.request.attribute == attribute]
        on_any = [other.charge for other in beside]
        for limit, name, spent, others in (
            (self._policy.epsilon, "epsilon", lambda: self._spending.of(attribute, rows), on_this),
            (self._policy.total_epsilon, "total_epsilon", lambda: self._spending.over_attributes(rows), on_any),
        ):
            if limit is None:
                continue
            whole = sum(others, charge)
            mu2, epsilon, delta = spent()
            epsilon, delta = epsilon + whole.epsilon, delta + whole.delta
            if np.any(mu2 + whole.mu2 > self._mu2_caps(epsilon, delta, limit) * (1 + ROUNDING)):
                what = "an exact release" if charge.exact else "this release"
                raise BudgetExceeded(
                    f"{attribute}: {what} would take a person beyond the policy's {name} = {limit:g} at delta = "
                    f"{self._policy.delta:g} (all runs of {self._auditor} together): leave it out, add noise or change "
                    "the policy"
                )

    def _mu2_caps(self, epsilon: np.ndarray, delta: np.ndarray, limit: float) -> np.ndarray:
        """The mu^2 that each record may reach, given what adds up beside it; negative where there is no room at all."""
        pairs, which = np.unique(np.stack([epsilon, delta], axis=1), axis=0, return_inverse=True)
        caps = np.empty(len(pairs))
        for place, (added, lost) in enumerate(pairs):
            room = self._policy.delta - lost
            if added > limit * (1 + ROUNDING) or room < 0:
                caps[place] = -1.0
            elif room == 0:
                caps[place] = 0.0
            else:
                caps[place] = gaussian_mu(max(limit - added, 0.0), room) ** 2
        return caps[which.reshape(-1)]


def largest_epsilon(mu2: np.ndarray, added: np.ndarray, delta: float) -> float:
    """The largest epsilon of any record, from mu^2 and added epsilon of each."""
    states = np.unique(np.stack([mu2, added], axis=1), axis=0)
    return max((mixed_epsilon(math.sqrt(square), more, 0.0, delta) for square, more in states.tolist()), default=0.0)
