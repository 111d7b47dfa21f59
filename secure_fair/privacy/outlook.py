"""The outlook of a run at one auditor: what it may take, and what its people have spent for life so far."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from functools import cached_property
from itertools import product
from typing import Any

import numpy as np

from secure_fair.errors import BudgetExceeded
from secure_fair.privacy.accounting import gaussian_epsilon, gaussian_mu, mixed_epsilon
from secure_fair.privacy.plan import Plan, PlannedRelease
from secure_fair.privacy.policy import Policy
from secure_fair.privacy.rules import Rules
from secure_fair.privacy.spending import Spending
from secure_fair.privacy.tallies import distinct, tally

_ROUNDING = 1e-9  # relative, as the gate has it
_Sums = tuple[np.ndarray, np.ndarray, np.ndarray]  # mu^2, epsilon, delta of each person


@dataclass(frozen=True)
class Use:
    """One kind of release that a run may make.

    ``sigma`` and ``epsilon`` are None where it is exact; ``sigma`` is 0 where the noise is not added by the gate: in
    post-processing, in answers at random and in a training. ``epsilon`` is that of this kind alone.
    """

    attribute: str
    operation: str
    releases: int
    per_record: int
    sigma: float | None
    epsilon: float | None

    def line(self) -> str:
        """The use in words."""
        count = f"{self.releases} release{'' if self.releases == 1 else 's'}, {self.per_record} of a record at most"
        if self.epsilon is None or self.sigma is None:
            return f"{self.attribute}: {self.operation}: {count}, EXACT (no privacy)"
        return f"{self.attribute}: {self.operation}: {count}, sigma {self.sigma:.3g}, epsilon {self.epsilon:.3g}"


@dataclass(frozen=True)
class Account:
    """The largest epsilon that a person of the run has spent for life on one attribute, or on all together ("").

    ``spent`` is None where something was released exactly. ``limit`` is the policy's, ``room`` the epsilon of one more
    run that still fits for everybody; both None where there is no limit.
    """

    attribute: str
    spent: float | None
    limit: float | None
    room: float | None

    def line(self) -> str:
        """The account in words."""
        name = self.attribute or "all attributes together"
        spent = "EXACT releases" if self.spent is None else f"epsilon {self.spent:.3g}"
        if self.limit is None:
            return f"{name}: spent for life so far: {spent}; the policy sets no limit"
        return (
            f"{name}: spent for life so far: {spent} of {self.limit:.3g}; a run of epsilon {self.room:.3g} still fits"
        )


@dataclass(frozen=True)
class SpendingRows:
    """Rows in the spending, int64, of those whose records a run is about, one for each record: in training, in the
    test, the auditor's own."""

    training: np.ndarray
    test: np.ndarray
    own: np.ndarray

    @cached_property
    def everybody(self) -> np.ndarray:
        """All of them, once, ascending."""
        rows = np.concatenate([self.training, self.test, self.own])
        return tally(rows, int(rows.max(initial=-1)) + 1)[0]

    def times(self, rows: np.ndarray, *, evaluation: bool) -> np.ndarray:
        """The number of records of each of ``rows`` in training, or in the test."""
        return np.bincount(self.test if evaluation else self.training, minlength=int(rows.max(initial=-1)) + 1)[rows]


class Outlook:
    """The releases that a run may make at one auditor, beside what was spent before. No attribute enters into it."""

    def __init__(
        self,
        *,
        policy: Policy,
        plans: Mapping[str, Plan],
        rules: Rules,
        trainings: int,
        spending: Spending,
        people: SpendingRows,
    ) -> None:
        """``trainings``: how many on the auditor's own records, of each attribute."""
        self._policy = policy
        self._plans = plans
        self._rules = rules
        self._spending = spending
        self._people = people
        self.uses = [use for name, plan in plans.items() for use in _uses(name, plan, rules, trainings)]
        self.accounts = [self._account(name, policy.epsilon) for name in plans]
        if policy.total_epsilon is not None:
            self.accounts.append(self._account("", policy.total_epsilon))

    def lines(self) -> list[str]:
        """All of it in words: a line for each operation, then one for each account."""
        return [*(use.line() for use in self.uses), *(account.line() for account in self.accounts)]

    def facts(self) -> dict[str, Any]:
        """The same as JSON-ready values."""
        return {"releases": [asdict(use) for use in self.uses], "spent": [asdict(one) for one in self.accounts]}

    def check(self) -> None:
        """BudgetExceeded where the run as planned would take anybody beyond the policy's limits for life.

        A budget that ends in the middle of a run is spent on nothing. The gate goes on checking every release.
        """
        problems = [*self._beyond("epsilon", self._policy.epsilon, [[name] for name in self._plans])]
        problems += self._beyond("total_epsilon", self._policy.total_epsilon, [list(self._plans)])
        if problems:
            raise BudgetExceeded("; ".join(problems))

    def _beyond(self, key: str, limit: float | None, together: Sequence[Sequence[str]]) -> Iterator[str]:
        """Say of each list of attributes, whose costs add up under the limit, how far the run would go beyond it."""
        for names in together if limit is not None else ():
            spent = _largest(self._sums(key, names, self._people.everybody), self._policy.delta)
            most = self._afterwards(key, names)
            if limit is not None and most > limit * (1 + _ROUNDING):
                yield (
                    f"{', '.join(names)}: the run would take somebody from epsilon {spent:.4g} to {most:.4g} at delta "
                    f"{self._policy.delta:g}, and the policy's {key} for life is {limit:g}: plan a run of smaller "
                    "epsilon or delta, or raise the limit in the policy"
                )

    def _afterwards(self, key: str, names: Sequence[str]) -> float:
        """The largest epsilon after the run, if all goes as planned."""
        rows = self._people.everybody
        mu2, epsilon, delta = (sums.copy() for sums in self._sums(key, names, rows))
        for name, evaluation in product(names, (False, True)):
            plan, times = self._plans[name], self._people.times(rows, evaluation=evaluation)
            parts = times > 0
            for kind in plan.evaluation if evaluation else plan.releases:
                mu2[parts] += plan.mu2(kind) * (times[parts] / (plan.records_per_person or 1)) ** 2
                if self._rules[kind.operation].responds_at_random:  # paid for once for ever
                    given = self._spending.charged(name, kind.operation, rows[parts])
                    epsilon[parts] += math.inf if plan.epsilon is None else np.where(given, 0.0, plan.epsilon)
        own = np.isin(rows, self._people.own)
        for plan in self._plans.values():  # trainings count under every limit, whichever attribute they are for
            if plan.own_training(self._rules) is not None:
                epsilon[own] += math.inf if plan.epsilon is None else plan.epsilon
                delta[own] += plan.delta
        return _largest((mu2, epsilon, delta), self._policy.delta)

    def _sums(self, key: str, names: Sequence[str], rows: np.ndarray) -> _Sums:
        """The spending that counts under a limit: of one attribute, or of all that a person has."""
        return self._spending.of(names[0], rows) if key == "epsilon" else self._spending.over_attributes(rows)

    def _account(self, attribute: str, limit: float | None) -> Account:
        sums = self._sums("epsilon" if attribute else "total_epsilon", [attribute], self._people.everybody)
        delta = self._policy.delta
        spent = _largest(sums, delta)
        left = None if limit is None else room(sums, limit, delta)
        return Account(attribute, None if math.isinf(spent) else spent, limit, left)


def new_people() -> tuple[Spending, SpendingRows]:
    """Somebody in training, somebody in the test and a record of the auditor's own, of whom nothing was released."""
    spending = Spending([], lambda name: [])
    return spending, SpendingRows(*(spending.rows([name]) for name in ("training", "test", "own")))


def _uses(attribute: str, plan: Plan, rules: Rules, trainings: int) -> Iterator[Use]:
    training = plan.own_training(rules)
    if training is not None:
        sigma = None if plan.epsilon is None else 0.0
        yield Use(attribute, training, trainings, trainings, sigma, plan.epsilon)
    for kind in (*plan.releases, *plan.evaluation):
        yield Use(
            attribute,
            kind.operation,
            kind.count,
            kind.participations,
            _sigma(plan, kind),
            _epsilon(plan, kind, rules),
        )


def _sigma(plan: Plan, kind: PlannedRelease) -> float | None:
    multiplier = plan.multipliers[kind.operation]
    return None if multiplier is None else multiplier * kind.sensitivity


def _epsilon(plan: Plan, kind: PlannedRelease, rules: Rules) -> float | None:
    """The epsilon of one kind alone, at the plan's delta."""
    if rules[kind.operation].responds_at_random:
        return plan.epsilon
    mu2 = plan.mu2(kind)
    return None if math.isinf(mu2) else gaussian_epsilon(math.sqrt(mu2), plan.delta)


def _largest(sums: _Sums, delta: float) -> float:
    """The epsilon of the person who has spent most; 0 of nobody."""
    return max((mixed_epsilon(math.sqrt(mu2), more, lost, delta) for mu2, more, lost in _states(sums)), default=0.0)


def room(sums: _Sums, limit: float, delta: float) -> float:
    """The epsilon of Gaussian releases that still fit below ``limit`` for everybody."""
    left = [
        gaussian_mu(limit - more, delta - lost) ** 2 - mu2 if lost < delta else 0.0 for mu2, more, lost in _states(sums)
    ]
    least = min(left, default=gaussian_mu(limit, delta) ** 2)
    return gaussian_epsilon(math.sqrt(max(least, 0.0)), delta)


def _states(sums: _Sums) -> list[list[float]]:
    """The different (mu^2, epsilon, delta) that people have come to."""
    states: list[list[float]] = distinct(sums)[0].tolist()
    return states
