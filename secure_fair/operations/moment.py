"""The moment of a query: F^T A, k numbers per column, however many records are summed."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor

from secure_fair.groups import columns, row_change
from secure_fair.mpc import bounds
from secure_fair.mpc.menu import Product
from secure_fair.mpc.products import Masked, Shared, mask, multiply, public_shapes
from secure_fair.mpc.session import Session
from secure_fair.mpc.shares import from_share, lift
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
        """The query; where parts are held each holder's rows by themselves, which are sent to it alone.

        It is proved to a holder that checks of the rows of its own people: no others enter what it answers.
        """
        parts = state.by_holder(ask.attribute, records)
        if not parts:
            return super().share(state, ask, records, private, verifiers)
        inputs: list[Any] = []
        for holder, places in parts.items():
            rows, shape = private[0][places] if private else None, (len(places), ask.width)
            if holder in verifiers:
                inputs.append(self.commit(state, rows, shape, [holder], told=[holder]))
            else:
                developer, bound = state.facts.developer, self.input_bound
                inputs.append(state.session.own(developer, rows, shape, bound=bound, told=[holder]))
        return inputs

    def compute(self, state: SharedState, ask: Ask, records: np.ndarray, inputs: list[Any], update: Update) -> Any:
        """F^T A on shares: the sum over the parts, where parts are held."""
        parts = state.by_holder(ask.attribute, records)
        if not parts:
            return moment_on_shares(state.session, inputs[0], state.members(ask.attribute, records))
        members = [state.members(ask.attribute, records[places]) for places in parts.values()]
        return moment_of_parts(state.session, inputs, members)

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


def moment_of_parts(session: Session, queries: Sequence[Shared], members: Sequence[Masked]) -> MPCTensor:
    """The sum of the moments of some queries, each of other people than the others. 1 round."""
    with session.operation("moment"):
        masked = mask(session, *queries)
        pairs = [(query.T, attributes) for query, attributes in zip(masked, members, strict=True)]
        session.provider.expect([Product("matmul", query.operand, attributes.operand) for query, attributes in pairs])
        sums = [lift(multiply(session, "matmul", *pair), session.scale) for pair in pairs]
        return from_share(torch.stack([one.share for one in sums]).sum(0), session.scale)


def on_grid(query: Tensor) -> Tensor:
    """The query (n, k) as it is committed to, float64: who regresses on the answer needs what was asked."""
    return torch.from_numpy(bounds.encode_rows(query, (query.shape[0], query.shape[1]))).double() / bounds.SCALE


def plain_moment(query: Tensor, attributes: Tensor) -> Tensor:
    """F^T A in float64."""
    return query.double().T @ attributes.double()


OPERATION = Moment()
