"""The gate, the one place where anything is opened: policy, budget, ledger entry on disk, noise, then the opening."""

from __future__ import annotations

import math
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
import torch

from secure_fair.errors import BudgetExceeded, ProtocolError, Refusal, UsageError
from secure_fair.privacy.accounting import gaussian_mu, mixed_epsilon
from secure_fair.privacy.ledger import Charge, Ledger, Receipt, charge_of, members, records_hash
from secure_fair.privacy.plan import POST_PROCESSING, Plan
from secure_fair.privacy.policy import Policy

# Sums over records, which one person's attribute moves by a row bound that the shape tells.
_SUMS = frozenset({"moment", "group_counts", "evaluation_counts", "verdict", "adversary_step"})
_ROWS = frozenset({"penalty_rows", "adversary_rows", "entropy_rows"})
# What an operation without sensitivity must follow: one of the releases that pay for it.
_PAID_BY = {
    "entropy_rows": ("adversary_step", "sensitive_training"),
    "orthogonality": ("sensitive_training",),
    "sensitive_adapter": ("sensitive_training",),
}
_ROUNDING = 1e-9  # relative slack of sums of mu^2 in float64
_LARGEST_SIGMA = 2**48  # in ring units: beyond, noise could wrap around the ring of 2^64
# On a grid coarser than sigma / 16 the discrete Gaussian is up to 2 % off the closed form; one unit more covers it.
_FINE_SIGMA = 16


@dataclass(frozen=True)
class Request:
    """What is asked of an auditor; all of it is public. Built by the auditor's own code from the developer's message.

    ``records``: int64 (n,) indices into the enrolled table, none twice; empty for post-processing, which touches no
    record. ``shape`` is that of the opened value. ``sensitivity``: L2, to the substitution of one person's attribute,
    in units of the opened value; 0 for post-processing. ``query``: a digest by which the developer names what it asks
    (keyed, so that it tells the auditor nothing); the gate refuses to answer the same question twice, for the
    developer still has the answer. ``of``: the intersection that is asked for, where it is not ``attribute`` alone:
    it tells of all its attributes, and each is charged by a request of its own.
    """

    operation: str
    attribute: str
    records: np.ndarray
    receiver: str
    shape: tuple[int, ...]
    sensitivity: float
    query: str = ""
    of: str = ""


@dataclass(frozen=True)
class Grant:
    """An admitted request. Good for one release at the gate that gave it.

    ``charged``: the records that pay, int64; without those of other auditors, and without those who gave the same
    randomised response before.
    """

    request: Request
    receipt: Receipt
    charge: Charge
    charged: np.ndarray

    @property
    def epsilon(self) -> float | None:
        """Of a randomised response; None where the truth is given."""
        return None if math.isinf(self.charge.epsilon) else self.charge.epsilon


class Opening(Protocol):
    """A value that can be opened: shares between parties, or plain numbers."""

    @property
    def scale(self) -> int:
        """Ring units per 1.0."""
        ...

    @property
    def shape(self) -> tuple[int, ...]:
        """Of the value."""
        ...

    def open_to(self, receiver: str, noise: torch.Tensor | None) -> torch.Tensor | None:
        """Add ``noise`` (int64, ring units, of ``shape``), open to ``receiver``; the value if that is here."""
        ...


class NoiseSource(Protocol):
    """Where the gate's noise comes from."""

    private: bool  # False for a seeded source: every artefact then says so
    description: str

    def gaussian(self, sigma: int, count: int) -> np.ndarray:
        """``count`` draws, int64, of the discrete Gaussian of scale ``sigma`` in ring units."""
        ...


@dataclass(frozen=True)
class PlainOpening:
    """Plain numbers in one process, encoded, noised and decoded as shares would be. ``values``: float64."""

    values: torch.Tensor
    scale: int

    @property
    def shape(self) -> tuple[int, ...]:
        return tuple(self.values.shape)

    def open_to(self, receiver: str, noise: torch.Tensor | None) -> torch.Tensor:
        """The values on the ring's grid, plus noise: float64. Values must fit the ring."""
        ring = torch.round(self.values.double() * self.scale)
        if not bool(torch.isfinite(ring).all()) or bool((ring.abs() >= 2**62).any()):
            raise ProtocolError(f"a value to be opened is not below 2^62 / {self.scale}: check the query's bounds")
        integers = ring.to(torch.int64)
        return (integers if noise is None else integers + noise).double() / self.scale


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
        policy: Policy,
        ledger: Ledger,
        noise: NoiseSource,
        part: bool = False,
    ) -> None:
        """``ids``: the enrolled table as the developer gave it, checked against ``known`` ids; ``plans`` by attribute.

        ``part``: the table has other auditors' people as well; only the known ones are charged here. A run that is
        resumed passes the same ``run``: what it has spent so far is read back from the ledger.
        """
        if ids or any(plan.touches_records for plan in plans.values()):
            _check_table(ids, known, part)
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
        self._ledger = ledger
        self._noise = noise
        ledger.start(run, auditor=auditor, noise=noise.description, private=noise.private, policy=policy.as_mapping())
        self._table = ledger.enrol(self.ids)
        self._rows = ledger.spending.rows(self.ids)
        # Of this run, per record: mu^2 by pool (attribute, evaluation or not) and epsilon of the randomised response.
        self._pools: dict[tuple[str, bool], np.ndarray] = {}
        self._answers: dict[str, np.ndarray] = {}
        self._trained: dict[str, tuple[float, float]] = {}
        self._adapters = _paid_adapters(ledger)
        self._releases: dict[str, int] = dict.fromkeys(plans, 0)
        self._paid: set[tuple[str, str]] = set()
        self._answered: set[str] = set()
        self._evaluations: dict[str, np.ndarray] = {}
        self._pending: dict[int, tuple[str, str]] = {}  # admitted, not yet made: (attribute, operation) by number
        self._replay()

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
        plan = self._check_rules(request)
        sigma, charge = self._price(request, plan)
        charged = self._paying(request)
        self._check_budget(request.attribute, plan, request.operation, charged, charge, beside)
        receipt = Receipt(
            run=self.run,
            number=self._ledger.next_number(self.run),
            auditor=self.auditor,
            operation=request.operation,
            attribute=request.attribute,
            records=records_hash(self._table, request.records),
            count=len(request.records),
            shape=tuple(request.shape),
            sigma=sigma,
            of=request.of,
        )
        self._pending[receipt.number] = (request.attribute, request.operation)
        return Grant(request, receipt, charge, charged)

    def release(self, grant: Grant, opening: Opening) -> torch.Tensor | None:
        """Spend, write the entry to disk, draw fresh noise, open. The value only where the receiver is this process.

        Should anything go wrong after the entry, the release stays spent and its noise is forgotten.
        """
        return self.release_together([grant], opening)

    def release_together(self, grants: Sequence[Grant], opening: Opening) -> torch.Tensor | None:
        """One opening that tells of several attributes held here: each pays for it, and each adds its own noise."""
        for place, grant in enumerate(grants):
            request = grant.request
            if grant.receipt.number not in self._pending or grant.receipt.run != self.run:
                raise Refusal(
                    f"release {grant.receipt.number} was made already, or admitted by another gate: ask again"
                )
            if tuple(opening.shape) != tuple(request.shape):
                raise ProtocolError(
                    f"the value to be opened has shape {tuple(opening.shape)}, admitted was {request.shape}"
                )
            plan = self._plans[request.attribute]
            self._check_budget(request.attribute, plan, request.operation, grant.charged, grant.charge, grants[:place])
            if request.operation in POST_PROCESSING:
                self._check_paid(request, self._paid)
        deviations = [self._ring_sigma(grant, opening.scale) for grant in grants]
        noise = None
        for grant, deviation in zip(grants, deviations, strict=True):
            request = grant.request
            del self._pending[grant.receipt.number]
            self._ledger.plan(
                grant.receipt, grant.charge, self._table, request.records, charged=grant.charged, query=request.query
            )
            self._note(request.operation, request.attribute, request.records, grant.charge)
            if deviation:
                draws = self._noise.gaussian(deviation, math.prod(request.shape))
                drawn = torch.from_numpy(draws).reshape(request.shape)
                noise = drawn if noise is None else noise + drawn
        value = opening.open_to(grants[0].request.receiver, noise)
        for grant in grants:
            request = grant.request
            self._ledger.opened(grant.receipt)
            self._note_opened(request.operation, request.attribute, request.records, request.query)
        return value

    def note_refusal(self, operation: str, attribute: str, reason: str) -> None:
        """Write down what was asked for and not given."""
        self._ledger.refused(self.run, operation, attribute, reason)

    def account_training(
        self, attribute: str, ids: Sequence[str], *, epsilon: float | None, delta: float, adapter: str = ""
    ) -> None:
        """Charge the auditor's own records for an adapter trained on them with DP-SGD (``epsilon`` None: without).

        Adjacency: add or remove one of these records. Must be called before the adapter, or anything made from it, is
        used: ``sensitive_adapter`` and ``orthogonality`` are post-processing of it. ``adapter`` is a digest of its
        weights: an adapter that was kept is paid for once, one that is trained anew (or has no digest) once more.
        """
        plan = self._plan(attribute)
        if adapter and (attribute, adapter) in self._adapters:
            self._paid.add((attribute, "sensitive_training"))
            self._trained.setdefault(attribute, self._adapters[attribute, adapter])
            return
        charge = Charge(epsilon=math.inf if epsilon is None else epsilon, delta=0.0 if epsilon is None else delta)
        table = self._ledger.enrol(ids)
        rows = self._ledger.spending.rows_of_table(table, self._ledger)
        self._check_lifetime(attribute, plan, rows, charge)
        everyone = np.arange(len(ids), dtype=np.int64)
        receipt = Receipt(
            run=self.run,
            number=self._ledger.next_number(self.run),
            auditor=self.auditor,
            operation="sensitive_training",
            attribute=attribute,
            records=records_hash(table, everyone),
            count=len(ids),
            shape=(),
            sigma=None if epsilon is None else 0.0,
        )
        self._ledger.plan(receipt, charge, table, everyone, query=adapter)
        self._note_training(attribute, charge, adapter)

    # -- what was spent --

    def summary(self) -> dict[str, dict[str, Any]]:
        """Per attribute, for this run: epsilon of the record that spent most (None when exact), delta, releases."""
        result = {}
        for attribute, plan in self._plans.items():
            mu2 = self._pool(attribute, False) + self._pool(attribute, True)
            epsilon = _largest_epsilon(mu2, self._responses(attribute), plan.delta)
            result[attribute] = {
                "epsilon": None if math.isinf(epsilon) else epsilon,
                "exact": math.isinf(epsilon),
                "delta": plan.delta,
                "releases": self._releases[attribute],
                "adjacency": f"substitution of one person's {attribute}",
                "noise": self._noise.description,
            }
        return result

    def records_summary(self) -> dict[str, dict[str, Any]]:
        """Per attribute with an adapter trained on the auditor's own records: that training's epsilon."""
        return {
            attribute: {
                "epsilon": None if math.isinf(epsilon) else epsilon,
                "exact": math.isinf(epsilon),
                "delta": delta,
                "adjacency": "adding or removing one record",
            }
            for attribute, (epsilon, delta) in self._trained.items()
        }

    # -- rules --

    def _plan(self, attribute: str) -> Plan:
        if attribute not in self._plans:
            raise Refusal(
                f"attribute {attribute!r}: {self.auditor} has no plan for it; planned are {sorted(self._plans)}"
            )
        return self._plans[attribute]

    def _check_rules(self, request: Request) -> Plan:
        policy, operation = self.policy, request.operation
        if operation not in policy.operations:
            raise Refusal(
                f"operation {operation!r} is not in the policy of {self.auditor}: {', '.join(policy.operations)}"
            )
        plan = self._plan(request.attribute)
        if not plan.allows(operation):
            raise Refusal(f"operation {operation!r} is not in the plan for {request.attribute}; plan it before the run")
        if request.receiver in ("", self.auditor):
            raise Refusal(
                f"receiver {request.receiver!r}: must be another party, for who knows the noise knows the value"
            )
        releases = self._releases[request.attribute]
        if policy.max_releases is not None and releases >= policy.max_releases:
            raise Refusal(
                f"{request.attribute}: {releases} releases made, the policy's max_releases is {policy.max_releases}"
            )
        if request.query and request.query in self._answered:
            raise Refusal(
                "this query was answered already: use the answer that you keep; a second one would cost budget"
            )
        if not request.shape or any(size < 1 for size in request.shape):
            raise Refusal(f"shape {request.shape}: every size must be at least 1")
        self._check_records(request)
        self._check_sensitivity(request)
        self._check_repeats(request, plan)
        return plan

    def _check_records(self, request: Request) -> None:
        records = request.records
        if request.operation in POST_PROCESSING and records.size == 0:
            return
        if records.dtype != np.int64 or records.ndim != 1:
            raise Refusal(f"records: must be int64 of one axis, not {records.dtype} of {records.ndim}")
        if records.size < self.policy.minimum_batch:
            raise Refusal(
                f"{records.size} records: the policy's minimum_batch is {self.policy.minimum_batch}; ask for more"
            )
        outside = records[(records < 0) | (records >= len(self.ids))]
        if outside.size:
            raise Refusal(f"record {outside[0]}: the enrolled table has {len(self.ids)} records")
        if np.unique(records).size != records.size:
            raise Refusal("a record appears twice in one request: its attribute would count twice")
        if request.operation in _ROWS and request.shape[0] != records.size:
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
        if int(self._evaluated(request.attribute)[request.records].max()) >= planned:
            raise Refusal(f"{request.attribute}: these records were evaluated {planned} times, as planned; plan more")

    def _check_sensitivity(self, request: Request) -> None:
        operation, sensitivity = request.operation, request.sensitivity
        if not (math.isfinite(sensitivity) and sensitivity >= 0):
            raise Refusal(f"{operation}: sensitivity {sensitivity}: must be finite, 0 or more")
        if operation in POST_PROCESSING:
            if sensitivity != 0:
                raise Refusal(f"{operation}: sensitivity {sensitivity}: it is post-processing, its sensitivity is 0")
            self._check_paid(request, self._paid.union(self._pending.values()))
        elif operation in _SUMS:
            floor = 1.0 if request.shape[-1] == 1 else math.sqrt(2.0)
            if sensitivity < floor:
                raise Refusal(
                    f"{operation}: sensitivity {sensitivity}: one attribute moves {request.shape} by {floor:.6g}"
                )
        elif sensitivity == 0:
            raise Refusal(f"{operation}: sensitivity 0: then it tells nothing; leave the release out")

    def _check_paid(self, request: Request, paid: Collection[tuple[str, str]]) -> None:
        """What post-processing is made from must be paid for before it is opened; when it is admitted, be admitted."""
        paying = _PAID_BY[request.operation]
        if not any((request.attribute, operation) in paid for operation in paying):
            raise Refusal(
                f"{request.operation}: post-processing of {' or '.join(paying)}, which was not accounted for in this "
                "run"
            )

    # -- budget --

    def _price(self, request: Request, plan: Plan) -> tuple[float | None, Charge]:
        """sigma in units of the opened value (None: exact) and what each record is charged."""
        if request.sensitivity == 0:
            return 0.0, Charge()
        if request.operation == "randomised_attributes":  # its noise is in the answers
            return (None, Charge(epsilon=math.inf)) if plan.epsilon is None else (0.0, Charge(epsilon=plan.epsilon))
        multiplier = plan.multipliers[request.operation]
        if multiplier is None:
            return None, Charge(mu2=math.inf)
        return multiplier * request.sensitivity, Charge(mu2=multiplier**-2)

    def _paying(self, request: Request) -> np.ndarray:
        """All records of the request that are held here; but a randomised response is drawn once for ever, and paid
        for once."""
        records = request.records[self.held[request.records]]
        if request.operation != "randomised_attributes":
            return records
        return records[~self._ledger.spending.responded(request.attribute, self._rows[records])]

    def _check_budget(
        self,
        attribute: str,
        plan: Plan,
        operation: str,
        records: np.ndarray,
        charge: Charge,
        beside: Sequence[Grant] = (),
    ) -> None:
        """The plan's pool of this run, and the policy's budgets for life, of every record in the release.

        ``beside``: what is released along with it, and costs its records something too.
        """
        if charge == Charge():
            return
        cap = plan.mu2_cap(operation)
        spent = self._pool(attribute, plan.is_evaluation(operation))[records]
        most = float(spent.max(initial=0.0)) + sum(
            other.charge.mu2
            for other in beside
            if other.request.attribute == attribute
            and plan.is_evaluation(other.request.operation) == plan.is_evaluation(operation)
        )
        if not math.isinf(cap) and most + charge.mu2 > cap * (1 + _ROUNDING):
            raise BudgetExceeded(
                f"{attribute}: the plan's budget of mu^2 = {cap:.4g} per record is spent up to {most:.4g}, another "
                f" {operation} costs {charge.mu2:.4g}: go on without it, or plan more releases"
            )
        self._check_lifetime(attribute, plan, self._rows[records], charge, beside)

    def _check_lifetime(
        self, attribute: str, plan: Plan, rows: np.ndarray, charge: Charge, beside: Sequence[Grant] = ()
    ) -> None:
        spending = self._ledger.spending
        on_this = [other.charge for other in beside if other.request.attribute == attribute]
        on_any = [other.charge for other in beside]
        for limit, name, spent, others in (
            (self.policy.epsilon, "epsilon", lambda: spending.of(attribute, rows), on_this),
            (self.policy.total_epsilon, "total_epsilon", lambda: spending.over_attributes(rows), on_any),
        ):
            if limit is None:
                continue
            whole = sum(others, charge)
            mu2, epsilon, delta = spent()
            epsilon, delta = epsilon + whole.epsilon, delta + whole.delta
            if np.any(mu2 + whole.mu2 > self._mu2_caps(epsilon, delta, limit) * (1 + _ROUNDING)):
                what = "an exact release" if charge.exact else "this release"
                raise BudgetExceeded(
                    f"{attribute}: {what} would take a person beyond the policy's {name} = {limit:g} at delta = "
                    f"{self.policy.delta:g} (all runs of {self.auditor} together): leave it out, add noise or change "
                    "the policy"
                )

    def _mu2_caps(self, epsilon: np.ndarray, delta: np.ndarray, limit: float) -> np.ndarray:
        """The mu^2 that each record may reach, given what adds up beside it; negative where there is no room at all."""
        pairs, which = np.unique(np.stack([epsilon, delta], axis=1), axis=0, return_inverse=True)
        caps = np.empty(len(pairs))
        for place, (added, lost) in enumerate(pairs):
            room = self.policy.delta - lost
            if added > limit * (1 + _ROUNDING) or room < 0:
                caps[place] = -1.0
            elif room == 0:
                caps[place] = 0.0
            else:
                caps[place] = gaussian_mu(max(limit - added, 0.0), room) ** 2
        return caps[which.reshape(-1)]

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

    # -- state --

    def _pool(self, attribute: str, evaluation: bool) -> np.ndarray:
        return self._pools.setdefault((attribute, evaluation), np.zeros(len(self.ids)))

    def _evaluated(self, attribute: str) -> np.ndarray:
        return self._evaluations.setdefault(attribute, np.zeros(len(self.ids), dtype=np.int64))

    def _responses(self, attribute: str) -> np.ndarray:
        return self._answers.setdefault(attribute, np.zeros(len(self.ids)))

    def _note(self, operation: str, attribute: str, records: np.ndarray, charge: Charge) -> None:
        """Add a planned release to the run's own sums."""
        self._releases[attribute] = self._releases.get(attribute, 0) + 1
        self._paid.add((attribute, operation))
        records = records[self.held[records]]
        if charge.mu2:
            self._pool(attribute, self._plans[attribute].is_evaluation(operation))[records] += charge.mu2
        if operation == "randomised_attributes":
            self._responses(attribute)[records] = charge.epsilon

    def _note_training(self, attribute: str, charge: Charge, adapter: str) -> None:
        """Add a training on the auditor's own records to the run's own sums."""
        self._paid.add((attribute, "sensitive_training"))
        epsilon, delta = self._trained.get(attribute, (0.0, 0.0))
        self._trained[attribute] = (epsilon + charge.epsilon, delta + charge.delta)
        if adapter:
            self._adapters[attribute, adapter] = (charge.epsilon, charge.delta)

    def _note_opened(self, operation: str, attribute: str, records: np.ndarray, query: str) -> None:
        """Remember which questions are answered; an interrupted one may be asked, and paid for, again."""
        if query:
            self._answered.add(query)
        if self._plans[attribute].is_evaluation(operation):
            self._evaluated(attribute)[records] += 1

    def _replay(self) -> None:
        """What an earlier process of the same run has spent, opened or not."""
        opened = {entry["number"] for entry in self._ledger.entries(self.run) if entry["kind"] == "opened"}
        for entry in self._ledger.entries(self.run):
            if entry["kind"] != "planned" or entry["attribute"] not in self._plans:
                continue
            charge = charge_of(entry)
            if entry["operation"] == "sensitive_training":
                self._note_training(entry["attribute"], charge, entry["query"])
                continue
            if entry["table"] != self._table:
                raise UsageError(f"run {self.run} was begun with another table of records; resume with the same one")
            records = members(entry, len(self.ids))
            self._note(entry["operation"], entry["attribute"], records, charge)
            if entry["number"] in opened:
                self._note_opened(entry["operation"], entry["attribute"], records, entry["query"])


def _largest_epsilon(mu2: np.ndarray, added: np.ndarray, delta: float) -> float:
    """The largest epsilon of any record, from mu^2 and added epsilon of each."""
    states = np.unique(np.stack([mu2, added], axis=1), axis=0)
    return max((mixed_epsilon(math.sqrt(square), more, 0.0, delta) for square, more in states.tolist()), default=0.0)


def _paid_adapters(ledger: Ledger) -> dict[tuple[str, str], tuple[float, float]]:
    """The adapters, by attribute and digest, that any run has paid for: epsilon and delta of each."""
    return {
        (entry["attribute"], entry["query"]): (charge_of(entry).epsilon, charge_of(entry).delta)
        for entry in ledger.entries()
        if entry["kind"] == "planned" and entry["operation"] == "sensitive_training" and entry["query"]
    }


def _check_table(ids: Sequence[str], known: Collection[str], part: bool) -> None:
    if not ids:
        raise Refusal("the table of records is empty: enrol at least one record")
    if len(set(ids)) != len(ids):
        raise Refusal("the table of records has an id twice: its attribute would count twice")
    unknown = set(ids) - set(known)
    if unknown and not part:
        raise Refusal(f"{len(unknown)} of {len(ids)} record ids are unknown, {min(unknown)!r} first: leave them out")
