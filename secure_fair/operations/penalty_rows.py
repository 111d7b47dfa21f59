"""Membership columns of each record of a batch, from which a penalty's coefficient is made: a row a record."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor

from secure_fair.groups import columns, row_change
from secure_fair.mpc.products import Masked
from secure_fair.mpc.session import Session
from secure_fair.mpc.shares import from_share, lift
from secure_fair.operations.common.ask import Ask, Auditors, Release
from secure_fair.operations.common.operation import Operation, Update
from secure_fair.operations.common.sizes import RunSizes
from secure_fair.operations.common.state import PlainState, PublicFacts, SharedState
from secure_fair.privacy.rules import Rule

from crypten.mpc import MPCTensor  # isort: skip


def penalty_rows(auditors: Auditors, attribute: str, records: np.ndarray) -> Release:
    """Have the membership columns of each record opened, (B, columns)."""
    return auditors.release(Ask(operation="penalty_rows", attribute=attribute), records)


class PenaltyRows(Operation):
    """The developer brings nothing: it makes the coefficients from the noised rows in the clear."""

    rule = Rule(row_change, by_group=True, row_per_record=True, on_intersections=True, binding=True)

    def shape(self, ask: Ask, records: np.ndarray, facts: PublicFacts) -> tuple[int, ...]:
        """A row for each record."""
        return len(records), columns(facts.groups[ask.attribute])

    def bound(self, ask: Ask, records: np.ndarray, facts: PublicFacts) -> float:
        """Memberships are 0 or 1."""
        return 1.0

    def inputs(self, ask: Ask, records: np.ndarray) -> list[tuple[int, int]]:
        """Nothing."""
        return []

    def foreseen(self, ask: Ask, sizes: RunSizes) -> tuple[Ask, int]:
        """A batch, and no query."""
        return ask, sizes.batch

    def compute(self, state: SharedState, ask: Ask, records: np.ndarray, inputs: list[Any], update: Update) -> Any:
        """The rows as they are held."""
        weights = torch.eye(columns(state.facts.groups[ask.attribute]), dtype=torch.int64)
        return weighted_rows(state.session, state.members(ask.attribute, records), weights)

    def plain(
        self, state: PlainState, ask: Ask, records: np.ndarray, private: Sequence[Tensor], update: Update
    ) -> Tensor:
        """The rows in the clear."""
        return state.members(ask.attribute, records)


def weighted_rows(session: Session, attributes: MPCTensor | Masked, weights: Tensor) -> MPCTensor:
    """A W, (B, k), of ``attributes`` A (B, G) and public ``weights`` W (G, k). No round.

    Real weights are rounded to the session's precision; the value is at the session's scale at least (``moment``).
    """
    shared = attributes if isinstance(attributes, MPCTensor) else attributes.shared
    scale = session.scale if weights.is_floating_point() else 1
    encoded = torch.round(weights.double() * scale).long()
    return lift(from_share(shared.share @ encoded, shared.encoder.scale * scale), session.scale)


OPERATION = PenaltyRows()
