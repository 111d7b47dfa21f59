"""The operations on shares, run by all compute parties in step, each beside its plain float64 twin.

A batch or query belongs to the developer, memberships (attributes, integers at scale 1) to an auditor. Nothing is
opened here but differences from masks, which are uniform. Shapes: n or B records, k numbers of a query, d features,
G columns of an attribute: one for a binary attribute, one per group otherwise.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

import secure_fair.compat  # noqa: F401
from secure_fair.errors import UsageError
from secure_fair.mpc import approximations
from secure_fair.mpc.products import (
    Masked,
    Shared,
    add_public,
    combine,
    from_share,
    mask,
    multiply,
    rescale,
    truncate,
)
from secure_fair.mpc.session import Session

from crypten.mpc import MPCTensor  # isort: skip

MAX_STEP = 0.4
"""One step of the adversary moves its weights by at most this part of the ball; see ``adversary``."""
PULL = 8**8 / 9**9
"""The largest value of t (1 - PULL t^8) over t >= 0 is exactly 1, at t = 9/8."""
MAX_COMPARISONS = 1 << 18
"""Made at a time: each takes 14 ring elements of correlated randomness."""


# moments and rows: linear in the attributes


def moment(session: Session, query: Shared, attributes: Shared) -> MPCTensor:
    """F^T A, (k, G), of ``query`` F (n, k) and ``attributes`` A (n, G), without truncation. 1 round."""
    with session.operation("moment", *_public_shapes(query, attributes)):
        f, a = mask(session, query, attributes)
        return multiply(session, "matmul", f.T, a)


def plain_moment(query: Tensor, attributes: Tensor) -> Tensor:
    """F^T A in float64."""
    return query.double().T @ attributes.double()


def penalty_rows(session: Session, attributes: Shared, weights: Tensor) -> MPCTensor:
    """A W, (B, k), of ``attributes`` A (B, G) and public ``weights`` W (G, k). No round.

    Integer weights keep the scale at 1; real ones are rounded to the session's precision.
    """
    shared = attributes if isinstance(attributes, MPCTensor) else attributes.shared
    scale = session.scale if weights.is_floating_point() else 1
    encoded = torch.round(weights.double() * scale).long()
    return from_share(shared.share @ encoded, shared.encoder.scale * scale)


def plain_penalty_rows(attributes: Tensor, weights: Tensor) -> Tensor:
    """A W in float64."""
    return attributes.double() @ weights.double()


# intersections


def intersection(session: Session, first: MPCTensor, second: MPCTensor) -> MPCTensor:
    """One-hot membership (n, G1 G2) of two attributes together, of memberships as they are held, integers at scale 1.

    A single column g holds two groups, 1 - g and g. The column of groups (i, j) is i G2 + j; it is the product of
    theirs. For more than two attributes go on with the result. 1 round, and no truncation.
    """
    with session.operation("intersection", first.size(), second.size()):
        left, right = _one_hot(session, first), _one_hot(session, second)
        a, b = mask(
            session,
            from_share(left.repeat_interleave(right.shape[1], dim=1), 1),
            from_share(right.repeat(1, left.shape[1]), 1),
        )
        return multiply(session, "mul", a, b)


def _one_hot(session: Session, held: MPCTensor) -> Tensor:
    """This party's share of all groups' columns."""
    if held.encoder.scale != 1:
        raise UsageError(f"memberships are integers at scale 1, not at {held.encoder.scale}")
    if held.size(1) > 1:
        return held.share
    return torch.cat([add_public(session, from_share(-held.share, 1), 1).share, held.share], dim=1)


def plain_intersection(first: Tensor, second: Tensor) -> Tensor:
    """The same in float64."""
    left, right = (
        torch.cat([1 - held, held], dim=1) if held.shape[1] == 1 else held for held in (first.double(), second.double())
    )
    return (left[:, :, None] * right[:, None, :]).flatten(1)


# the adversary


def adversary(
    session: Session,
    features: MPCTensor,
    attributes: Shared,
    weights: MPCTensor,
    *,
    learning_rate: float,
    ball: float,
    sigma: float = 0.0,
    noise: Tensor | None = None,
) -> tuple[MPCTensor, MPCTensor]:
    """One step of a linear adversary that predicts A from z: gradient rows (B, d), and the new weights (d, G).

    ``features`` z (B, d), rows clipped to norm 1 by their owner; ``weights`` w in the ball, ||w||_F <= ``ball`` <= 8,
    so that |z_i w| <= ball. Logits z w; p = sigmoid for one column, else softmax. The loss is summed over the batch:

        rows_i = dL/dz_i = (p_i - a_i) w^T,   w <- pull(w - rate (z^T (p - A) + N)),   rate: see ``adversary_rate``.

    N is the attribute's holder's ``noise``, int64 of shape (d, G) in units of 1 / scale^2, of the public standard
    deviation ``sigma`` per number; all other parties pass None. Later rows depend on earlier attributes through w: only
    where every update has its noise are they covered by it. sigma 0 is an exact update.

    pull(w) = w (1 - PULL (||w|| / ball)^8) keeps w in the ball: t (1 - PULL t^8) <= 1 for every t, and >= 0 up to
    t = 1.48, which one limited step from the ball cannot pass. At half of the ball it shrinks w by 2e-4.
    Rounds for two parties: 10 for one column, 16 to 20 for more.
    """
    rate = adversary_rate(learning_rate, ball, *features.size(), columns=weights.size(1), sigma=sigma)
    _check_noise(noise, weights.size(), sigma)
    with session.operation("adversary", features.size(), weights.size()):
        z, w = mask(session, features, weights)
        p = _probabilities(session, multiply(session, "matmul", z, w), ball)
        a = attributes if isinstance(attributes, MPCTensor) else attributes.shared
        (residual,) = mask(session, from_share(p.share - a.share * (p.encoder.scale // a.encoder.scale), session.scale))
        rows = multiply(session, "matmul", residual, w.T)
        gradient = multiply(session, "matmul", z.T, residual)
        if noise is not None:
            gradient = from_share(gradient.share + noise, gradient.encoder.scale)
        rows, step = truncate(
            session, (rows, session.scale), (gradient, round(session.scale / rate)), scale=session.scale
        )
        return rows, _pull(session, from_share(weights.share - step.share, session.scale), ball)


def _probabilities(session: Session, logits: MPCTensor, ball: float) -> MPCTensor:
    """Sigmoid of one column, else softmax, of logits at the square of the scale."""
    predict = approximations.sigmoid if logits.size(1) == 1 else approximations.softmax
    return predict(session, logits, ball)


def _pull(session: Session, weights: MPCTensor, ball: float) -> MPCTensor:
    """w (1 - PULL s^4) with s = ||w||^2 / ball^2."""
    (w,) = mask(session, weights)
    norm = multiply(session, "mul", w, w)
    total = from_share(norm.share.sum().reshape(1, 1), norm.encoder.scale)
    (power,) = truncate(session, (total, round(session.scale * ball**2)), scale=session.scale)
    for _ in range(2):
        (s,) = mask(session, power)
        (power,) = rescale(session, multiply(session, "mul", s, s))
    (shrink,) = truncate(
        session, (from_share(power.share * round(PULL * session.scale), 1), session.scale), scale=session.scale
    )
    (s,) = mask(session, shrink)
    (excess,) = rescale(session, multiply(session, "mul", w, s))
    return from_share(weights.share - excess.share, session.scale)


def _check_noise(noise: Tensor | None, shape: Sequence[int], sigma: float) -> None:
    if noise is not None and (sigma <= 0 or noise.dtype != torch.int64 or tuple(noise.shape) != tuple(shape)):
        raise UsageError(f"noise of the update: int64 of shape {tuple(shape)}, with its sigma above 0")


def plain_adversary(
    features: Tensor,
    attributes: Tensor,
    weights: Tensor,
    *,
    learning_rate: float,
    ball: float,
    sigma: float = 0.0,
    noise: Tensor | None = None,
) -> tuple[Tensor, Tensor]:
    """The same step in float64; ``noise`` (d, G) in real numbers."""
    z, a, w = features.double(), attributes.double(), weights.double()
    rate = adversary_rate(learning_rate, ball, *z.shape, columns=w.shape[1], sigma=sigma)
    p = torch.sigmoid(z @ w) if w.shape[1] == 1 else torch.softmax(z @ w, dim=1)
    moved = w - rate * (z.T @ (p - a) + (0.0 if noise is None else noise.double()))
    return (p - a) @ w.T, moved * (1 - PULL * (moved.norm() / ball) ** 8)


def entropy(session: Session, features: MPCTensor, weights: MPCTensor, *, ball: float) -> MPCTensor:
    """Gradient rows dH/dz (B, d) of the entropy H of what a linear adversary predicts from ``features`` z (B, d).

    Bounds as for ``adversary``, which trains the ``weights`` w (d, G): they alone hold anything about attributes. With
    logits u = z w, H = -sum_j p_j log p_j has dH/du_j = p_j (sum_k p_k u_k - u_j) for a softmax, and -u p (1 - p) for
    one column of a sigmoid; dH/dz = dH/du w^T. Rounds for two parties: 8 for one column, 12 to 16 for more.
    """
    with session.operation("entropy", features.size(), weights.size()):
        z, w = mask(session, features, weights)
        logits = multiply(session, "matmul", z, w)  # at the square of the scale
        p, (u,) = _probabilities(session, logits, ball), rescale(session, logits)
        if weights.size(1) == 1:
            opposite = add_public(session, from_share(-p.share, session.scale), session.scale)
            left, right, last = mask(session, p, opposite, from_share(-u.share, session.scale))
            (spread,) = rescale(session, multiply(session, "mul", left, right))
            (factor,) = mask(session, spread)
        else:
            last, right = mask(session, p, u)
            (terms,) = rescale(session, multiply(session, "mul", last, right))
            (factor,) = mask(session, from_share(terms.share.sum(1, keepdim=True) - u.share, session.scale))
        (slope,) = rescale(session, multiply(session, "mul", last, factor))
        (masked,) = mask(session, slope)
        (rows,) = rescale(session, multiply(session, "matmul", masked, w.T))
        return rows


def plain_entropy(features: Tensor, weights: Tensor) -> Tensor:
    """The same rows in float64."""
    w = weights.double()
    u = features.double() @ w
    if w.shape[1] == 1:
        p = torch.sigmoid(u)
        return (-u * p * (1 - p)) @ w.T
    p = torch.softmax(u, dim=1)
    return (p * ((p * u).sum(1, keepdim=True) - u)) @ w.T


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
    longest = max(1, batch) * (1.0 if columns == 1 else 2**0.5) + sigma * ((dim * columns) ** 0.5 + 7)
    return min(learning_rate, MAX_STEP * ball / longest)


# orthogonality of adapters


def orthogonality(session: Session, task: Sequence[Shared], sensitive: Sequence[Shared]) -> list[MPCTensor]:
    """Gradient 2 A_t A_s^T A_s of ||A_t A_s^T||_F^2 by each ``task`` matrix A_t (r_t, d_m); A_s (r_s, d_m). Two rounds.

    Pass what ``Session.fix`` made of the sensitive matrices where they stay: they are then opened masked only once.
    """
    with session.operation("orthogonality", *_public_shapes(*task, *sensitive)):
        masked = mask(session, *task, *sensitive)
        t, s = masked[: len(task)], masked[len(task) :]
        inner = [multiply(session, "matmul", a_t, a_s.T) for a_t, a_s in zip(t, s, strict=True)]
        overlaps = mask(session, *rescale(session, *inner))
        outer = [multiply(session, "matmul", o, a_s) for o, a_s in zip(overlaps, s, strict=True)]
        doubled = [(product, session.scale // 2) for product in outer]
        return truncate(session, *doubled, scale=session.scale)


def plain_orthogonality(task: Sequence[Tensor], sensitive: Sequence[Tensor]) -> list[Tensor]:
    """2 A_t A_s^T A_s in float64."""
    return [2 * (t.double() @ s.double().T) @ s.double() for t, s in zip(task, sensitive, strict=True)]


# row bounds


def rows_within_bound(session: Session, query: MPCTensor, bound: float) -> MPCTensor:
    """A shared bit, (1,) at scale 1: 1 where every entry of ``query`` (n, k) is within [-bound, bound] and every row's
    squared norm is at most bound^2.

    The squares are summed at the double scale, so that nothing is rounded. They could wrap around the ring (2^16
    squares to 0 mod 2^64 at 16 bits), but not where all entries are within the bound, and else the bit is 0 anyway.
    Rounds for two parties: 17 for up to 2^18 bounds, of which there are 2 k + 1 a row, and 9 for every further 2^18.
    """
    n, k = query.size()
    limit, square_limit = int(bound * session.scale), int((bound * session.scale) ** 2)
    if bound <= 0 or k * (limit + 1) ** 2 >= 1 << 62:
        raise UsageError(f"row bound {bound:g} of {k} numbers at {session.precision_bits} bits does not fit the ring")
    with session.operation("rows_within_bound", (n, k)):
        broken = [
            _broken_bounds(session, from_share(rows, session.scale), limit, square_limit).share.sum()
            for rows in query.share.split(max(1, MAX_COMPARISONS // (2 * k + 1)))
        ]
        count = from_share(torch.stack(broken).sum().reshape(1), 1)
        return add_public(session, count, -1)._ltz()


def _broken_bounds(session: Session, rows: MPCTensor, limit: int, square_limit: int) -> MPCTensor:
    """A shared bit for each bound of ``rows`` (m, k): two for every entry, one for every row; 1 where it is broken."""
    (f,) = mask(session, rows)
    squares = multiply(session, "mul", f, f).share.sum(1)
    slack = [
        add_public(session, from_share(rows.share, 1), limit),
        add_public(session, from_share(-rows.share, 1), limit),
        add_public(session, from_share(-squares, 1), square_limit),
    ]
    return from_share(combine([part.share for part in slack]), 1)._ltz()


def plain_rows_within_bound(query: Tensor, bound: float) -> bool:
    """Whether all entries and row norms are within the bound, in float64."""
    exact = query.double()
    return bool((exact.abs() <= bound).all() and (exact.square().sum(1) <= bound**2).all())


def _public_shapes(*values: Shared) -> list[tuple[int, ...]]:
    """Shapes that decide what an operation takes from the dealer; none where rows were picked: those change."""
    if any(isinstance(value, Masked) and value.operand.rows is not None for value in values):
        return []
    return [tuple(value.size() if isinstance(value, MPCTensor) else value.shape) for value in values]


def concatenate(parts: Sequence[MPCTensor]) -> MPCTensor:
    """One flat shared tensor of several of the same scale, so that they are opened as one."""
    scales = {part.encoder.scale for part in parts}
    if len(scales) != 1:
        raise UsageError(f"shared values of different scales {sorted(scales)} are not joined")
    return from_share(combine([part.share for part in parts]), scales.pop())
