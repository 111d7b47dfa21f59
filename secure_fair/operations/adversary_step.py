"""One step of a linear adversary that predicts the attribute from the developer's features. Nothing is opened."""

from __future__ import annotations

import math
from collections.abc import Sequence
from functools import partial

import numpy as np
import torch
from torch import Tensor

from secure_fair.errors import Refusal, UsageError
from secure_fair.groups import columns, row_change
from secure_fair.mpc import approximations
from secure_fair.mpc.products import Masked, Shared, mask, multiply, shape_of, truncate
from secure_fair.mpc.schedule import scheduled
from secure_fair.mpc.session import Session
from secure_fair.mpc.shares import from_share, lift
from secure_fair.operations.common.ask import Ask
from secure_fair.operations.common.operation import Operation, Update
from secure_fair.operations.common.state import ADVERSARY_BALL, PublicFacts
from secure_fair.privacy.rules import Rule

from crypten.mpc import MPCTensor  # isort: skip

ADVERSARY_RATE = 0.05  # gradient step of the adversary on its summed loss
MAX_STEP = 0.4  # one step moves the weights by at most this part of the ball


class AdversaryStep(Operation):
    """An update z^T (p - A) that stays on shares, noised and accounted as if it were opened: later rows carry it."""

    rule = Rule(row_change, by_group=True, bounded_rows=True, on_intersections=True, opened=False)

    def check(self, ask: Ask, records: np.ndarray, facts: PublicFacts) -> None:
        """It comes with the rows of adv and ent alone."""
        raise Refusal("adversary_step is not asked for by itself")

    def shape(self, ask: Ask, records: np.ndarray, facts: PublicFacts) -> tuple[int, ...]:
        """The shape of the weights."""
        return ask.width, columns(facts.groups[ask.attribute])


def adversary(
    session: Session,
    features: Shared,
    attributes: MPCTensor | Masked,
    weights: MPCTensor,
    *,
    learning_rate: float = ADVERSARY_RATE,
    ball: float = ADVERSARY_BALL,
    update: Update = Update(),  # noqa: B008 (frozen)
) -> tuple[MPCTensor, MPCTensor]:
    """One step of the adversary: gradient rows (B, d) of before it, and the new weights (d, G).

    ``features`` z (B, d), rows clipped to norm 1 by their owner; ``weights`` w in the ball, ||w||_F <= ``ball`` <= 8,
    so that |z_i w| <= ball. Logits z w; p = sigmoid for one column, else softmax. The loss is summed over the batch:

        rows_i = dL/dz_i = (p_i - a_i) w^T,   w <- shrink(w - rate (z^T (p - A) + N)),   rate: see ``adversary_rate``.

    N is the ``update``'s noise, int64 (d, G) in units of 1 / scale^2, of the attribute's holder; all other parties have
    none. Later rows depend on earlier attributes through w: only where every update has its noise are they covered by
    it. sigma 0 is an exact update. Rounds for two parties: 10 for one column, 16 to 20 for more.
    """
    batch, dim = shape_of(features)
    rate = adversary_rate(learning_rate, ball, batch, dim, columns=weights.size(1), sigma=update.sigma)
    _check_noise(update, weights.size())
    step = partial(_step, rate=rate, ball=ball, noise=update.noise)
    return scheduled(session, "adversary", [(batch, dim), weights.size()], step, features, attributes, weights)


def _step(
    session: Session,
    features: Shared,
    attributes: MPCTensor | Masked,
    weights: MPCTensor,
    *,
    rate: float,
    ball: float,
    noise: Tensor | None,
) -> tuple[MPCTensor, MPCTensor]:
    """The rows and the new weights, once all is checked."""
    z, w = mask(session, features, weights)
    logits = lift(multiply(session, "matmul", z, w), session.scale**2)
    p = approximations.probabilities(session, logits, ball)
    a = attributes if isinstance(attributes, MPCTensor) else attributes.shared
    (residual,) = mask(session, from_share(p.share - a.share * (p.encoder.scale // a.encoder.scale), session.scale))
    rows = multiply(session, "matmul", residual, w.T)
    gradient = lift(multiply(session, "matmul", z.T, residual), session.scale**2)
    if noise is not None:
        gradient = from_share(gradient.share + noise, gradient.encoder.scale)
    rows, step = truncate(session, (rows, session.scale), (gradient, round(session.scale / rate)), scale=session.scale)
    moved = from_share(weights.share - step.share, session.scale)
    return rows, approximations.shrink_into_ball(session, moved, ball)


def _check_noise(update: Update, shape: Sequence[int]) -> None:
    noise = update.noise
    if noise is not None and (update.sigma <= 0 or noise.dtype != torch.int64 or tuple(noise.shape) != tuple(shape)):
        raise UsageError(f"noise of the update: int64 of shape {tuple(shape)}, with its sigma above 0")


def plain_adversary(
    features: Tensor,
    attributes: Tensor,
    weights: Tensor,
    *,
    learning_rate: float = ADVERSARY_RATE,
    ball: float = ADVERSARY_BALL,
    update: Update = Update(),  # noqa: B008 (frozen)
) -> tuple[Tensor, Tensor]:
    """The same step in float64; the ``update``'s noise (d, G) in real numbers."""
    z, a, w = features.double(), attributes.double(), weights.double()
    rate = adversary_rate(learning_rate, ball, *z.shape, columns=w.shape[1], sigma=update.sigma)
    p = torch.sigmoid(z @ w) if w.shape[1] == 1 else torch.softmax(z @ w, dim=1)
    moved = w - rate * (z.T @ (p - a) + (0.0 if update.noise is None else update.noise.double()))
    return (p - a) @ w.T, approximations.plain_shrink_into_ball(moved, ball)


def adversary_rate(
    learning_rate: float, ball: float, batch: int, dim: int, *, columns: int, sigma: float = 0.0
) -> float:
    """The rate of one step on the summed loss, limited so that the step moves w by at most MAX_STEP of the ball.

    The gradient's norm is at most sum_i ||z_i|| ||p_i - a_i|| <= batch for one column, sqrt(2) batch for more; the norm
    of noise of ``sigma`` is below sigma (sqrt(dim columns) + 7) but for a probability of exp(-49 / 2).
    UsageError where rate or ball are out of their range.
    """
    if not 0.5 <= ball <= approximations.MAX_LOGIT:
        raise UsageError(
            f"ball {ball:g}: the adversary's weights are kept to a norm between 0.5 and {approximations.MAX_LOGIT:g}"
        )
    if not 0 < learning_rate <= 100:
        raise UsageError(f"learning rate {learning_rate:g} of the adversary: use more than 0, at most 100")
    if not 0 <= sigma <= 1e6:
        raise UsageError(f"sigma {sigma:g} of the adversary's updates: use 0 (exact) to 1e6")
    longest = max(1, batch) * (1.0 if columns == 1 else math.sqrt(2)) + sigma * (math.sqrt(dim * columns) + 7)
    return min(learning_rate, MAX_STEP * ball / longest)


OPERATION = AdversaryStep()
