"""The gradient of ||A_t A_s^T||^2 by the developer's task adapter, the auditor's sensitive adapter being on shares."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from typing import Any

import numpy as np
import torch
from torch import Tensor

from secure_fair.errors import Refusal
from secure_fair.mpc.products import Shared, mask, multiply, public_shapes, rescale, truncate
from secure_fair.mpc.schedule import scheduled
from secure_fair.mpc.session import Session
from secure_fair.mpc.shares import combine, from_share, stack
from secure_fair.operations.common.adapters import Shape, alike, unflatten
from secure_fair.operations.common.ask import Ask, Auditors
from secure_fair.operations.common.operation import Operation, Update
from secure_fair.operations.common.sizes import RunSizes
from secure_fair.operations.common.state import MOST_ADAPTER_ENTRY, PlainState, PublicFacts, SharedState
from secure_fair.privacy.request import NO_RECORDS
from secure_fair.privacy.rules import Rule

from crypten.mpc import MPCTensor  # isort: skip

ENLARGED = 8.0  # leaves room for entries up to MOST_ADAPTER_ENTRY / 8 = 128, and the truncation's dividends small
FINER = 16  # costs an opened value room, of which it has enough; the dividends stay


def orthogonality(auditors: Auditors, attribute: str, task: Sequence[Tensor]) -> list[Tensor]:
    """Have the gradient of sum_m ||A_t A_s^T||_F^2 opened, by each task matrix A_t (r, d_m).

    It is linear in A_t, and small where the adapters started apart: matrices go in ``ENLARGED`` times as large, and the
    gradient comes out ``FINER`` times that, so that fixed point costs it that much less.
    """
    shapes = [(matrix.shape[0], matrix.shape[1]) for matrix in task]
    ask = Ask(operation="orthogonality", attribute=attribute, shapes=shapes)
    answer = auditors.release(ask, NO_RECORDS, [matrix * ENLARGED for matrix in task])
    return unflatten(answer.values / (ENLARGED * FINER), shapes)


class Orthogonality(Operation):
    """No aligned record takes part: given the auditor's adapter, whose training is accounted, nothing more is told."""

    rule = Rule(None, paid_by=("sensitive_training",), binding=True)
    input_bound = MOST_ADAPTER_ENTRY
    on_adapter = True

    def check(self, ask: Ask, records: np.ndarray, facts: PublicFacts) -> None:
        """Task matrices are as wide as the sensitive adapter's, and of one shape where those are."""
        held = _held(facts, ask.attribute)
        widths = [width for _, width in held]
        fitting = [width for _, width in ask.shapes] == widths
        if not fitting or any(len({ask.shapes[i][0] for i in places}) > 1 for places in alike(held)) or len(records):
            raise Refusal(f"orthogonality: matrices {ask.shapes} do not fit to the adapter's widths {widths}")

    def shape(self, ask: Ask, records: np.ndarray, facts: PublicFacts) -> tuple[int, ...]:
        """All gradients as one vector."""
        return (ask.numbers,)

    def bound(self, ask: Ask, records: np.ndarray, facts: PublicFacts) -> float:
        """As the matrices' entries, ``FINER`` times."""
        return MOST_ADAPTER_ENTRY * FINER

    def inputs(self, ask: Ask, records: np.ndarray) -> list[tuple[int, int]]:
        """The task matrices."""
        return list(ask.shapes)

    def foreseen(self, ask: Ask, sizes: RunSizes) -> tuple[Ask, int]:
        """The task adapter's row matrices, and no record."""
        return ask.model_copy(update={"shapes": list(sizes.adapter)}), 0

    def compute(self, state: SharedState, ask: Ask, records: np.ndarray, inputs: list[Any], update: Update) -> Any:
        """All gradients on shares, ``FINER`` times."""
        stacks = alike(_held(state.facts, ask.attribute))
        task = [stack([inputs[i] for i in places]) for places in stacks]
        gradients = orthogonality_on_shares(state.session, task, state.sensitive[ask.attribute], FINER)
        parts = [part for gradient in gradients for part in gradient.share]  # in the order of the stacks
        order = sorted(range(len(parts)), key=[place for places in stacks for place in places].__getitem__)
        return from_share(combine([parts[i] for i in order]), state.session.scale)

    def plain(
        self, state: PlainState, ask: Ask, records: np.ndarray, private: Sequence[Tensor], update: Update
    ) -> Tensor:
        """All gradients in the clear, ``FINER`` times."""
        gradients = plain_orthogonality(private, state.sensitive[ask.attribute])
        return torch.cat([gradient.flatten() for gradient in gradients]) * FINER


def _held(facts: PublicFacts, attribute: str) -> list[Shape]:
    """The shapes of the sensitive adapter's row matrices."""
    return [shape for shape, _ in facts.adapters.get(attribute, {}).values()]


def orthogonality_on_shares(
    session: Session, task: Sequence[Shared], sensitive: Sequence[Shared], times: int = 1
) -> list[MPCTensor]:
    """Gradient 2 A_t A_s^T A_s of ||A_t A_s^T||_F^2 by each ``task`` matrix A_t (r_t, d_m); A_s (r_s, d_m). Two rounds.

    Each may be a stack of as many such matrices, (m, r, d), which takes about the time of one. The gradient comes
    ``times`` as large (a power of 2), and so with that much less of the rounding. Pass what ``products.fix`` made of
    the sensitive matrices where they stay: they are then opened masked only once.
    """
    shapes = public_shapes(*task, *sensitive)
    return scheduled(session, "orthogonality", shapes, partial(_gradients, times), *task, *sensitive)


def _gradients(times: int, session: Session, *adapters: Shared) -> list[MPCTensor]:
    """The gradients by the first half of the matrices, which are the task's."""
    masked = mask(session, *adapters)
    t, s = masked[: len(masked) // 2], masked[len(masked) // 2 :]
    inner = [multiply(session, "matmul", a_t, a_s.T) for a_t, a_s in zip(t, s, strict=True)]
    overlaps = mask(session, *rescale(session, *inner))
    outer = [multiply(session, "matmul", o, a_s) for o, a_s in zip(overlaps, s, strict=True)]
    doubled = [(product, session.scale // (2 * times)) for product in outer]
    return truncate(session, *doubled, scale=session.scale)


def plain_orthogonality(task: Sequence[Tensor], sensitive: Sequence[Tensor]) -> list[Tensor]:
    """2 A_t A_s^T A_s in float64."""
    return [2 * (t.double() @ s.double().T) @ s.double() for t, s in zip(task, sensitive, strict=True)]


OPERATION = Orthogonality()
