"""Gradient rows of an adversary's loss by the developer's features: a row a record; the adversary then moves a step."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from torch import Tensor

from secure_fair.groups import row_change
from secure_fair.operations.adversary_step import adversary, plain_adversary
from secure_fair.operations.common.ask import Ask, Auditors, Release
from secure_fair.operations.common.operation import Operation, Update
from secure_fair.operations.common.state import ADVERSARY_BALL, PlainState, PublicFacts, SharedState
from secure_fair.privacy.rules import Rule


def adversary_rows(auditors: Auditors, attribute: str, records: np.ndarray, features: Tensor) -> Release:
    """Have dL/dz opened for each feature row (B, d), rows of norm at most 1; the shared adversary moves one step."""
    ask = Ask(operation="adversary_rows", attribute=attribute, width=features.shape[1])
    return auditors.release(ask, records, [features])


def _row_change(groups: int) -> float:
    """A row is (p_i - a_i) w^T: a change of group moves it by the distance of two columns of w, which is in a ball."""
    return row_change(groups) * ADVERSARY_BALL


class AdversaryRows(Operation):
    """Everybody else's attribute is in a row through w alone: the accounted updates cover it."""

    rule = Rule(_row_change, needs=("adversary_step",), row_per_record=True, bounded_rows=True, on_intersections=True)
    accounts = ("adversary_step",)

    def shape(self, ask: Ask, records: np.ndarray, facts: PublicFacts) -> tuple[int, ...]:
        """A row of as many numbers as there are features."""
        return len(records), ask.width

    def bound(self, ask: Ask, records: np.ndarray, facts: PublicFacts) -> float:
        """|p - a| <= sqrt 2, times the weights' norm; with room for the approximation's error."""
        return 2 * ADVERSARY_BALL

    def compute(self, state: SharedState, ask: Ask, records: np.ndarray, inputs: list[Any], update: Update) -> Any:
        """The rows by the adversary as it stands; then it stands elsewhere."""
        return move_adversary(state, ask, records, inputs[0], update)

    def plain(
        self, state: PlainState, ask: Ask, records: np.ndarray, private: Sequence[Tensor], update: Update
    ) -> Tensor:
        """The same in the clear."""
        return plain_move_adversary(state, ask, records, private[0], update)


def move_adversary(state: SharedState, ask: Ask, records: np.ndarray, features: Any, update: Update) -> Any:
    """Move the attribute's adversary one step; returns the rows of its gradient before."""
    weights = state.adversary(ask.attribute, ask.width)
    rows, state.adversaries[ask.attribute] = adversary(
        state.session, features, state.members(ask.attribute, records), weights, update=update
    )
    return rows


def plain_move_adversary(state: PlainState, ask: Ask, records: np.ndarray, features: Tensor, update: Update) -> Tensor:
    """The same in the clear."""
    weights = state.adversary(ask.attribute, ask.width)
    rows, state.adversaries[ask.attribute] = plain_adversary(
        features, state.members(ask.attribute, records), weights, update=update
    )
    return rows


OPERATION = AdversaryRows()
