"""Admission by rules that are decided from public data alone, so that a refusal tells nothing about an attribute."""

from __future__ import annotations

import math
from collections.abc import Collection, Mapping, Sequence

import numpy as np

from secure_fair.errors import Refusal
from secure_fair.ids import Ids, as_text, order, repeated
from secure_fair.privacy.budgets import RunSums
from secure_fair.privacy.fit import exactness, unbound
from secure_fair.privacy.plan import Plan
from secure_fair.privacy.policy import Policy
from secure_fair.privacy.request import Grant, Request
from secure_fair.privacy.rules import Rule, Rules
from secure_fair.privacy.tallies import all_different, tally


class Admission:
    """Checks of requests against the rule of their operation, the policy, the plan and what the run has released."""

    def __init__(
        self,
        *,
        auditor: str,
        policy: Policy,
        rules: Rules,
        plans: Mapping[str, Plan],
        sums: RunSums,
        people: np.ndarray,
        training: int,
        joint: Collection[str] = (),
        alone: bool = False,
    ) -> None:
        """``people``: int64 (n,), of each record of the enrolled table its person's first one; the first ``training``
        records are for training; ``joint``: intersections that the auditor commits to itself, as to an attribute;
        ``alone``: there is no other auditor."""
        self._auditor = auditor
        self._policy = policy
        self._rules = rules
        self._plans = plans
        self._sums = sums
        self._people = people
        self._enrolled = len(people)
        self._training = training
        self._joint = joint
        self._doubts = policy.doubts(alone=alone)

    def rule(self, operation: str) -> Rule:
        """The rule of an operation that the policy permits."""
        if operation not in self._rules:
            raise Refusal(f"operation {operation!r} has no rule; those that have are {', '.join(sorted(self._rules))}")
        if not self._policy.permits(operation):
            permitted = ", ".join(self._policy.operations or ())
            raise Refusal(f"operation {operation!r} is not in the policy of {self._auditor}: {permitted}")
        return self._rules[operation]

    def plan(self, attribute: str) -> Plan:
        """The plan for an attribute, without exact releases unless the policy allows them."""
        if attribute not in self._plans:
            raise Refusal(
                f"attribute {attribute!r}: {self._auditor} has no plan for it; planned are {sorted(self._plans)}"
            )
        plan = self._plans[attribute]
        problem = exactness(self._policy, {attribute: plan}, self._rules)
        if problem:
            raise Refusal(problem)
        return plan

    def check(self, request: Request, pending: Collection[tuple[str, str]]) -> Rule:
        """The rule of the request's operation, if the request is in order; Refusal otherwise.

        ``pending``: attribute and operation of what is admitted and not yet released.
        """
        rule, plan = self.rule(request.operation), self.plan(request.attribute)
        if not plan.allows(request.operation):
            raise Refusal(
                f"operation {request.operation!r} is not in the plan for {request.attribute}; plan it before the run"
            )
        if request.receiver in ("", self._auditor):
            raise Refusal(
                f"receiver {request.receiver!r}: must be another party, for who knows the noise knows the value"
            )
        product = bool(request.of) and request.of not in self._joint
        if plan.noised(request.operation) and self._doubts and (product or not rule.binding):
            what = f"{request.operation} of {request.of or request.attribute}"
            raise Refusal(unbound(what, self._doubts, intersection=product))
        if request.query and request.query in self._sums.answered:
            raise Refusal(
                "this query was answered already: use the answer that you keep; a second one would cost budget"
            )
        if not request.shape or any(size < 1 for size in request.shape):
            raise Refusal(f"shape {request.shape}: every size must be at least 1")
        self._check_records(request, rule)
        self._check_split(request, plan)
        if rule.post_processing:
            self.check_paid(request, rule, self._sums.paid.union(pending))
        else:
            _check_sensitivity(request, rule)
        self._check_repeats(request, plan)
        return rule

    def check_paid(self, request: Request, rule: Rule, paid: Collection[tuple[str, str]]) -> None:
        """Check that what post-processing is made from is among ``paid``: when it is admitted, and when it is opened.

        By then it must be accounted for; for admission it is enough that it is admitted too.
        """
        if rule.post_processing and not any((request.attribute, operation) in paid for operation in rule.paid_by):
            raise Refusal(
                f"{request.operation}: post-processing of {' or '.join(rule.paid_by)}, which was not accounted for in "
                "this run"
            )

    def check_count(self, request: Request, beside: Sequence[Grant]) -> None:
        """Check how many releases of the attribute the run has made, or makes ``beside`` this one.

        An interrupted release counts, for it is spent; what was refused, or admitted and never made, does not.
        """
        most, releases = self._policy.max_releases, self._sums.releases[request.attribute]
        releases += sum(grant.request.attribute == request.attribute for grant in beside)
        if most is not None and releases >= most:
            raise Refusal(f"{request.attribute}: {releases} releases made, the policy's max_releases is {most}")

    def _check_records(self, request: Request, rule: Rule) -> None:
        records = request.records
        if rule.post_processing and records.size == 0:
            return
        if records.dtype != np.int64 or records.ndim != 1:
            raise Refusal(f"records: must be int64 of one axis, not {records.dtype} of {records.ndim}")
        outside = records[(records < 0) | (records >= self._enrolled)]
        if outside.size:
            raise Refusal(f"record {outside[0]}: the enrolled table has {self._enrolled} records")
        if not all_different(records, self._enrolled):
            raise Refusal("a record appears twice in one request: its attribute would count twice")
        self._check_people(records)
        if rule.row_per_record and request.shape[0] != records.size:
            raise Refusal(
                f"{request.operation}: shape {request.shape} must have one row for each of {records.size} records"
            )

    def _check_people(self, records: np.ndarray) -> None:
        """Check how many people a request is about, and how many of its records are one person's."""
        people, times = tally(self._people[records], self._enrolled)
        least, most = self._policy.minimum_batch, self._policy.max_records_per_person
        if len(people) < least:
            of = "" if len(people) == len(records) else f" of {len(people)} persons"
            raise Refusal(f"{len(records)} records{of}: the policy's minimum_batch is {least}; ask for more")
        if most is not None and times.max(initial=0) > most:
            raise Refusal(
                f"{times.max()} records of one person: the policy's max_records_per_person is {most}; leave some out"
            )

    def _check_split(self, request: Request, plan: Plan) -> None:
        """Refuse an evaluation of training records and any other release of test records: a record has one budget.

        Training and evaluation have a pool of mu^2 each: who took part in both would be charged twice.
        """
        evaluation, first = plan.is_evaluation(request.operation), self._training
        wrong = request.records[(request.records < first) == evaluation]
        if not wrong.size:
            return
        what, right = ("training", "test") if evaluation else ("test", "training")
        start, end = (first, self._enrolled) if evaluation else (0, first)
        there = f"ask for records {start} to {end - 1}" if end > start else "the table has none of them"
        raise Refusal(
            f"{request.operation}: record {wrong[0]} is a {what} record, the release is of {right} records: {there}"
        )

    def _check_repeats(self, request: Request, plan: Plan) -> None:
        """Refuse exact counts beyond those planned: of predictions that differ in one record they tell its attribute.

        An interrupted one does not count here, for what is exact has no budget to be wasted; so no reserve is needed,
        and none is given.
        """
        if not plan.is_evaluation(request.operation) or plan.evaluation_epsilon is not None:
            return  # noised ones end with their budget
        planned = sum(kind.participations for kind in plan.evaluation)
        if int(self._sums.evaluations(request.attribute)[request.records].max()) >= planned:
            raise Refusal(f"{request.attribute}: these records were evaluated {planned} times, as planned; plan more")


def check_table(ids: Ids, held: np.ndarray, part: bool) -> None:
    """Check an enrolled table: nobody twice, and nobody unknown unless only ``part`` of it are people known here.

    ``held``: bool (n,), who is known.
    """
    if not len(ids):
        raise Refusal("the table of records is empty: enrol at least one record")
    if repeated(ids):
        raise Refusal("the table of records has an id twice: its attribute would count twice")
    if not held.all() and not part:
        unknown = ids[~held]
        first = as_text(unknown[order(unknown)[:1]])[0]
        raise Refusal(f"{len(unknown)} of {len(ids)} record ids are unknown, {first!r} first: leave them out")


def _check_sensitivity(request: Request, rule: Rule) -> None:
    operation = request.operation
    if request.groups < 2:
        raise Refusal(f"{operation}: groups {request.groups}: an attribute has at least 2")
    sensitivity = rule.moves(request.groups)
    if not (math.isfinite(sensitivity) and sensitivity >= 0):
        raise Refusal(f"{operation}: sensitivity {sensitivity}: must be finite, 0 or more")
    if sensitivity == 0:
        raise Refusal(f"{operation}: sensitivity 0: then it tells nothing; leave the release out")
