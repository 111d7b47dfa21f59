"""Plain mode: an in-process oracle that holds the attributes in the clear, behind the same gate as the secure parties.

It is for parity tests, upper bounds and sweeps. It protects nothing from the process that it runs in.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING

import numpy as np
import torch
from torch import Tensor

import secure_fair.mpc.operations as operations
from secure_fair.learning.auditors import (
    Adapter,
    Release,
    as_matrices,
    flatten_adapter,
    membership_matrix,
    unflatten_adapter,
)
from secure_fair.learning.settings import ADVERSARY_BALL, ADVERSARY_RATE
from secure_fair.privacy import requests
from secure_fair.privacy.answers import Answers, Question
from secure_fair.privacy.gate import Gate, PlainOpening, Request
from secure_fair.privacy.randomised_response import Responses
from secure_fair.privacy.requests import NO_RECORDS

if TYPE_CHECKING:
    from secure_fair.learning.sensitive import Sensitive

RECEIVER = "developer"
OwnTraining = Callable[[Adapter | None], Tensor]  # the developer's adapter, to weights (d, columns), float64


class PlainAuditors:
    """``Auditors`` without shares: plain twins of the operations, the same releases, the same noise."""

    def __init__(
        self,
        codes: Mapping[str, np.ndarray],
        groups: Mapping[str, tuple[str, ...]],
        gates: Mapping[str, Gate],
        responses: Mapping[str, Responses],
        sensitive: Mapping[str, Sensitive],
        answers: Answers,
        precision_bits: int,
        *,
        evaluated: bool,
        own: Mapping[str, OwnTraining] | None = None,
    ) -> None:
        """By attribute: ``codes``, group of every enrolled record (n,); ``gates`` and ``responses`` of its holder.

        ``answers``: the developer's memory. ``evaluated``: whether counts of test records are released. ``own``: by
        attribute, what trains an adversary on the auditor's own pictures.
        """
        self.attributes = tuple(codes)
        self._groups = dict(groups)
        self._members = {name: membership_matrix(held, len(groups[name])) for name, held in codes.items()}
        self._codes = dict(codes)
        self._gates = dict(gates)
        self._responses = dict(responses)
        self._sensitive = dict(sensitive)
        self._told = answers
        self._scale = 2**precision_bits
        self._evaluated = evaluated
        self._adversaries: dict[str, Tensor] = {}
        self._own = dict(own or {})

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
        operation, gate = "evaluation_counts", self._gates[attribute]

        def ask(query: str) -> tuple[Tensor, float]:
            released = self._counts(operation, attribute, records, strata, count, query)
            return released.values, released.sigma

        people = [gate.ids[record] for record in records]
        return Release(*self._told.once(Question(operation, attribute, gate.auditor, people, strata, count), ask))

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
        rows = self._adversary_step(attribute, records, features)
        return self._release(request, rows)

    def entropy_rows(self, attribute: str, records: np.ndarray, features: Tensor) -> Release:
        """Rows of the entropy's gradient; an adversary of aligned records then moves one step."""
        width, groups = features.shape[1], self._count(attribute)
        weights = self._adversaries.get(attribute, torch.zeros(width, requests.columns(groups), dtype=torch.float64))
        if attribute not in self._own:
            self._adversary_step(attribute, records, features)
        request = requests.entropy_rows(
            attribute, NO_RECORDS if attribute in self._own else records, features.shape, RECEIVER
        )
        return self._release(request, operations.plain_entropy(features, weights))

    def train_adversary(self, attribute: str, width: int, adapter: Adapter | None) -> None:
        """The auditor's own training, accounted at its gate."""
        self._adversaries[attribute] = self._own[attribute](adapter)

    def randomised_attributes(self, attribute: str, records: np.ndarray) -> tuple[Tensor, float | None]:
        """Group codes by randomised response."""
        groups = self._count(attribute)
        request = requests.randomised_attributes(attribute, groups, records, RECEIVER)
        gate = self._gates[attribute]
        grant = gate.admit(request)
        ids = [gate.ids[record] for record in records]
        answers = self._responses[attribute].answer(grant, ids, self._codes[attribute][records], groups)
        opened = gate.release(grant, PlainOpening(torch.from_numpy(answers).double(), 1))
        assert opened is not None  # the receiver is in this process
        return opened.long(), grant.epsilon

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

    def _adversary_step(self, attribute: str, records: np.ndarray, features: Tensor) -> Tensor:
        """Move the adversary one step, with noise; the rows of its gradient before."""
        width, groups = features.shape[1], self._count(attribute)
        gate = self._gates[attribute]
        step = gate.admit(requests.adversary_step(attribute, groups, records, width, RECEIVER))
        update = torch.zeros(width, requests.columns(groups), dtype=torch.float64)
        noise = gate.release(step, PlainOpening(update, self._scale**2))
        rows, self._adversaries[attribute] = operations.plain_adversary(
            features.double(),
            self._rows(attribute, records),
            self._adversaries.get(attribute, update),
            learning_rate=ADVERSARY_RATE,
            ball=ADVERSARY_BALL,
            sigma=step.receipt.sigma or 0.0,
            noise=noise if step.receipt.sigma else None,
        )
        return rows

    def _counts(
        self, operation: str, attribute: str, records: np.ndarray, strata: Tensor, count: int, query: str = ""
    ) -> Release:
        request = requests.counts(operation, attribute, self._count(attribute), records, count, RECEIVER, query)
        indicator = torch.nn.functional.one_hot(strata, count).double()
        return self._release(request, operations.plain_moment(indicator, self._rows(attribute, records)))

    def _release(self, request: Request, value: Tensor) -> Release:
        gate = self._gates[request.attribute]
        grant = gate.admit(request)
        opened = gate.release(grant, PlainOpening(value.double(), self._scale))
        assert opened is not None  # the receiver is in this process
        return Release(opened, grant.receipt.sigma or 0.0)

    def _rows(self, attribute: str, records: np.ndarray) -> Tensor:
        return self._members[attribute][torch.from_numpy(records)].double()

    def _count(self, attribute: str) -> int:
        return len(self._groups[attribute])
