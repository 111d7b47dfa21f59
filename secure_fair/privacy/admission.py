"""Admission: the rules by which a gate refuses a request, from public data alone."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence

import numpy as np

from secure_fair.errors import Refusal
from secure_fair.privacy.plan import Plan
from secure_fair.privacy.policy import Policy
from secure_fair.privacy.request import Request
from secure_fair.privacy.rules import Rule, Rules
from secure_fair.privacy.tally import Tally


class Admission:
    """One auditor's rules for one enrolled table of ``size`` records."""

    def __init__(
        self, auditor: str, size: int, plans: Mapping[str, Plan], rules: Rules, policy: Policy, tally: Tally
    ) -> None:
        self._auditor = auditor
        self._size = size
        self._plans = plans
        self._rules = rules
        self._policy = policy
        self._tally = tally

    def plan(self, attribute: str) -> Plan:
        """The attribute's plan; Refusal where there is none."""
        if attribute not in self._plans:
            raise Refusal(
                f"attribute {attribute!r}: {self._auditor} has no plan for it; planned are {sorted(self._plans)}"
            )
        return self._plans[attribute]

    def rule(self, operation: str) -> Rule:
        """The operation's rule; Refusal where it has none or the policy does not permit it."""
        if operation not in self._rules:
            raise Refusal(f"operation {operation!r} has no rule; known are {', '.join(self._rules)}")
        if not self._policy.permits(operation):
            permitted = ", ".join(self._policy.operations or ())
            raise Refusal(f"operation {operation!r} is not in the policy of {self._auditor}: {permitted}")
        return self._rules[operation]

    def check(self, request: Request, pending: Collection[tuple[str, str]]) -> Plan:
        """Refuse what may not be asked; the plan that it is to be paid from. ``pending``: admitted, not yet made."""
        policy, rule = self._policy, self.rule(request.operation)
        plan = self.plan(request.attribute)
        if not plan.allows(request.operation):
            raise Refusal(
                f"operation {request.operation!r} is not in the plan for {request.attribute}; plan it before the run"
            )
        if request.receiver in ("", self._auditor):
            raise Refusal(
                f"receiver {request.receiver!r}: must be another party, for who knows the noise knows the value"
            )
        releases = self._tally.releases[request.attribute]
        if policy.max_releases is not None and releases >= policy.max_releases:
            raise Refusal(
                f"{request.attribute}: {releases} releases made, the policy's max_releases is {policy.max_releases}"
            )
        if request.query and request.query in self._tally.answered:
            raise Refusal(
                "this query was answered already: use the answer that you keep; a second one would cost budget"
            )
        if not request.shape or any(size < 1 for size in request.shape):
            raise Refusal(f"shape {request.shape}: every size must be at least 1")
        if request.groups < 2:
            raise Refusal(f"{request.attribute}: {request.groups} groups tell nothing; there are two or more")
        self._check_records(request, rule)
        self.check_paid(request, self._tally.paid.union(pending))
        self._check_repeats(request, plan)
        return plan

    def check_paid(self, request: Request, paid: Collection[tuple[str, str]]) -> None:
        """The source of post-processing must be paid for before it is opened; when it is admitted, be admitted."""
        paying = self._rules[request.operation].paid_by
        if paying and not any((request.attribute, operation) in paid for operation in paying):
            raise Refusal(
                f"{request.operation}: post-processing of {' or '.join(paying)}, which was not accounted for in this "
                "run"
            )

    def _check_records(self, request: Request, rule: Rule) -> None:
        records = request.records
        if rule.post_processing and records.size == 0:
            return
        if records.dtype != np.int64 or records.ndim != 1:
            raise Refusal(f"records: must be int64 of one axis, not {records.dtype} of {records.ndim}")
        if records.size < self._policy.minimum_batch:
            raise Refusal(
                f"{records.size} records: the policy's minimum_batch is {self._policy.minimum_batch}; ask for more"
            )
        outside = records[(records < 0) | (records >= self._size)]
        if outside.size:
            raise Refusal(f"record {outside[0]}: the enrolled table has {self._size} records")
        if np.unique(records).size != records.size:
            raise Refusal("a record appears twice in one request: its attribute would count twice")
        if rule.row_per_record and request.shape[0] != records.size:
            raise Refusal(
                f"{request.operation}: shape {request.shape} must have one row for each of {records.size} records"
            )

    def _check_repeats(self, request: Request, plan: Plan) -> None:
        """Exact counts of predictions that differ in one record tell its attribute: no more than were planned.

        An interrupted one does not count here, for what is exact has no budget to be wasted; so no reserve is needed,
        and none is given.
        """
        if not plan.is_evaluation(request.operation) or plan.evaluation_epsilon is not None:
            return  # noised ones end with their budget
        planned = sum(kind.participations for kind in plan.evaluation)
        if int(self._tally.evaluated(request.attribute)[request.records].max()) >= planned:
            raise Refusal(f"{request.attribute}: these records were evaluated {planned} times, as planned; plan more")


def check_table(ids: Sequence[str], known: Collection[str], part: bool) -> None:
    """Refuse an enrolled table that is empty, names somebody twice, or somebody unknown unless it may (``part``)."""
    if not ids:
        raise Refusal("the table of records is empty: enrol at least one record")
    if len(set(ids)) != len(ids):
        raise Refusal("the table of records has an id twice: its attribute would count twice")
    unknown = set(ids) - set(known)
    if unknown and not part:
        raise Refusal(f"{len(unknown)} of {len(ids)} record ids are unknown, {min(unknown)!r} first: leave them out")
