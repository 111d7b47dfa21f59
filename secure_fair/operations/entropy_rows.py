"""Gradient rows of the entropy of what an adversary predicts, by the developer's features: a row a record."""

from __future__ import annotations

import math
from collections.abc import Sequence
from functools import partial
from typing import Any

import numpy as np
import torch
from torch import Tensor

from secure_fair.errors import Refusal
from secure_fair.groups import columns
from secure_fair.mpc import approximations
from secure_fair.mpc.products import Shared, add_public, mask, multiply, rescale, shape_of
from secure_fair.mpc.schedule import scheduled
from secure_fair.mpc.session import Session
from secure_fair.mpc.shares import from_share, lift
from secure_fair.operations.adversary_rows import move_adversary, plain_move_adversary
from secure_fair.operations.common.ask import Ask, Auditors, Release
from secure_fair.operations.common.operation import Operation, Update
from secure_fair.operations.common.sizes import RunSizes
from secure_fair.operations.common.state import ADVERSARY_BALL, PlainState, PublicFacts, SharedState
from secure_fair.privacy.request import NO_RECORDS
from secure_fair.privacy.rules import Rule

from crypten.mpc import MPCTensor  # isort: skip


def entropy_rows(auditors: Auditors, attribute: str, records: np.ndarray, features: Tensor) -> Release:
    """Have dH/dz opened for each feature row (B, d), norm at most 1.

    The adversary then moves one step, unless it was trained on the auditor's own records: then the ``records`` have no
    part in it and are not named.
    """
    shape = (features.shape[0], features.shape[1])
    ask = Ask(operation="entropy_rows", attribute=attribute, width=shape[1], shapes=[shape])
    return auditors.release(ask, NO_RECORDS if auditors.own_records else records, [features])


class EntropyRows(Operation):
    """Attributes enter through the adversary's weights alone, whose updates or training are accounted."""

    rule = Rule(
        None,
        paid_by=("adversary_step", "sensitive_training"),
        row_per_record=True,
        bounded_rows=True,
        on_intersections=True,
        binding=True,  # given its adversary, whose updates are another matter
    )
    accounts = ("adversary_step",)

    def check(self, ask: Ask, records: np.ndarray, facts: PublicFacts) -> None:
        """Nobody need know whose rows they are where the adversary learns nothing from them."""
        rows, width = ask.shapes[0] if len(ask.shapes) == 1 else (0, 0)
        if width != ask.width or rows < 1 or (len(records) != rows and not facts.own_records):
            raise Refusal(f"entropy_rows: shapes {ask.shapes} do not fit to {len(records)} records, {ask.width} wide")

    def shape(self, ask: Ask, records: np.ndarray, facts: PublicFacts) -> tuple[int, ...]:
        """Rows by features."""
        return ask.shapes[0]

    def bound(self, ask: Ask, records: np.ndarray, facts: PublicFacts) -> float:
        """Entropy's slope is at most 1 + log of the columns, times the weights' norm."""
        return ADVERSARY_BALL * (1 + math.log(max(2, columns(facts.groups[ask.attribute]))))

    def inputs(self, ask: Ask, records: np.ndarray) -> list[tuple[int, int]]:
        """The feature rows."""
        return list(ask.shapes)

    def foreseen(self, ask: Ask, sizes: RunSizes) -> tuple[Ask, int]:
        """A batch's rows of features, whose number the request says."""
        wider, records = super().foreseen(ask, sizes)
        return self.about(wider, records), records

    def about(self, ask: Ask, records: int) -> Ask:
        """The same width, so many rows."""
        return ask.model_copy(update={"shapes": [(records, ask.width)]})

    def compute(self, state: SharedState, ask: Ask, records: np.ndarray, inputs: list[Any], update: Update) -> Any:
        """The rows by the adversary as it stands; one of aligned records then moves one step."""
        rows = entropy(state.session, inputs[0], state.adversary(ask.attribute, ask.width), ball=ADVERSARY_BALL)
        if not state.facts.own_records:
            move_adversary(state, ask, records, inputs[0], update)
        return rows

    def plain(
        self, state: PlainState, ask: Ask, records: np.ndarray, private: Sequence[Tensor], update: Update
    ) -> Tensor:
        """The same in the clear."""
        rows = plain_entropy(private[0], state.adversary(ask.attribute, ask.width))
        if not state.facts.own_records:
            plain_move_adversary(state, ask, records, private[0], update)
        return rows


def entropy(session: Session, features: Shared, weights: MPCTensor, *, ball: float) -> MPCTensor:
    """Gradient rows dH/dz (B, d) of the entropy H of what a linear adversary predicts from ``features`` z (B, d).

    Bounds as for ``adversary``, which trains the ``weights`` w (d, G): they alone hold anything about attributes. With
    logits u = z w, H = -sum_j p_j log p_j has dH/du_j = p_j (sum_k p_k u_k - u_j) for a softmax, and -u p (1 - p) for
    one column of a sigmoid; dH/dz = dH/du w^T. Rounds for two parties: 8 for one column, 12 to 16 for more.
    """
    shapes = [shape_of(features), weights.size()]
    return scheduled(session, "entropy", shapes, partial(_rows, ball=ball), features, weights)


def _rows(session: Session, features: Shared, weights: MPCTensor, *, ball: float) -> MPCTensor:
    z, w = mask(session, features, weights)
    logits = lift(multiply(session, "matmul", z, w), session.scale**2)
    p, (u,) = approximations.probabilities(session, logits, ball), rescale(session, logits)
    slope = _one_column(session, p, u) if weights.size(1) == 1 else _columns(session, p, u)
    (masked,) = mask(session, slope)
    (rows,) = rescale(session, multiply(session, "matmul", masked, w.T))
    return rows


def _one_column(session: Session, p: MPCTensor, u: MPCTensor) -> MPCTensor:
    """-u p (1 - p)."""
    opposite = add_public(session, from_share(-p.share, session.scale), session.scale)
    left, right, last = mask(session, p, opposite, from_share(-u.share, session.scale))
    (spread,) = mask(session, *rescale(session, multiply(session, "mul", left, right)))
    return rescale(session, multiply(session, "mul", last, spread))[0]


def _columns(session: Session, p: MPCTensor, u: MPCTensor) -> MPCTensor:
    """p_j (sum_k p_k u_k - u_j)."""
    left, right = mask(session, p, u)
    (terms,) = rescale(session, multiply(session, "mul", left, right))
    (factor,) = mask(session, from_share(terms.share.sum(1, keepdim=True) - u.share, session.scale))
    return rescale(session, multiply(session, "mul", left, factor))[0]


def plain_entropy(features: Tensor, weights: Tensor) -> Tensor:
    """The same rows in float64."""
    w = weights.double()
    u = features.double() @ w
    if w.shape[1] == 1:
        p = torch.sigmoid(u)
        return (-u * p * (1 - p)) @ w.T
    p = torch.softmax(u, dim=1)
    return (p * ((p * u).sum(1, keepdim=True) - u)) @ w.T


OPERATION = EntropyRows()
