"""The gate, the one place where anything is opened: policy, budget, ledger entry on disk, noise, then the opening."""

from __future__ import annotations

import math
from collections.abc import Collection, Mapping, Sequence
from functools import cached_property
from typing import Any

import numpy as np
import torch

from secure_fair.errors import BudgetExceeded, ProtocolError, Refusal, UsageError
from secure_fair.ids import Names, as_ids, ascending, find, order
from secure_fair.privacy.admission import Admission, check_table
from secure_fair.privacy.budgets import Budgets, RunSums
from secure_fair.privacy.chain import ChainEnd
from secure_fair.privacy.entries import Charge, Payers, Receipt, records_hash
from secure_fair.privacy.ledger import Ledger
from secure_fair.privacy.noise import NoiseSource, ring_sigma
from secure_fair.privacy.openings import Opening
from secure_fair.privacy.plan import Plan
from secure_fair.privacy.policy import Policy
from secure_fair.privacy.replay import check_split, replay
from secure_fair.privacy.request import Grant, Request
from secure_fair.privacy.rules import Rules
from secure_fair.privacy.tallies import first_places


class Gate:
    """Admits and makes the releases of one auditor to one run, for one enrolled table of records."""

    def __init__(
        self,
        *,
        auditor: str,
        run: str,
        ids: Names,
        training: int,
        known: Names,
        plans: Mapping[str, Plan],
        policy: Policy,
        rules: Rules,
        ledger: Ledger,
        noise: NoiseSource,
        part: bool = False,
        persons: Names | None = None,
        joint: Collection[str] = (),
        alone: bool = False,
    ) -> None:
        """``ids``: the enrolled table as the developer gave it, checked against ``known`` ids; ``plans`` by attribute.

        The first ``training`` of the table are training records, the others test records, which have no budget for one
        another's releases; the developer says which is which, and a run that is resumed keeps to it. ``rules`` by
        operation: what has none is refused. ``part``: the table has other auditors' people as well; only the known ones
        are charged here. ``persons``: whose each record is, "" where that is not known; budgets are theirs, else each
        record's. ``joint``: intersections whose memberships this auditor commits to itself, for it holds all of their
        attributes; others are products on shares. ``alone``: no other auditor takes part. A run that is resumed passes
        the same ``run``: what it has spent so far is read back from the ledger.
        """
        self.ids, here = as_ids(ids), as_ids(known)
        self.held = find(self.ids, here if ascending(here) else here[order(here)]) >= 0
        if len(self.ids) or any(plan.touches_records for plan in plans.values()):
            check_table(self.ids, self.held, part)
        if not 0 <= training <= len(self.ids):
            raise UsageError(f"{training} training records in a table of {len(self.ids)}")
        for attribute, plan in plans.items():
            if plan.attribute != attribute:
                raise UsageError(f"the plan under {attribute} is for {plan.attribute}")
        self.auditor = auditor
        self.run = run
        self.training = training
        self.unit = "record" if persons is None else "person"
        self._persons = persons
        self.policy = policy
        self._plans = dict(plans)
        self._rules = dict(rules)
        self._ledger = ledger
        self._noise = noise
        self._joint = frozenset(joint)
        self._alone = alone
        self._exceeded = 0  # requests of this process that were refused for want of budget
        self._pending: dict[int, tuple[str, str]] = {}  # admitted, not yet made: (attribute, operation) by number
        self._begin()

    def _begin(self) -> None:
        """Note the run's start, and read back what it and its people have spent."""
        ledger, noise = self._ledger, self._noise
        check_split(ledger, self.run, self.training)
        facts = {"noise": noise.description, "private": noise.private, "policy": self.policy.as_mapping()}
        ledger.start(self.run, auditor=self.auditor, training=self.training, **facts)
        self._table = ledger.enrol(self.ids, self._persons)
        rows = self.rows = ledger.spending.rows_of_table(self._table)  # int64 (n,): of each record's person
        self.people = first_places(rows)  # int64 (n,): of each record its person's first one
        self._sums = RunSums(self._plans, self.held, self.people)
        replay(ledger, self.run, attributes=self._plans, table=self._table, size=len(self.ids), sums=self._sums)
        self._admission = Admission(
            auditor=self.auditor,
            policy=self.policy,
            rules=self._rules,
            plans=self._plans,
            sums=self._sums,
            people=self.people,
            training=self.training,
            joint=self._joint,
            alone=self._alone,
        )
        self._budgets = Budgets(
            auditor=self.auditor,
            plans=self._plans,
            policy=self.policy,
            sums=self._sums,
            spending=ledger.spending,
            rows=rows,
        )

    @cached_property
    def names(self) -> list[str]:
        """The names of those whose records are enrolled, one for each record."""
        return self._ledger.spending.names(self.ids)

    # -- admission --

    def admit(self, request: Request) -> Grant:
        """Decide from public data alone, before any secret is touched: Refusal or BudgetExceeded. Spends nothing."""
        return self.admit_together([request])[0]

    def admit_together(self, wanted: Sequence[Request]) -> list[Grant]:
        """Admit all of them or none: there must be room for what they cost together.

        Who was refused for want of budget as often as the plans have releases is not going on without them: from then
        on such refusals are not written down, for the ledger would grow as long as somebody asks.
        """
        grants: list[Grant] = []
        for request in wanted:
            try:
                grants.append(self._admit(request, grants))
            except (Refusal, BudgetExceeded) as error:
                for grant in grants:
                    del self._pending[grant.receipt.number]
                self._note(request, error)
                raise
        return grants

    def _note(self, request: Request, error: Refusal | BudgetExceeded) -> None:
        """Write a refusal down, unless there have been as many for want of budget as the plans have releases."""
        kinds = [kind for plan in self._plans.values() for kind in (*plan.releases, *plan.evaluation)]
        if isinstance(error, BudgetExceeded):
            self._exceeded += 1
            if self._exceeded > max(1, sum(kind.count for kind in kinds)):
                return
        self.note_refusal(request.operation, request.attribute, str(error))

    def checks_rows(self, grants: Sequence[Grant]) -> bool:
        """Whether the developer must prove its rows before these are opened: their noise is made for rows within 1."""
        noised = any(grant.receipt.sigma for grant in grants)
        bounded = noised and self._rules[grants[-1].request.operation].bounded_rows
        return bounded and self.policy.row_bounds == "check"

    @property
    def written(self) -> ChainEnd:
        """How far the ledger has come, on disk."""
        return self._ledger.end

    def note_refusal(self, operation: str, attribute: str, reason: str) -> None:
        """Write down what was asked for and not given."""
        self._ledger.refused(self.run, operation, attribute, reason)

    def note_verdict(self, grant: Grant, operation: str, attribute: str, within: bool) -> None:
        """Write down that this auditor learned whether the developer's rows for an admitted release are within 1."""
        self._ledger.verdict(self.run, grant.receipt.number, self.auditor, operation, attribute, within)

    def note_disclosed(self, what: str, numbers: int) -> None:
        """Write down something of the developer's own that this auditor was given."""
        self._ledger.disclosed(self.run, self.auditor, what, numbers)

    def _admit(self, request: Request, beside: Sequence[Grant]) -> Grant:
        rule = self._admission.check(request, self._pending.values())
        self._admission.check_count(request, beside)
        sigma, charge = self._budgets.price(request, rule)
        payers = self._budgets.paying(request, rule, charge)
        self._budgets.check(request, payers, charge, beside)
        receipt = self._receipt(
            request.operation, request.attribute, self._table, request.records, tuple(request.shape), sigma, request.of
        )
        self._pending[receipt.number] = (request.attribute, request.operation)
        return Grant(request, receipt, charge, payers)

    def _receipt(
        self,
        operation: str,
        attribute: str,
        table: str,
        records: np.ndarray,
        shape: tuple[int, ...],
        sigma: float | None,
        of: str = "",
    ) -> Receipt:
        """A receipt with the next number of this run."""
        return Receipt(
            run=self.run,
            number=self._ledger.next_number(self.run),
            auditor=self.auditor,
            operation=operation,
            attribute=attribute,
            records=records_hash(table, records),
            count=len(records),
            shape=shape,
            sigma=sigma,
            of=of,
        )

    # -- release --

    def release(self, grant: Grant, opening: Opening) -> torch.Tensor | None:
        """Spend, write the entry to disk, draw fresh noise, open. The value only where the receiver is this process.

        Should anything go wrong after the entry, the release stays spent and its noise is forgotten.
        """
        return self.release_together([grant], opening)

    def release_together(self, grants: Sequence[Grant], opening: Opening) -> torch.Tensor | None:
        """One opening that tells of several attributes held here: each pays for it, and each adds its own noise."""
        for place, grant in enumerate(grants):
            self._check_grant(grant, grants[:place], opening)
        deviations = [ring_sigma(grant.receipt.sigma, opening.scale) for grant in grants]
        noise = None
        for grant, deviation in zip(grants, deviations, strict=True):
            self._spend(grant)
            if deviation:
                draws = self._noise.gaussian(deviation, math.prod(grant.request.shape))
                drawn = torch.from_numpy(draws).reshape(grant.request.shape)
                noise = drawn if noise is None else noise + drawn
        value = opening.open_to(grants[0].request.receiver, noise)
        for grant in grants:
            request = grant.request
            self._ledger.opened(grant.receipt)
            self._sums.note_opened(request.operation, request.attribute, request.records, request.query)
        return value

    def _check_grant(self, grant: Grant, beside: Sequence[Grant], opening: Opening) -> None:
        """Check that a grant is still good: others may have been released since it was given."""
        request = grant.request
        if grant.receipt.number not in self._pending or grant.receipt.run != self.run:
            raise Refusal(f"release {grant.receipt.number} was made already, or admitted by another gate: ask again")
        if tuple(opening.shape) != tuple(request.shape):
            raise ProtocolError(
                f"the value to be opened has shape {tuple(opening.shape)}, admitted was {request.shape}"
            )
        self._admission.check_count(request, beside)
        self._budgets.check(request, grant.payers, grant.charge, beside)
        self._admission.check_paid(request, self._rules[request.operation], self._sums.paid)

    def _spend(self, grant: Grant) -> None:
        """Charge a grant, on disk when this returns."""
        request = grant.request
        del self._pending[grant.receipt.number]
        self._ledger.plan(
            grant.receipt, grant.charge, self._table, request.records, payers=grant.payers, query=request.query
        )
        self._sums.note(request.operation, request.attribute, request.records, grant.charge)

    # -- the auditor's own records --

    def account_training(
        self,
        attribute: str,
        ids: Sequence[str],
        *,
        operation: str,
        epsilon: float | None,
        delta: float,
        persons: Names | None = None,
        name: str = "",
    ) -> None:
        """Charge the auditor's own records for a training on them with DP-SGD (``epsilon`` None: without).

        Adjacency: add or remove one of these records with all its attributes. So trainings for several attributes add
        up, and the policy's epsilon and total_epsilon both limit their sum (``Budgets.check_lifetime``). Must be called
        before what was trained, or anything made from it, is used: other operations are post-processing of this one.
        ``persons``: whose the records are; with an epsilon no two may be one person's. ``name``: the training's, by
        which its payment is found again.
        """
        self._admission.rule(operation)
        self._admission.plan(attribute)
        charge = Charge(epsilon=math.inf if epsilon is None else epsilon, delta=0.0 if epsilon is None else delta)
        table = self._ledger.enrol(ids, persons)
        rows, first = np.unique(self._ledger.spending.rows_of_table(table), return_index=True)
        if epsilon is not None and len(rows) < len(ids):
            raise Refusal(
                f"{operation}: {len(ids)} own records are of {len(rows)} persons, and its guarantee is for one record "
                "a person: leave the others out of the auditor's own records, or use a method that needs none"
            )
        payers = Payers(np.sort(first), np.ones(len(first), dtype=np.int64))
        self._budgets.check_lifetime(attribute, rows, payers.times, charge)
        everyone = np.arange(len(ids), dtype=np.int64)
        sigma = None if epsilon is None else 0.0
        receipt = self._receipt(operation, attribute, table, everyone, (), sigma)  # no shape: nothing is opened
        self._ledger.plan(receipt, charge, table, everyone, payers=payers, query=name)
        self._sums.note_training(operation, attribute, charge)

    # -- summaries --

    def summary(self) -> dict[str, dict[str, Any]]:
        """Per attribute, for this run: epsilon of the record that spent most (None when exact), delta, releases."""
        result = {}
        for attribute, plan in self._plans.items():
            epsilon = self._sums.largest_epsilon(attribute)
            result[attribute] = {
                "epsilon": None if math.isinf(epsilon) else epsilon,
                "exact": math.isinf(epsilon),
                "delta": plan.delta,
                "releases": self._sums.releases[attribute],
                "adjacency": f"substitution of one {self.unit}'s {attribute}",
                "noise": self._noise.description,
            }
        return result

    def records_summary(self) -> dict[str, dict[str, Any]]:
        """The sum of all trainings on the auditor's own records, under their attributes' names; {} without any."""
        attributes = sorted(self._sums.trained)
        return {", ".join(attributes): records_account(self._sums.trained_together, attributes)} if attributes else {}


def records_account(charge: Charge, attributes: Sequence[str]) -> dict[str, Any]:
    """The account of trainings on an auditor's own records for these attributes, JSON-ready."""
    return {
        "epsilon": None if charge.exact else charge.epsilon,
        "exact": charge.exact,
        "delta": charge.delta,
        "adjacency": "adding or removing one record with all its attributes",
        "attributes": list(attributes),
    }
