"""Golden epsilons, and agreement of the closed form with independent accountants."""

import math

import numpy as np
import pytest
from dp_accounting import dp_event
from dp_accounting.pld import PLDAccountant
from hypothesis import given
from hypothesis import strategies as st
from opacus.accountants import PRVAccountant
from oracles import composed_mu
from scipy.integrate import quad
from scipy.stats import norm

from secure_fair.attacks.common.statistics import HitRates
from secure_fair.errors import UsageError
from secure_fair.privacy import accounting
from secure_fair.privacy.randomised_response import confusion

DELTA = 1e-5


@pytest.mark.parametrize(
    ("epsilon", "closed_form", "numerical"), [(1, 11.7973, 11.95), (3, 4.39744, 4.41), (8, 1.89809, 1.90)]
)
def test_noise_for_ten_participations(epsilon: float, closed_form: float, numerical: float) -> None:
    """The closed form, and the same figures from PRV, whose absolute error of 0.01 in epsilon makes them larger."""
    multiplier = accounting.noise_multiplier(epsilon, DELTA, 10)
    assert multiplier == pytest.approx(closed_form, rel=1e-5)
    assert numerical * 0.985 <= multiplier <= numerical


@pytest.mark.parametrize(("ratio", "auc"), [(1, 0.987), (2, 0.868), (5, 0.673), (10, 0.588), (20, 0.545)])
def test_attack_ceiling_of_ten_participations(ratio: float, auc: float) -> None:
    assert accounting.attack_auc_ceiling(math.sqrt(10) / ratio) == pytest.approx(auc, abs=6e-4)


def test_attack_ceiling_is_the_auc_between_two_gaussians() -> None:
    generator = np.random.default_rng(0)
    mu = 0.8
    yes, no = generator.normal(mu, 1, 400_000), generator.normal(0, 1, 400_000)
    assert np.mean(yes > no) == pytest.approx(accounting.attack_auc_ceiling(mu), abs=0.003)


def test_fact_that_subsampling_does_not_amplify() -> None:
    """Ten epochs at sigma 1: the truth is 17.9; an accountant told that batches are secret says less than 2."""
    assert accounting.gaussian_epsilon(math.sqrt(10), DELTA) == pytest.approx(17.8566, abs=1e-3)
    assert accounting.poisson_epsilon(1.0, 0.01, 1000, DELTA) < 2.2


@pytest.mark.parametrize("mu", [0.02, 0.3, 1.0, 4.0, 30.0])
@pytest.mark.parametrize("epsilon", [0.0, 0.1, 1.0, 10.0])
def test_delta_against_the_integral_of_its_definition(mu: float, epsilon: float) -> None:
    """delta = integral of max(0, N(mu, 1) - e^epsilon N(0, 1)), from where the densities' ratio is e^epsilon."""
    start = epsilon / mu + mu / 2
    tail, _ = quad(
        lambda x: norm.pdf(x - mu) * -math.expm1(min(epsilon - mu * x + mu * mu / 2, 0.0)), start, max(start, mu) + 40
    )
    assert accounting.gaussian_delta(mu, epsilon) == pytest.approx(tail, rel=1e-6, abs=1e-14)


@given(st.floats(1e-3, 50.0), st.sampled_from([1e-2, 1e-5, 1e-9, 1e-14]))
def test_epsilon_and_mu_are_inverse(mu: float, delta: float) -> None:
    epsilon = accounting.gaussian_epsilon(mu, delta)
    assert accounting.gaussian_delta(mu, epsilon) <= delta * (1 + 1e-6)
    if epsilon > 1e-6:
        assert accounting.gaussian_mu(epsilon, delta) == pytest.approx(mu, rel=1e-6)


@pytest.mark.parametrize(
    ("multiplier", "steps"),
    [(1.0, 1), (1.0, 10), (5.0, 10), (20.0, 100), (50.0, 1000), (100.0, 10_000), (400.0, 10_000)],
)
def test_composition_agrees_with_the_pld_accountant(multiplier: float, steps: int) -> None:
    """Another team's numerical accountant, within 0.02 or 2 %."""
    accountant = PLDAccountant(value_discretization_interval=1e-3)
    accountant.compose(dp_event.GaussianDpEvent(multiplier), steps)
    ours = accounting.gaussian_epsilon(composed_mu([(1.0, multiplier)] * steps), DELTA)
    assert ours == pytest.approx(accountant.get_epsilon(DELTA), abs=0.02, rel=0.02)


def test_composition_of_unequal_noise_agrees_with_the_pld_accountant() -> None:
    releases = [(1.0, 8.0), (math.sqrt(2), 10.0), (0.5, 3.0), (1.0, 25.0)] * 5
    accountant = PLDAccountant(value_discretization_interval=1e-3)
    for sensitivity, sigma in releases:
        accountant.compose(dp_event.GaussianDpEvent(sigma / sensitivity))
    ours = accounting.gaussian_epsilon(composed_mu(releases), DELTA)
    assert ours == pytest.approx(accountant.get_epsilon(DELTA), abs=0.02)


@pytest.mark.filterwarnings("ignore")  # of Opacus' own, at rate 1
@pytest.mark.parametrize(("multiplier", "steps"), [(1.0, 1), (5.0, 10), (20.0, 100), (50.0, 10_000)])
def test_composition_agrees_with_opacus(multiplier: float, steps: int) -> None:
    """A third accountant, where its own error of 0.01 is small."""
    accountant = PRVAccountant()
    accountant.history = [(multiplier, 1.0, steps)]
    ours = accounting.gaussian_epsilon(math.sqrt(steps) / multiplier, DELTA)
    assert ours >= 0.5
    assert ours == pytest.approx(accountant.get_epsilon(delta=DELTA), abs=0.02, rel=0.02)


def test_exact_release_costs_everything_and_insensitive_ones_nothing() -> None:
    assert composed_mu([(1.0, 5.0), (1.0, 0.0)]) == math.inf
    assert accounting.gaussian_epsilon(math.inf, DELTA) == math.inf
    assert composed_mu([(0.0, 0.0), (1.0, 2.0)]) == 0.5
    assert accounting.gaussian_epsilon(0.0, DELTA) == 0.0


@pytest.mark.parametrize(("multiplier", "rate", "steps"), [(1.0, 0.01, 1000), (0.8, 0.05, 400), (2.0, 0.1, 200)])
def test_poisson_sampling_agrees_with_the_pld_accountant(multiplier: float, rate: float, steps: int) -> None:
    accountant = PLDAccountant(value_discretization_interval=1e-3)
    accountant.compose(dp_event.PoissonSampledDpEvent(rate, dp_event.GaussianDpEvent(multiplier)), steps)
    ours = accounting.poisson_epsilon(multiplier, rate, steps, DELTA)
    assert ours == pytest.approx(accountant.get_epsilon(DELTA), abs=0.02, rel=0.02)


def test_poisson_noise_multiplier_meets_its_target() -> None:
    multiplier = accounting.poisson_noise_multiplier(2.0, DELTA, 0.05, 100)
    assert 1.95 <= accounting.poisson_epsilon(multiplier, 0.05, 100, DELTA) <= 2.0
    assert accounting.poisson_epsilon(multiplier / 1.01, 0.05, 100, DELTA) > 2.0


def test_poisson_sampling_at_rate_one_is_the_closed_form() -> None:
    assert accounting.poisson_epsilon(4.0, 1.0, 16, DELTA) == accounting.gaussian_epsilon(1.0, DELTA)


@pytest.mark.parametrize("groups", [2, 3, 7])
@pytest.mark.parametrize("epsilon", [0.1, 1.0, 6.0])
def test_randomised_response_ratio_is_epsilon(groups: int, epsilon: float) -> None:
    truth = accounting.truth_probability(epsilon, groups)
    assert math.log(truth / ((1 - truth) / (groups - 1))) == pytest.approx(epsilon)


def test_mixed_epsilon_adds_pure_parts_and_shares_delta() -> None:
    assert accounting.mixed_epsilon(0.0, 1.5, 0.0, DELTA) == 1.5
    assert accounting.mixed_epsilon(1.0, 1.5, 0.0, DELTA) == 1.5 + accounting.gaussian_epsilon(1.0, DELTA)
    assert accounting.mixed_epsilon(1.0, 1.5, 4e-6, DELTA) == pytest.approx(
        1.5 + accounting.gaussian_epsilon(1.0, 6e-6)
    )
    assert accounting.mixed_epsilon(1.0, 0.0, DELTA, DELTA) == math.inf


@pytest.mark.parametrize("epsilon", [0.1, 1.0, 3.0])
@pytest.mark.parametrize("groups", [2, 5])
def test_the_advantage_is_how_far_the_outputs_for_two_values_lie_apart(epsilon: float, groups: int) -> None:
    """Total variation between two rows of the table of answers, and between two normals on a grid."""
    first, second = confusion(groups, epsilon)[:2]
    assert accounting.response_advantage(epsilon, groups) == pytest.approx(np.abs(first - second).sum() / 2)
    assert accounting.response_epsilon(accounting.response_advantage(epsilon, groups), groups) == pytest.approx(epsilon)
    mu = accounting.gaussian_mu(epsilon, DELTA)
    grid = np.linspace(-12, 12 + mu, 200_001)
    gap = np.abs(np.exp(-(grid**2) / 2) - np.exp(-((grid - mu) ** 2) / 2)) / math.sqrt(2 * math.pi)
    assert accounting.gaussian_advantage(mu) == pytest.approx(gap.sum() * (grid[1] - grid[0]) / 2, abs=1e-6)


def test_lower_bound_never_passes_the_truth_by_chance_too_often() -> None:
    """A perfect attack on a mechanism of known epsilon: the 95 % bound passes the truth in at most 5 % of trials."""
    epsilon, trials = 1.0, 2000
    generator = np.random.default_rng(1)
    hits = generator.binomial(trials, accounting.truth_probability(epsilon, 2), 400)
    alarms = generator.binomial(trials, 1 - accounting.truth_probability(epsilon, 2), 400)
    bounds = np.array(
        [HitRates(int(h), trials, int(a), trials).epsilon(0.0) for h, a in zip(hits, alarms, strict=True)]
    )
    assert np.mean(bounds > epsilon) <= 0.05
    assert bounds.mean() > 0.8


@pytest.mark.parametrize(
    "call",
    [
        lambda: accounting.gaussian_epsilon(1.0, 0.0),
        lambda: accounting.gaussian_delta(-1.0, 1.0),
        lambda: accounting.noise_multiplier(1.0, DELTA, 0),
        lambda: accounting.truth_probability(1.0, 1),
        lambda: accounting.response_epsilon(1.0, 2),
        lambda: accounting.poisson_noise_multiplier(1.0, DELTA, 0.0, 10),
    ],
)
def test_impossible_arguments_are_named(call) -> None:
    with pytest.raises(UsageError, match="="):
        call()
