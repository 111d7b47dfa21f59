"""The moment of a query: F^T A, k numbers per column, however many records are summed."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor

from secure_fair.groups import columns, row_change
from secure_fair.mpc import bounds
from secure_fair.mpc.products import Shared, mask, multiply, public_shapes
from secure_fair.mpc.session import Session
from secure_fair.mpc.shares import lift
from secure_fair.operations.common.ask import Ask, Auditors, Release
from secure_fair.operations.common.operation import Operation, Update
from secure_fair.operations.common.sizes import RunSizes
from secure_fair.operations.common.state import PlainState, PublicFacts, SharedState
from secure_fair.privacy.rules import Rule

from crypten.mpc import MPCTensor  # isort: skip


def moment(auditors: Auditors, attribute: str, records: np.ndarray, query: Tensor) -> Release:
    """Have F^T A opened, (k, columns), for the query F (n, k) over ``records``, rows of norm at most 1."""
    ask = Ask(operation="moment", attribute=attribute, width=query.shape[1])
    return auditors.release(ask, records, [query])


class Moment(Operation):
    """The query is the developer's, A the memberships; one attribute moves the sum by its row of F."""

    rule = Rule(row_change, by_group=True, bounded_rows=True, on_intersections=True, binding=True)

    def shape(self, ask: Ask, records: np.ndarray, facts: PublicFacts) -> tuple[int, ...]:
        """k numbers of a query by columns of the attribute."""
        return ask.width, columns(facts.groups[ask.attribute])

    def bound(self, ask: Ask, records: np.ndarray, facts: PublicFacts) -> float:
        """Entries within 1, one for each record."""
        return float(len(records))

    def foreseen(self, ask: Ask, sizes: RunSizes) -> tuple[Ask, int]:
        """The method's query over all training records."""
        return ask.model_copy(update={"width": sizes.query}), sizes.training

    def share(
        self, state: SharedState, ask: Ask, records: np.ndarray, private: Sequence[Tensor], verifiers: Sequence[str]
    ) -> list[Any]:
        """The query's rows in the order of the memberships: the sum is the same."""
        order = state.by_holder(ask.attribute, records)
        return super().share(state, ask, records, [rows[order] for rows in private], verifiers)

    def compute(self, state: SharedState, ask: Ask, records: np.ndarray, inputs: list[Any], update: Update) -> Any:
        """F^T A on shares."""
        ordered = records[state.by_holder(ask.attribute, records)]
        return moment_on_shares(state.session, inputs[0], state.members(ask.attribute, ordered))

    def plain(
        self, state: PlainState, ask: Ask, records: np.ndarray, private: Sequence[Tensor], update: Update
    ) -> Tensor:
        """F^T A in the clear."""
        return plain_moment(private[0], state.members(ask.attribute, records))


def moment_on_shares(session: Session, query: Shared, attributes: Shared) -> MPCTensor:
    """F^T A, (k, G), of ``query`` F (n, k) and ``attributes`` A (n, G), without truncation. 1 round.

    At the session's scale at least: the gate's noise is in whole ring units, coarse ones make it larger than told.
    """
    with session.operation("moment", *public_shapes(query, attributes)):
        f, a = mask(session, query, attributes)
        return lift(multiply(session, "matmul", f.T, a), session.scale)


def on_grid(query: Tensor) -> Tensor:
    """The query (n, k) as it is committed to, float64: who regresses on the answer needs what was asked."""
    return torch.from_numpy(bounds.encode_rows(query, (query.shape[0], query.shape[1]))).double() / bounds.SCALE


def plain_moment(query: Tensor, attributes: Tensor) -> Tensor:
    """F^T A in float64."""
    return query.double().T @ attributes.double()


OPERATION = Moment()
