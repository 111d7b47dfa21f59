"""Privacy accounting as pure functions: Gaussian DP at rate 1, Poisson-sampled DP-SGD, randomised response.

Adjacency goes with every epsilon. For aligned records it is the substitution of one person's attribute, and the
developer chooses the batches itself, so there is no amplification by subsampling: a record is charged in full for
every release that it takes part in. For the auditor's own records it is adding or removing one record, sampled by the
auditor in secret.
"""

from __future__ import annotations

import math
import warnings
from functools import cache

from scipy.optimize import brentq
from scipy.special import log_ndtr, ndtr

from secure_fair.errors import UsageError


def gaussian_delta(mu: float, epsilon: float) -> float:
    """The smallest delta with which ``mu``-Gaussian DP is (``epsilon``, delta)-DP.

    delta = Phi(-epsilon / mu + mu / 2) - exp(epsilon) Phi(-epsilon / mu - mu / 2): Balle and Wang 2018, Theorem 8;
    Dong, Roth and Su 2022, Corollary 2.13. Both terms are taken in logarithms, for exp(epsilon) overflows where its
    product is tiny.
    """
    if mu < 0 or epsilon < 0 or math.isnan(mu) or math.isnan(epsilon):
        raise UsageError(f"mu = {mu}, epsilon = {epsilon}: both must be 0 or more")
    if mu == 0:
        return 0.0
    if math.isinf(mu):
        return 1.0
    first = float(log_ndtr(-epsilon / mu + mu / 2))
    second = epsilon + float(log_ndtr(-epsilon / mu - mu / 2))
    return math.exp(first) * -math.expm1(min(second - first, 0.0))


def gaussian_epsilon(mu: float, delta: float) -> float:
    """The smallest epsilon with which ``mu``-Gaussian DP is (epsilon, ``delta``)-DP; inverse of ``gaussian_delta``."""
    _check_delta(delta)
    if math.isinf(mu):
        return math.inf
    if gaussian_delta(mu, 0.0) <= delta:
        return 0.0
    # The bound from concentrated DP (Bun and Steinke 2016, Proposition 1.3, rho = mu^2 / 2) brackets the root.
    upper = mu * mu / 2 + mu * math.sqrt(2 * math.log(1 / delta))
    return float(brentq(lambda epsilon: gaussian_delta(mu, epsilon) - delta, 0.0, upper, xtol=1e-12, rtol=1e-13))


def gaussian_mu(epsilon: float, delta: float) -> float:
    """The largest mu whose Gaussian DP is still (``epsilon``, ``delta``)-DP; 0 where ``epsilon`` is negative."""
    _check_delta(delta)
    if epsilon < 0:
        return 0.0
    if math.isinf(epsilon):
        return math.inf
    upper = 1.0
    while gaussian_delta(upper, epsilon) < delta:
        upper *= 2
    return float(brentq(lambda mu: gaussian_delta(mu, epsilon) - delta, 0.0, upper, xtol=1e-14, rtol=1e-13))


def noise_multiplier(epsilon: float, delta: float, participations: float) -> float:
    """sigma / sensitivity of ``participations`` equal Gaussian releases that together spend (epsilon, delta)."""
    if not participations > 0:
        raise UsageError(f"participations = {participations}: must be above 0")
    mu = gaussian_mu(epsilon, delta)
    if mu == 0:
        raise UsageError(f"epsilon = {epsilon}: no noise is enough; ask for an epsilon above 0")
    return math.sqrt(participations) / mu


def attack_auc_ceiling(mu: float) -> float:
    """The best AUC of any attack on one record's binary attribute under ``mu``-Gaussian DP: Phi(mu / sqrt 2).

    It is the AUC of the likelihood ratio between N(0, 1) and N(mu, 1), whose trade-off curve Gaussian DP bounds.
    """
    return float(ndtr(mu / math.sqrt(2)))


def gaussian_advantage(mu: float) -> float:
    """The most by which an attack on one record's attribute tells two values apart under ``mu``-Gaussian DP.

    The advantage is the true- less the false-positive rate, the total variation between N(0, 1) and N(mu, 1):
    2 Phi(mu / 2) - 1. Whoever guesses a fair coin is right with probability (1 + advantage) / 2 = Phi(mu / 2).
    """
    return float(2 * ndtr(mu / 2) - 1)


def response_advantage(epsilon: float, groups: int) -> float:
    """The same for one answer by randomised response: the probability of the truth less that of a certain lie.

    (e^eps - 1) / (e^eps + groups - 1); with two groups tanh(eps / 2), the most that any eps-DP release allows.
    """
    truth = truth_probability(epsilon, groups)
    return truth - (1 - truth) / (groups - 1)


def response_epsilon(advantage: float, groups: int) -> float:
    """The epsilon of randomised response with this advantage; inverse of ``response_advantage``."""
    if not 0 <= advantage < 1:
        raise UsageError(f"advantage = {advantage}: must be 0 or more and below 1")
    return math.log1p(groups * advantage / (1 - advantage))


def mixed_epsilon(mu: float, added_epsilon: float, added_delta: float, delta: float) -> float:
    """Epsilon at ``delta`` of Gaussian releases (``mu``) beside (``added_epsilon``, ``added_delta``)-DP ones.

    Basic composition of the two parts: epsilons add up, deltas add up (Dwork and Roth 2014, Theorem 3.16).
    """
    if mu == 0:
        return added_epsilon if added_delta <= delta else math.inf
    if added_delta >= delta:
        return math.inf
    return gaussian_epsilon(mu, delta - added_delta) + added_epsilon


@cache
def poisson_epsilon(multiplier: float, sample_rate: float, steps: int, delta: float) -> float:
    """Epsilon of DP-SGD with secret Poisson batches, by numerical composition in Opacus.

    PRV: Gopi, Lee and Wutschitz 2021. Adjacency: add or remove one record. The upper end of
    PRV's interval, whose absolute error is 0.01.
    """
    _check_delta(delta)
    if steps == 0:
        return 0.0
    if sample_rate == 1.0:  # the Gaussian mechanism itself: the closed form is exact
        return gaussian_epsilon(math.sqrt(steps) / multiplier, delta)
    from opacus.accountants import PRVAccountant  # slow to import, needed for the auditor's own records only

    accountant = PRVAccountant()
    accountant.history = [(multiplier, sample_rate, steps)]
    with warnings.catch_warnings():
        # PRV bounds its domain by Renyi accounting first, whose order need not be the best one.
        warnings.filterwarnings("ignore", message="Optimal order is the")
        return float(accountant.get_epsilon(delta=delta))


@cache
def poisson_noise_multiplier(epsilon: float, delta: float, sample_rate: float, steps: int) -> float:
    """The smallest noise multiplier, to 0.1 %, with which ``poisson_epsilon`` stays within (epsilon, delta)."""
    if not (0 < sample_rate <= 1 and steps >= 1 and epsilon > 0):
        raise UsageError(
            f"sample_rate = {sample_rate}, steps = {steps}, epsilon = {epsilon}: "
            "need a rate in (0, 1], at least one step and an epsilon above 0"
        )
    enough = noise_multiplier(epsilon, delta, steps)  # without amplification it is surely enough
    too_little = enough
    while too_little > 0.1 and poisson_epsilon(too_little, sample_rate, steps, delta) <= epsilon:
        enough, too_little = too_little, too_little / 2
    while enough / too_little > 1.001:
        middle = math.sqrt(enough * too_little)
        if poisson_epsilon(middle, sample_rate, steps, delta) <= epsilon:
            enough = middle
        else:
            too_little = middle
    return enough


def truth_probability(epsilon: float, groups: int) -> float:
    """The probability with which ``groups``-ary randomised response tells the truth: e^eps / (e^eps + groups - 1)."""
    if groups < 2:
        raise UsageError(f"groups = {groups}: randomised response needs at least 2")
    if not epsilon >= 0:
        raise UsageError(f"epsilon = {epsilon}: must be 0 or more")
    return 1.0 / (1.0 + (groups - 1) * math.exp(-epsilon))


def _check_delta(delta: float) -> None:
    if not 0 < delta < 1:
        raise UsageError(f"delta = {delta}: must be between 0 and 1")
