"""Sigmoid and softmax of bounded logits on shares, by Chebyshev polynomials, and what keeps them bounded.

Logits are bounded by the caller's ball, so no comparison and no range reduction is needed: a polynomial of degree
2^j - 1 on the known interval costs j rounds, where CrypTen's own sigmoid takes 23 and its softmax 118.
Errors are against the exact functions, at 16 bits of precision.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import lru_cache
from math import exp, log2, sqrt
from typing import Any

import numpy as np
import torch
from numpy.polynomial.chebyshev import chebinterpolate
from torch import Tensor

import secure_fair.compat  # noqa: F401
from secure_fair.mpc.products import add_public, mask, multiply, rescale, truncate
from secure_fair.mpc.session import Session
from secure_fair.mpc.shares import from_share

from crypten.mpc import MPCTensor  # isort: skip

MAX_LOGIT = 8.0
EXP_RANGE = 4.0  # beyond it, exp is taken of the halved argument and squared: its polynomial loses digits there
RECIPROCAL_DEGREE = 15
PULL = 8**8 / 9**9  # the largest value of t (1 - PULL t^8) over t >= 0 is exactly 1, at t = 9/8


def polynomial(session: Session, u: MPCTensor, coefficients: np.ndarray) -> MPCTensor:
    """sum_j c_j T_j(u) for u in [-1, 1] at the session's scale; 2^r coefficients take r rounds.

    T_1 .. T_m give T_(m+1) .. T_(2m) in one round: T_(m+j) = 2 T_m T_j - T_(m-j). Rounding errors of T_j grow as j^2,
    the coefficients fall off geometrically.
    """
    degree, one = len(coefficients) - 1, session.scale
    known = u.share[None]  # T_1 .. T_m, stacked
    while len(known) < degree:
        high, low = mask(session, from_share(known[-1:], one), from_share(known, one))
        (products,) = truncate(session, (multiply(session, "mul", high, low), one // 2), scale=one)
        zeroth = add_public(session, from_share(torch.zeros_like(known[:1]), one), one).share
        known = torch.cat([known, products.share - torch.cat([known[:-1].flip(0), zeroth])])
    weights = torch.from_numpy(np.round(coefficients * one)).long()
    total = (known[:degree] * weights[1:].reshape(-1, *[1] * u.dim())).sum(0)
    (result,) = truncate(session, (from_share(total, 1), one), scale=one)
    return add_public(session, result, int(weights[0]))


def probabilities(session: Session, logits: MPCTensor, bound: float) -> MPCTensor:
    """Sigmoid of one column, else softmax, of logits at the square of the scale."""
    predict = sigmoid if logits.size(1) == 1 else softmax
    return predict(session, logits, bound)


def sigmoid(session: Session, logits: MPCTensor, bound: float) -> MPCTensor:
    """1 / (1 + exp(-x)) for |x| <= ``bound`` <= 8, x at the square of the session's scale.

    Error below 1e-4; 4 rounds for a bound up to 4, else 5.
    """
    (u,) = truncate(session, (logits, round(session.scale * bound)), scale=session.scale)
    return polynomial(session, u, sigmoid_coefficients(bound))


@lru_cache(maxsize=64)
def sigmoid_coefficients(bound: float) -> np.ndarray:
    """Chebyshev coefficients of the sigmoid on [-``bound``, ``bound``]."""
    return _interpolate(lambda u: 1 / (1 + np.exp(-bound * u)), 15 if bound <= EXP_RANGE else 31)


def softmax(session: Session, logits: MPCTensor, bound: float) -> MPCTensor:
    """Softmax over the last dimension of (n, G); every row of logits has Euclidean norm at most ``bound`` <= 8.

    Let x be the logits less their mean, and e = exp(x), squared up from a smaller argument where the bound is large.
    The mean s of e is in [1, ``largest_mean_exp``], so 1/s is a polynomial of s, and p = e / (G s).
    At last, p (2 - sum p) squares the relative error that all of a row have in common. Error below 5e-4.
    """
    groups, one = logits.size(-1), session.scale
    centred = groups * logits.share - logits.share.sum(-1, keepdim=True)
    (u,) = truncate(session, (from_share(centred, 1), round(one * groups * bound)), scale=one)
    squarings = max(0, round(np.ceil(log2(bound / EXP_RANGE))))
    e = polynomial(session, u, _exp_coefficients(bound / 2**squarings))
    for _ in range(squarings):
        (m,) = mask(session, e)
        (e,) = rescale(session, multiply(session, "mul", m, m))
    most = largest_mean_exp(groups, bound)
    # s in [1, most] as v in [-1, 1]: v = (2 s - most - 1) / (most - 1)
    total = from_share(e.share.sum(-1, keepdim=True) * one, 1)
    (v,) = truncate(session, (total, round(one * groups * (most - 1) / 2)), scale=one)
    reciprocal = polynomial(
        session, add_public(session, v, round(-one * (most + 1) / (most - 1))), _reciprocal_coefficients(most)
    )
    (share_of_mean,) = truncate(session, (from_share(e.share * one, 1), one * groups), scale=one)
    p, r = mask(session, share_of_mean, reciprocal)
    (p_now,) = rescale(session, multiply(session, "mul", p, r))
    for _ in range(_normalisations(most)):
        rest = add_public(session, from_share(-p_now.share.sum(-1, keepdim=True), one), 2 * one)
        p, r = mask(session, p_now, rest)
        (p_now,) = rescale(session, multiply(session, "mul", p, r))
    return p_now


@lru_cache(maxsize=64)
def _exp_coefficients(bound: float) -> np.ndarray:
    return _interpolate(lambda u: np.exp(bound * u), 15)


@lru_cache(maxsize=64)
def largest_mean_exp(groups: int, bound: float) -> float:
    """The largest mean of exp(x_g) over x with sum 0 and Euclidean norm at most ``bound``.

    At the maximum exp(x_g) is linear in x_g (Lagrange), so x takes two values: a on m groups, -m a / (G - m) elsewhere.
    """
    candidates = []
    for m in range(1, groups):
        a = bound * sqrt((groups - m) / (groups * m))
        candidates.append((m * exp(a) + (groups - m) * exp(-a * m / (groups - m))) / groups)
    return max(candidates)


@lru_cache(maxsize=64)
def _reciprocal_coefficients(most: float) -> np.ndarray:
    """q of degree 15 with the smallest relative error on [1, most]: 1 - s q(s) = T_16(v(s)) / T_16(v(0))."""
    at_zero = _first_kind(RECIPROCAL_DEGREE + 1, -(most + 1) / (most - 1))

    def q(v: np.ndarray) -> np.ndarray:
        s = ((most - 1) * v + most + 1) / 2
        return (1 - _first_kind(RECIPROCAL_DEGREE + 1, v) / at_zero) / s

    return _interpolate(q, RECIPROCAL_DEGREE)


def _normalisations(most: float) -> int:
    """How often a relative error of 1 / |T_16(v(0))| is squared until it is below 2^-16; once at least."""
    error, steps = 1 / abs(_first_kind(RECIPROCAL_DEGREE + 1, -(most + 1) / (most - 1))), 1
    while error ** (2**steps) > 2.0**-16:
        steps += 1
    return steps


def _first_kind(n: int, x: float | np.ndarray) -> np.ndarray:
    return np.polynomial.chebyshev.Chebyshev.basis(n)(np.asarray(x, dtype=np.float64))


def _interpolate(function: Callable[[Any], Any], degree: int) -> np.ndarray:
    return np.asarray(chebinterpolate(function, degree), dtype=np.float64)


def shrink_into_ball(session: Session, weights: MPCTensor, ball: float) -> MPCTensor:
    """w (1 - PULL (||w|| / ball)^8), which is in the ball for every w of norm up to 1.48 ball.

    t (1 - PULL t^8) <= 1 for every t, and >= 0 up to t = 1.48. At half of the ball it shrinks w by 2e-4. 5 rounds.
    """
    one = session.scale
    (w,) = mask(session, weights)
    norm = multiply(session, "mul", w, w)
    total = from_share(norm.share.sum().reshape(1, 1), norm.encoder.scale)
    (power,) = truncate(session, (total, round(one * ball**2)), scale=one)
    for _ in range(2):
        (s,) = mask(session, power)
        (power,) = rescale(session, multiply(session, "mul", s, s))
    (shrink,) = truncate(session, (from_share(power.share * round(PULL * one), 1), one), scale=one)
    (s,) = mask(session, shrink)
    (excess,) = rescale(session, multiply(session, "mul", w, s))
    return from_share(weights.share - excess.share, one)


def plain_shrink_into_ball(weights: Tensor, ball: float) -> Tensor:
    """The same in float64."""
    return weights * (1 - PULL * (weights.norm() / ball) ** 8)
