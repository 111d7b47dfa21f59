"""What a fairness method may ask the auditors for; a method does not know whether the answers come from shares."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import reduce
from typing import Protocol

import numpy as np
import torch
from torch import Tensor

from secure_fair.groups import joint_codes
from secure_fair.privacy.randomised_response import debias

Adapter = Mapping[str, tuple[Tensor, Tensor]]  # module name: A (r, d_in) and B (d_out, r)


@dataclass(frozen=True)
class Release:
    """An opened value, float64, and the standard deviation of the noise on each of its numbers (0: exact)."""

    values: Tensor
    sigma: float = 0.0


class Auditors(Protocol):
    """The parties that hold the sensitive attributes, as the developer sees them.

    ``records`` are int64 indices into the table of records that was enrolled at the start, none twice.
    Of an attribute with G groups, ``columns`` are held: one for two groups (membership of group 1), G otherwise.
    An intersection of several attributes ("gender x race") is asked for by its name, like an attribute.

    ``attributes``: what the method is to be fair to; ``audited``: what the result is judged by.
    """

    attributes: tuple[str, ...]
    audited: tuple[str, ...]

    def groups(self, attribute: str) -> tuple[str, ...]:
        """Names of the attribute's groups; they are public."""

    def group_counts(self, attribute: str, records: np.ndarray, strata: Tensor, count: int) -> Release:
        """Records per stratum and column; ``strata`` (n,) int64 in [0, count); returns (count, columns)."""

    def evaluation_counts(self, attribute: str, records: np.ndarray, strata: Tensor, count: int) -> Release | None:
        """As ``group_counts``, of test records and with a budget of their own; None where the scenario has none."""

    def moment(self, attribute: str, records: np.ndarray, query: Tensor) -> Release:
        """F^T A for the query F (n, k), rows of norm at most 1; returns (k, columns)."""

    def penalty_rows(self, attribute: str, records: np.ndarray) -> Release:
        """The membership columns of each record; returns (B, columns)."""

    def adversary_rows(self, attribute: str, records: np.ndarray, features: Tensor) -> Release:
        """Gradient of the shared adversary's summed loss by each feature row (B, d), rows of norm at most 1."""

    def entropy_rows(self, attribute: str, records: np.ndarray, features: Tensor) -> Release:
        """Gradient of the entropy of the shared adversary's prediction by each feature row (B, d), norm at most 1.

        The adversary then moves one step, unless it was trained on the auditor's own records.
        """

    def train_adversary(self, attribute: str, width: int, adapter: Adapter | None) -> None:
        """Have the auditor train the adversary anew on its own pictures, as ``width`` features of the ``adapter``.

        The adapter is thereby disclosed to the auditor; None: features of the frozen backbone.
        """

    def randomised_attributes(self, attribute: str, records: np.ndarray) -> tuple[Tensor, Tensor]:
        """Group codes (n,) by randomised response, one answer a person for ever, and the matrix (G, G) that corrects
        them: one_hot(codes) @ matrix is right on average."""

    def orthogonality(self, attribute: str, task: Sequence[Tensor]) -> list[Tensor]:
        """Gradient of sum_m ||A_t A_s^T||_F^2 by each task matrix A_t (r, d_m)."""

    def sensitive_adapter(self, attribute: str) -> Adapter:
        """The adapter that the attribute's auditor trained on its own records to predict the attribute."""


def corrected(
    answers: Sequence[np.ndarray], groups: Sequence[int], epsilons: Sequence[float | None]
) -> tuple[Tensor, Tensor]:
    """Answers by randomised response to one or more attributes as answers about their intersection, with the matrix
    that corrects them: people lie about each attribute on their own, so it is the Kronecker product of the attributes'.
    """
    matrices = [
        torch.eye(count, dtype=torch.float64) if epsilon is None else torch.from_numpy(debias(count, epsilon))
        for count, epsilon in zip(groups, epsilons, strict=True)
    ]
    return torch.from_numpy(joint_codes(answers, groups)), reduce(torch.kron, matrices)


def flatten_adapter(adapter: Adapter) -> Tensor:
    """All matrices of an adapter, in order, as one float64 vector."""
    return torch.cat([part.double().flatten() for pair in adapter.values() for part in pair])


def unflatten_adapter(flat: Tensor, shapes: Mapping[str, tuple[torch.Size, torch.Size]]) -> Adapter:
    """The adapter with these shapes from its vector, float32."""
    sizes = [shape for pair in shapes.values() for shape in pair]
    parts = iter(flat.split([shape.numel() for shape in sizes]))
    return {name: (next(parts).reshape(a).float(), next(parts).reshape(b).float()) for name, (a, b) in shapes.items()}


def as_matrices(adapter: Adapter) -> list[Tensor]:
    """The row matrices A (r, d_m) in the adapter's order, float64."""
    return [a.to(torch.float64) for a, _ in adapter.values()]
