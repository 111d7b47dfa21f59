"""The budgets of one run: sums of what it has spent, the plans' pools, and the policy's limits for life."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

import numpy as np

from secure_fair.errors import BudgetExceeded
from secure_fair.privacy.accounting import gaussian_mu, mixed_epsilon
from secure_fair.privacy.entries import Charge, Payers
from secure_fair.privacy.plan import Plan
from secure_fair.privacy.policy import Policy
from secure_fair.privacy.request import Grant, Request
from secure_fair.privacy.rules import Rule
from secure_fair.privacy.spending import Spending
from secure_fair.privacy.tallies import distinct

_ROUNDING = 1e-9  # relative slack of sums of mu^2 in float64


class RunSums:
    """Sums of what one run has released so far, by attribute and by person, at the place of its first record."""

    def __init__(self, plans: Mapping[str, Plan], held: np.ndarray, people: np.ndarray) -> None:
        """``held``: bool (n,), the records of the table whose people are charged here; ``people``: int64 (n,), of each
        record its person's first one."""
        self.releases: dict[str, int] = dict.fromkeys(plans, 0)
        self.paid: set[tuple[str, str]] = set()  # attribute and operation of what was accounted for
        self.answered: set[str] = set()  # queries
        self.trained: dict[str, Charge] = {}  # by trainings on the auditor's own records
        self._plans = plans
        self._held = held
        self._people = people
        self._pools: dict[tuple[str, bool], np.ndarray] = {}
        self._responses: dict[str, np.ndarray] = {}
        self._evaluations: dict[str, np.ndarray] = {}

    def pool(self, attribute: str, evaluation: bool) -> np.ndarray:
        """The mu^2 that was taken from the plan's pool for training or evaluation: float64 (n,)."""
        return self._pools.setdefault((attribute, evaluation), np.zeros(len(self._held)))

    def evaluations(self, attribute: str) -> np.ndarray:
        """The number of evaluations that were opened: int64 (n,)."""
        return self._evaluations.setdefault(attribute, np.zeros(len(self._held), dtype=np.int64))

    def largest_epsilon(self, attribute: str) -> float:
        """The epsilon of the person who has spent most."""
        mu2 = self.pool(attribute, False) + self.pool(attribute, True)
        states = distinct([mu2, self._answers(attribute)])[0].tolist()
        delta = self._plans[attribute].delta
        return max((mixed_epsilon(math.sqrt(square), more, 0.0, delta) for square, more in states), default=0.0)

    def payers(self, records: np.ndarray) -> Payers:
        """Those of this auditor's people whose ``records`` these are."""
        return Payers.of(records[self._held[records]], self._people)

    def note(self, operation: str, attribute: str, records: np.ndarray, charge: Charge) -> None:
        """Add a release of ``records`` that is planned on disk."""
        self.releases[attribute] = self.releases.get(attribute, 0) + 1
        self.paid.add((attribute, operation))
        payers = self.payers(records)
        mu2, epsilon, _ = charge.times(payers.times)
        if charge.mu2:
            self.pool(attribute, self._plans[attribute].is_evaluation(operation))[payers.places] += mu2
        if charge.epsilon:  # a response at random, which is given once for ever
            self._answers(attribute)[payers.places] = epsilon

    def note_training(self, operation: str, attribute: str, charge: Charge) -> None:
        """Add a training on the auditor's own records."""
        self.paid.add((attribute, operation))
        self.trained[attribute] = self.trained.get(attribute, Charge()) + charge

    @property
    def trained_together(self) -> Charge:
        """The charge of all trainings on the auditor's own records, whichever attribute each was for."""
        return sum(self.trained.values(), Charge())

    def note_opened(self, operation: str, attribute: str, records: np.ndarray, query: str) -> None:
        """Remember which questions are answered; an interrupted one may be asked, and paid for, again."""
        if query:
            self.answered.add(query)
        if self._plans[attribute].is_evaluation(operation):
            self.evaluations(attribute)[records] += 1

    def _answers(self, attribute: str) -> np.ndarray:
        """The epsilon of the randomised response that was given: float64 (n,)."""
        return self._responses.setdefault(attribute, np.zeros(len(self._held)))


class Budgets:
    """Limits on what each record may be charged: the plans' pools in this run, the policy's budgets in all runs."""

    def __init__(
        self,
        *,
        auditor: str,
        plans: Mapping[str, Plan],
        policy: Policy,
        sums: RunSums,
        spending: Spending,
        rows: np.ndarray,
    ) -> None:
        """``rows``: of the enrolled table's people in ``spending``, int64 (n,)."""
        self._auditor = auditor
        self._plans = plans
        self._policy = policy
        self._sums = sums
        self._spending = spending
        self._rows = rows

    def price(self, request: Request, rule: Rule) -> tuple[float | None, Charge]:
        """sigma in units of the opened value (None: exact) and what each record is charged."""
        if rule.post_processing:
            return 0.0, Charge()
        plan = self._plans[request.attribute]
        if rule.responds_at_random:  # its noise is in the answers
            return (None, Charge(epsilon=math.inf)) if plan.epsilon is None else (0.0, Charge(epsilon=plan.epsilon))
        multiplier = plan.multipliers[request.operation]
        if multiplier is None:
            return None, Charge(mu2=math.inf)
        return multiplier * rule.moves(request.groups), Charge(mu2=multiplier**-2)

    def paying(self, request: Request, rule: Rule, charge: Charge) -> Payers:
        """Those who pay: all, but a response at random is a person's, drawn once for ever, and paid for once.

        That does not pay for the truth: who answered at random is charged for an exact release all the same.
        """
        payers = self._sums.payers(request.records)
        if not rule.responds_at_random or charge.exact:
            return payers
        rows = self._rows[payers.places]
        places = payers.places[~self._spending.charged(request.attribute, request.operation, rows)]
        return Payers(places, np.ones(len(places), dtype=np.int64))

    def check(self, request: Request, payers: Payers, charge: Charge, beside: Sequence[Grant] = ()) -> None:
        """Check the plan's pool and the policy's budgets for life, of every record that is charged.

        ``beside``: what is released along with it, and costs its records something too.
        """
        if charge == Charge():
            return
        self._check_pool(request, payers, charge, beside)
        self.check_lifetime(request.attribute, self._rows[payers.places], payers.times, charge, beside)

    def check_lifetime(
        self, attribute: str, rows: np.ndarray, times: np.ndarray, charge: Charge, beside: Sequence[Grant] = ()
    ) -> None:
        """Check the policy's budgets of people, by their ``rows`` in the spending, who pay so many ``times``.

        For a training on own records both limits are compared with the sum of the trainings for all attributes: each
        tells again whether the record was there, and that cannot be put down to one attribute. This is strict where a
        policy's epsilon was thought of as one attribute's.
        """
        on_any = [other.charge for other in beside]
        on_this = [other.charge for other in beside if other.request.attribute == attribute]
        if self._policy.epsilon is not None:
            spent = self._spending.of(attribute, rows)
            self._check_limit("epsilon", self._policy.epsilon, attribute, spent, sum(on_this, charge), times)
        if self._policy.total_epsilon is not None:
            spent = self._spending.over_attributes(rows)
            self._check_limit("total_epsilon", self._policy.total_epsilon, attribute, spent, sum(on_any, charge), times)

    def _check_pool(self, request: Request, payers: Payers, charge: Charge, beside: Sequence[Grant]) -> None:
        attribute, operation = request.attribute, request.operation
        plan = self._plans[attribute]
        evaluation, cap = plan.is_evaluation(operation), plan.mu2_cap(operation)
        others = [
            other.charge
            for other in beside
            if other.request.attribute == attribute and plan.is_evaluation(other.request.operation) == evaluation
        ]
        spent = self._sums.pool(attribute, evaluation)[payers.places] + sum(others, Charge()).times(payers.times)[0]
        cost = charge.times(payers.times)[0]
        if not math.isinf(cap) and np.any(spent + cost > cap * (1 + _ROUNDING)):
            most = int(np.argmax(spent + cost))
            raise BudgetExceeded(
                f"{attribute}: the plan's budget of mu^2 = {cap:.4g} is spent up to {spent[most]:.4g} of somebody, "
                f"whom another {operation} costs {cost[most]:.4g}: go on without it, or plan more releases"
            )

    def _check_limit(
        self,
        name: str,
        limit: float,
        attribute: str,
        spent: tuple[np.ndarray, np.ndarray, np.ndarray],
        charge: Charge,
        times: np.ndarray,
    ) -> None:
        """Check one of the policy's budgets; ``spent``: mu^2, epsilon and delta of each person before this charge."""
        mu2, epsilon, delta = spent + charge.times(times)
        if np.any(mu2 > self._mu2_caps(epsilon, delta, limit) * (1 + _ROUNDING)):
            what = "an exact release" if charge.exact else "this release"
            raise BudgetExceeded(
                f"{attribute}: {what} would take somebody beyond the policy's {name} = {limit:g} at delta = "
                f"{self._policy.delta:g} (all runs of {self._auditor} together): leave it out, add noise or change "
                "the policy"
            )

    def _mu2_caps(self, epsilon: np.ndarray, delta: np.ndarray, limit: float) -> np.ndarray:
        """The mu^2 that each record may reach, given what adds up beside it; negative where there is no room at all."""
        pairs, which = distinct([epsilon, delta])
        caps = np.empty(len(pairs))
        for place, (added, lost) in enumerate(pairs):
            room = self._policy.delta - lost
            if added > limit * (1 + _ROUNDING) or room < 0:
                caps[place] = -1.0
            elif room == 0:
                caps[place] = 0.0
            else:
                caps[place] = gaussian_mu(max(limit - added, 0.0), room) ** 2
        return caps[which]
