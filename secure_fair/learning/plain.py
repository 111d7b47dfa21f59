"""Plain mode: an in-process oracle that holds the attributes in the clear, behind the same gate as the secure parties.

It is for parity tests, upper bounds and sweeps. It protects nothing from the process that it runs in.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from functools import reduce
from typing import TYPE_CHECKING

import numpy as np
import torch
from torch import Tensor

import secure_fair.mpc.operations as operations
from secure_fair.groups import columns, joint_groups, membership_matrix
from secure_fair.learning.auditors import Adapter, Release, as_matrices, corrected, flatten_adapter, unflatten_adapter
from secure_fair.learning.settings import ADVERSARY_BALL, ADVERSARY_RATE
from secure_fair.privacy import requests
from secure_fair.privacy.gate import Gate, Grant, PlainOpening, Request
from secure_fair.privacy.randomised_response import Responses
from secure_fair.privacy.release_cache import Question, ReleaseCache
from secure_fair.privacy.requests import NO_RECORDS

if TYPE_CHECKING:
    from secure_fair.learning.sensitive import Sensitive

RECEIVER = "developer"
OwnTraining = Callable[[Adapter | None], Tensor]  # the developer's adapter, to weights (d, columns), float64

Admitted = list[tuple[Gate, list[Grant]]]  # what each gate has granted for one opening


class PlainAuditors:
    """``Auditors`` without shares: plain twins of the operations, the same releases, the same noise."""

    def __init__(
        self,
        codes: Mapping[str, np.ndarray],
        groups: Mapping[str, tuple[str, ...]],
        gates: Mapping[str, Sequence[Gate]],
        responses: Mapping[str, Sequence[Responses]],
        sensitive: Mapping[str, Sensitive],
        answers: ReleaseCache,
        precision_bits: int,
        *,
        evaluated: bool,
        own: Mapping[str, OwnTraining] | None = None,
        intersections: Mapping[str, Sequence[str]] | None = None,
        penalised: Sequence[str] | None = None,
    ) -> None:
        """By attribute: ``codes``, group of every enrolled record (n,); ``gates`` and ``responses`` of its holders.

        ``answers``: the developer's memory. ``evaluated``: whether counts of test records are released. ``own``: by
        attribute, what trains an adversary on the auditor's own pictures. ``intersections``: the attributes of each, by
        its name. ``penalised``: what the method is to be fair to, every attribute by default.
        """
        self._components = {name: (name,) for name in codes} | {
            name: tuple(components) for name, components in (intersections or {}).items()
        }
        self.attributes = tuple(codes) if penalised is None else tuple(penalised)
        self.audited = tuple(self._components)
        self._groups = {
            name: joint_groups({component: groups[component] for component in components})
            if len(components) > 1
            else groups[name]
            for name, components in self._components.items()
        }
        self._members: dict[str, Tensor] = {}
        for name, components in self._components.items():
            parts = [membership_matrix(codes[component], len(groups[component])) for component in components]
            self._members[name] = reduce(operations.plain_intersection, parts)
        self._codes = dict(codes)
        self._gates = dict(gates)
        self._responses = dict(responses)
        self._sensitive = dict(sensitive)
        self._told = answers
        self._scale = 2**precision_bits
        self._evaluated = evaluated
        self._adversaries: dict[str, Tensor] = {}
        self._own = dict(own or {})
        self._answers: dict[tuple[str, bytes], tuple[np.ndarray, float | None]] = {}

    def groups(self, attribute: str) -> tuple[str, ...]:
        """Names of the attribute's groups."""
        return self._groups[attribute]

    def group_counts(self, attribute: str, records: np.ndarray, strata: Tensor, count: int) -> Release:
        """Records per stratum and column."""
        return self._counts("group_counts", attribute, records, strata, count)

    def evaluation_counts(self, attribute: str, records: np.ndarray, strata: Tensor, count: int) -> Release | None:
        """Test records per stratum and column, where the scenario has them released; asked once, then remembered."""
        if not self._evaluated:
            return None
        operation, gates = "evaluation_counts", self._asked(attribute)
        holders = ", ".join(gate.auditor for gate in gates)

        def ask(query: str) -> tuple[Tensor, float]:
            released = self._counts(operation, attribute, records, strata, count, query)
            return released.values, released.sigma

        people = [gates[0].ids[record] for record in records]
        return Release(*self._told.recall(Question(operation, attribute, holders, people, strata, count), ask))

    def moment(self, attribute: str, records: np.ndarray, query: Tensor) -> Release:
        """F^T A."""
        request = requests.moment(attribute, self._count(attribute), records, query.shape[1], RECEIVER)
        return self._release(request, operations.plain_moment(query.double(), self._rows(attribute, records)))

    def penalty_rows(self, attribute: str, records: np.ndarray) -> Release:
        """The membership columns of each record."""
        request = requests.penalty_rows(attribute, self._count(attribute), records, RECEIVER)
        return self._release(request, self._rows(attribute, records))

    def adversary_rows(self, attribute: str, records: np.ndarray, features: Tensor) -> Release:
        """Rows of the adversary's gradient; the adversary moves one step."""
        width, groups = features.shape[1], self._count(attribute)
        request = requests.adversary_rows(attribute, groups, records, width, ADVERSARY_BALL, RECEIVER)
        step = requests.adversary_step(attribute, groups, records, width, RECEIVER)
        steps, openings = self._admit(step, request)
        return self._open(openings, self._adversary_step(attribute, records, features, steps), self._scale)

    def entropy_rows(self, attribute: str, records: np.ndarray, features: Tensor) -> Release:
        """Rows of the entropy's gradient; an adversary of aligned records then moves one step."""
        width, groups = features.shape[1], self._count(attribute)
        weights = self._adversaries.get(attribute, torch.zeros(width, columns(groups), dtype=torch.float64))
        rows = operations.plain_entropy(features, weights)
        if attribute in self._own:
            return self._release(requests.entropy_rows(attribute, NO_RECORDS, features.shape, RECEIVER), rows)
        request = requests.entropy_rows(attribute, records, features.shape, RECEIVER)
        steps, openings = self._admit(requests.adversary_step(attribute, groups, records, width, RECEIVER), request)
        self._adversary_step(attribute, records, features, steps)
        return self._open(openings, rows, self._scale)

    def train_adversary(self, attribute: str, width: int, adapter: Adapter | None) -> None:
        """The auditor's own training, accounted at its gate."""
        self._adversaries[attribute] = self._own[attribute](adapter)

    def randomised_attributes(self, attribute: str, records: np.ndarray) -> tuple[Tensor, Tensor]:
        """Group codes by randomised response; an intersection's follow from the answers about its attributes."""
        components = self._components[attribute]
        found = [self._answered(component, records) for component in components]
        counts = [self._count(component) for component in components]
        return corrected([answers for answers, _ in found], counts, [epsilon for _, epsilon in found])

    def _answered(self, attribute: str, records: np.ndarray) -> tuple[np.ndarray, float | None]:
        """The answers and their epsilon, asked for once; every holder gives those of its own people."""
        key = (attribute, records.tobytes())
        if key not in self._answers:
            groups = self._count(attribute)
            request = requests.randomised_attributes(attribute, groups, records, RECEIVER)
            codes = np.zeros(len(records), dtype=np.int64)
            grants = [gate.admit(request) for gate in self._gates[attribute]]
            for gate, responses, grant in zip(self._gates[attribute], self._responses[attribute], grants, strict=True):
                here = gate.held[records]
                ids = [gate.ids[record] for record in records[here]]
                answers = responses.answer(grant, ids, self._codes[attribute][records[here]], groups)
                opened = gate.release(grant, PlainOpening(_placed(answers, here), 1))
                assert opened is not None  # the receiver is in this process
                codes[here] = opened.long().numpy()[here]
            self._answers[key] = codes, grants[0].epsilon
        return self._answers[key]

    def orthogonality(self, attribute: str, task: Sequence[Tensor]) -> list[Tensor]:
        """2 A_t A_s^T A_s of each module."""
        gradients = operations.plain_orthogonality(
            [matrix.double() for matrix in task], as_matrices(self._sensitive[attribute].adapter)
        )
        flat = torch.cat([gradient.flatten() for gradient in gradients])
        opened = self._release(requests.orthogonality(attribute, len(flat), RECEIVER), flat).values
        parts = opened.split([matrix.numel() for matrix in task])
        return [part.reshape(matrix.shape) for part, matrix in zip(parts, task, strict=True)]

    def sensitive_adapter(self, attribute: str) -> Adapter:
        """The auditor's adapter."""
        adapter = self._sensitive[attribute].adapter
        flat = flatten_adapter(adapter)
        opened = self._release(requests.sensitive_adapter(attribute, len(flat), RECEIVER), flat).values
        return unflatten_adapter(opened, {name: (a.shape, b.shape) for name, (a, b) in adapter.items()})

    def _adversary_step(self, attribute: str, records: np.ndarray, features: Tensor, steps: Admitted) -> Tensor:
        """Move the adversary one step, with noise; the rows of its gradient before."""
        start = torch.zeros(features.shape[1], columns(self._count(attribute)), dtype=torch.float64)
        update = self._open(steps, start, self._scale**2)
        rows, self._adversaries[attribute] = operations.plain_adversary(
            features.double(),
            self._rows(attribute, records),
            self._adversaries.get(attribute, start),
            learning_rate=ADVERSARY_RATE,
            ball=ADVERSARY_BALL,
            sigma=update.sigma,
            noise=update.values if update.sigma else None,
        )
        return rows

    def _counts(
        self, operation: str, attribute: str, records: np.ndarray, strata: Tensor, count: int, query: str = ""
    ) -> Release:
        request = requests.counts(operation, attribute, self._count(attribute), records, count, RECEIVER, query)
        indicator = torch.nn.functional.one_hot(strata, count).double()
        return self._release(request, operations.plain_moment(indicator, self._rows(attribute, records)))

    def _release(self, request: Request, value: Tensor) -> Release:
        (openings,) = self._admit(request)
        return self._open(openings, value, self._scale)

    def _admit(self, *wanted: Request) -> list[Admitted]:
        """Every holder admits all that is wanted, before anybody spends anything; by request."""
        components = self._components[wanted[0].attribute]
        admitted: list[Admitted] = [[] for _ in wanted]
        for gate in self._asked(wanted[0].attribute):
            here = [component for component in components if any(gate is other for other in self._gates[component])]
            grants = gate.admit_together([requests.charged_on(request, held) for request in wanted for held in here])
            for place, into in enumerate(admitted):
                into.append((gate, grants[place * len(here) : (place + 1) * len(here)]))
        return admitted

    def _asked(self, name: str) -> list[Gate]:
        """Of all that hold the attribute, or one of the intersection's, each once."""
        gates = (gate for component in self._components[name] for gate in self._gates[component])
        return list({id(gate): gate for gate in gates}.values())

    def _open(self, admitted: Admitted, value: Tensor, scale: int) -> Release:
        """One gate after the other adds its noise, as the holders' shares would."""
        opened = value.double()
        for gate, grants in admitted:
            noised = gate.release_together(grants, PlainOpening(opened, scale))
            assert noised is not None  # the receiver is in this process
            opened = noised
        sigmas = [grant.receipt.sigma or 0.0 for _, grants in admitted for grant in grants]
        return Release(opened, math.hypot(*sigmas))

    def _rows(self, attribute: str, records: np.ndarray) -> Tensor:
        return self._members[attribute][torch.from_numpy(records)].double()

    def _count(self, attribute: str) -> int:
        return len(self._groups[attribute])


def _placed(answers: np.ndarray, here: np.ndarray) -> Tensor:
    """Answers where they belong, 0 elsewhere; float64 (n,)."""
    values = np.zeros(len(here))
    values[here] = answers
    return torch.from_numpy(values)
