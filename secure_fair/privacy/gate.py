"""The gate, the one place where anything is opened: policy, budget, ledger entry on disk, noise, then the opening."""

from __future__ import annotations

import math
from collections.abc import Collection, Mapping, Sequence
from typing import Any

import numpy as np
import torch

from secure_fair.errors import BudgetExceeded, ProtocolError, Refusal, UsageError
from secure_fair.privacy.admission import Admission, check_table
from secure_fair.privacy.budgets import Budgets, largest_epsilon
from secure_fair.privacy.ledger import Ledger, records_hash
from secure_fair.privacy.noise import NoiseSource
from secure_fair.privacy.openings import Opening
from secure_fair.privacy.plan import Plan
from secure_fair.privacy.policy import Policy
from secure_fair.privacy.receipt import Charge, Receipt
from secure_fair.privacy.request import Grant, Request
from secure_fair.privacy.rules import Rules
from secure_fair.privacy.tally import Tally

_LARGEST_SIGMA = 2**48  # in ring units: beyond, noise could wrap around the ring of 2^64
# On a grid coarser than sigma / 16 the discrete Gaussian is up to 2 % off the closed form; one unit more covers it.
_FINE_SIGMA = 16


class Gate:
    """Admits and makes the releases of one auditor to one run, for one enrolled table of records."""

    def __init__(
        self,
        *,
        auditor: str,
        run: str,
        ids: Sequence[str],
        known: Collection[str],
        plans: Mapping[str, Plan],
        rules: Rules,
        policy: Policy,
        ledger: Ledger,
        noise: NoiseSource,
        part: bool = False,
    ) -> None:
        """``ids``: the enrolled table as the developer gave it, checked against ``known`` ids; ``plans`` by attribute.

        ``rules``: of every operation; what has none is refused. ``part``: the table has other auditors' people as well;
        only the known ones are charged here. A run that is resumed passes the same ``run``: what it has spent so far is
        read back from the ledger.
        """
        if ids or any(plan.touches_records for plan in plans.values()):
            check_table(ids, known, part)
        for attribute, plan in plans.items():
            if plan.attribute != attribute:
                raise UsageError(f"the plan under {attribute} is for {plan.attribute}")
        self.auditor = auditor
        self.run = run
        self.ids = list(ids)
        held = set(known)
        self.held = np.fromiter((name in held for name in ids), dtype=bool, count=len(ids))
        self.policy = policy
        self._plans = dict(plans)
        self._rules = rules
        self._ledger = ledger
        self._noise = noise
        ledger.start(run, auditor=auditor, noise=noise.description, private=noise.private, policy=policy.as_mapping())
        self._table = ledger.enrol(self.ids)
        rows = ledger.spending.rows(self.ids)
        self._pending: dict[int, tuple[str, str]] = {}  # admitted, not yet made: (attribute, operation) by number
        self.tally = Tally(self._plans, rules, self.held)
        self.tally.replay(ledger, run, self._table)
        self._admission = Admission(auditor, len(self.ids), self._plans, rules, policy, self.tally)
        self._budgets = Budgets(auditor, self._plans, rules, policy, self.tally, ledger.spending, rows, self.held)

    # -- admission --

    def admit(self, request: Request) -> Grant:
        """Decide from public data alone, before any secret is touched: Refusal or BudgetExceeded. Spends nothing."""
        return self.admit_together([request])[0]

    def admit_together(self, wanted: Sequence[Request]) -> list[Grant]:
        """Admit all of them or none: there must be room for what they cost together."""
        grants: list[Grant] = []
        for request in wanted:
            try:
                grants.append(self._admit(request, grants))
            except (Refusal, BudgetExceeded) as error:
                for grant in grants:
                    del self._pending[grant.receipt.number]
                self.note_refusal(request.operation, request.attribute, str(error))
                raise
        return grants

    def _admit(self, request: Request, beside: Sequence[Grant]) -> Grant:
        self._admission.check(request, self._pending.values())
        sigma, charge = self._budgets.price(request)
        charged = self._budgets.paying(request)
        self._budgets.check(request, charged, charge, beside)
        receipt = self._receipt(request, self._table, sigma)
        self._pending[receipt.number] = (request.attribute, request.operation)
        return Grant(request, receipt, charge, charged)

    def _receipt(self, request: Request, table: str, sigma: float | None) -> Receipt:
        return Receipt(
            run=self.run,
            number=self._ledger.next_number(self.run),
            auditor=self.auditor,
            operation=request.operation,
            attribute=request.attribute,
            records=records_hash(table, request.records),
            count=len(request.records),
            shape=tuple(request.shape),
            sigma=sigma,
            of=request.of,
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
            self._check_again(grant, opening, grants[:place])
        deviations = [self._ring_sigma(grant, opening.scale) for grant in grants]
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
            self.tally.note_opened(request.operation, request.attribute, request.records, request.query)
        return value

    def _check_again(self, grant: Grant, opening: Opening, beside: Sequence[Grant]) -> None:
        """A grant is good once, here, for what was admitted, and while the budget that it was admitted on is there."""
        request = grant.request
        if grant.receipt.number not in self._pending or grant.receipt.run != self.run:
            raise Refusal(f"release {grant.receipt.number} was made already, or admitted by another gate: ask again")
        if tuple(opening.shape) != tuple(request.shape):
            raise ProtocolError(
                f"the value to be opened has shape {tuple(opening.shape)}, admitted was {request.shape}"
            )
        self._budgets.check(request, grant.charged, grant.charge, beside)
        self._admission.check_paid(request, self.tally.paid)

    def _spend(self, grant: Grant) -> None:
        request = grant.request
        del self._pending[grant.receipt.number]
        self._ledger.plan(
            grant.receipt,
            grant.charge,
            self._table,
            request.records,
            charged=grant.charged,
            query=request.query,
            response=self._rules[request.operation].responds_at_random,
        )
        self.tally.note(request.operation, request.attribute, request.records, grant.charge)

    def _ring_sigma(self, grant: Grant, scale: int) -> int:
        """The noise's scale in ring units, rounded up; 0 for no noise."""
        sigma = grant.receipt.sigma
        if not sigma:
            return 0
        deviation = math.ceil(sigma * scale)
        if deviation < _FINE_SIGMA:
            deviation += 1
        if deviation > _LARGEST_SIGMA:
            raise UsageError(
                f"sigma = {sigma:.3g} at {scale} ring units per 1: the noise could wrap around; ask for less"
            )
        return deviation

    def note_refusal(self, operation: str, attribute: str, reason: str) -> None:
        """Write down what was asked for and not given."""
        self._ledger.refused(self.run, operation, attribute, reason)

    # -- trainings on the auditor's own records --

    def account_training(
        self,
        attribute: str,
        ids: Sequence[str],
        *,
        operation: str,
        epsilon: float | None,
        delta: float,
        adapter: str = "",
    ) -> None:
        """Charge the auditor's own records for an adapter trained on them with DP-SGD (``epsilon`` None: without).

        Adjacency: add or remove one of these records. Must be called before the adapter, or anything made from it, is
        used: that is post-processing of the ``operation``. ``adapter`` is a digest of its weights: an adapter that was
        kept is paid for once, one that is trained anew (or has no digest) once more.
        """
        self._admission.rule(operation)
        self._admission.plan(attribute)
        tally = self.tally
        if adapter and (attribute, adapter) in tally.adapters:
            tally.paid.add((attribute, operation))
            tally.trained.setdefault(attribute, tally.adapters[attribute, adapter])
            return
        charge = Charge(epsilon=math.inf if epsilon is None else epsilon, delta=0.0 if epsilon is None else delta)
        table = self._ledger.enrol(ids)
        self._budgets.check_lifetime(attribute, self._ledger.rows_of_table(table), charge)
        everyone = np.arange(len(ids), dtype=np.int64)
        request = Request(operation, attribute, everyone, self.auditor, (), groups=0)
        receipt = self._receipt(request, table, None if epsilon is None else 0.0)
        self._ledger.plan(receipt, charge, table, everyone, query=adapter)
        tally.note_training(operation, attribute, charge, adapter)

    # -- what was spent --

    def summary(self) -> dict[str, dict[str, Any]]:
        """Per attribute, for this run: epsilon of the record that spent most (None when exact), delta, releases."""
        result = {}
        for attribute, plan in self._plans.items():
            mu2 = self.tally.pool(attribute, False) + self.tally.pool(attribute, True)
            epsilon = largest_epsilon(mu2, self.tally.responses(attribute), plan.delta)
            result[attribute] = {
                "epsilon": None if math.isinf(epsilon) else epsilon,
                "exact": math.isinf(epsilon),
                "delta": plan.delta,
                "releases": self.tally.releases[attribute],
                "adjacency": f"substitution of one person's {attribute}",
                "noise": self._noise.description,
            }
        return result

    def records_summary(self) -> dict[str, dict[str, Any]]:
        """Per attribute with an adapter trained on the auditor's own records: that training's epsilon."""
        return {
            attribute: {
                "epsilon": None if charge.exact else charge.epsilon,
                "exact": charge.exact,
                "delta": charge.delta,
                "adjacency": "adding or removing one record",
            }
            for attribute, charge in self.tally.trained.items()
        }
