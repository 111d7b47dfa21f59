"""Bounds from an attack's scores: true at least as often as they say, near the truth, and equal to known intervals."""

from __future__ import annotations

import math

import numpy as np
import pytest
from scipy.special import ndtr, ndtri
from scipy.stats import binomtest

from secure_fair.attacks.common.statistics import HitRates, Scores, clopper_pearson
from secure_fair.privacy import accounting

DELTA = 1e-5
REPETITIONS = 200


def drawn(generator: np.random.Generator, mu: float, trials: int) -> Scores:
    """The likelihood ratio of a Gaussian pair: the best attack that there is."""
    truth = np.arange(trials) % 2
    return Scores.of(generator.normal(size=trials) + mu * truth, truth, generator)


@pytest.mark.parametrize(("hits", "trials"), [(0, 10), (3, 10), (10, 10), (517, 1000)])
@pytest.mark.parametrize("confidence", [0.95, 0.999])
def test_intervals_are_those_of_clopper_and_pearson(hits: int, trials: int, confidence: float) -> None:
    expected = binomtest(hits, trials).proportion_ci(confidence, method="exact")
    assert clopper_pearson(hits, trials, confidence) == pytest.approx((expected.low, expected.high))


@pytest.mark.parametrize(("mu", "trials"), [(0.0, 400), (0.268, 4000), (1.0, 400), (1.666, 2000)])
def test_bounds_pass_the_truth_in_five_of_a_hundred_at_most(mu: float, trials: int) -> None:
    """Over so many repetitions of an attack that is as good as it can be: the threshold is chosen by other trials."""
    generator, epsilon = np.random.default_rng(0), accounting.gaussian_epsilon(mu, DELTA)
    scores = [drawn(generator, mu, trials) for _ in range(REPETITIONS)]
    for_mu = np.array([one.rates_for_mu().mu() for one in scores])
    for_epsilon = np.array([one.rates_for_epsilon(DELTA).epsilon(DELTA) for one in scores])
    assert (for_mu > mu).mean() <= 0.05
    assert (for_epsilon > epsilon).mean() <= 0.05


def test_a_threshold_chosen_by_the_judged_trials_would_pass_the_truth_too_often() -> None:
    """The twin: the best of all thresholds is taken at its word, and is wrong more than the 20 % that it admits."""
    generator, passed = np.random.default_rng(0), 0
    for _ in range(REPETITIONS):
        positive, negative = generator.normal(size=(2, 400))
        hits, alarms = ((values >= positive[:, None]).sum(1) for values in (positive, negative))
        passed += HitRates(hits, 400, alarms, 400).mu(0.8).max() > 0
    assert passed > 0.3 * REPETITIONS


def test_the_bound_on_mu_reaches_half_of_it_nine_times_of_ten() -> None:
    generator = np.random.default_rng(1)
    bounds = np.array([drawn(generator, 0.268, 22_000).rates_for_mu().mu() for _ in range(20)])
    assert (bounds > 0.134).mean() >= 0.9


def test_mu_sees_halved_noise_where_epsilon_does_not() -> None:
    """At epsilon 1 and 22,000 trials: the truth is twice the mu that is claimed."""
    generator, mu = np.random.default_rng(2), accounting.gaussian_mu(1.0, DELTA)
    scores = [drawn(generator, 2 * mu, 22_000) for _ in range(20)]
    assert all(one.rates_for_mu().mu(0.999) > mu for one in scores)
    assert not all(one.rates_for_epsilon(DELTA).epsilon(DELTA, 0.999) > 1.0 for one in scores)


@pytest.mark.parametrize("mu", [0.5, 2.0])
def test_area_guesses_and_hit_rate_are_those_of_the_gaussian_pair(mu: float) -> None:
    scores = drawn(np.random.default_rng(3), mu, 200_000)
    hits, judged = scores.guesses()
    assert scores.area() == pytest.approx(accounting.attack_auc_ceiling(mu), abs=0.005)
    assert hits / judged == pytest.approx(ndtr(mu / 2), abs=0.006)
    assert scores.hit_rate() == pytest.approx(ndtr(ndtri(0.01) + mu), abs=0.02)


def test_ties_count_half() -> None:
    assert Scores(np.ones(4), np.ones(6)).area() == 0.5
    assert Scores(np.ones(4), np.array([0.0, 0, 0, 1, 1, 1])).area() == 0.75


def test_scores_that_are_all_the_same_prove_nothing() -> None:
    scores = Scores(np.ones(100), np.ones(100))
    assert scores.rates_for_mu().mu() == 0.0
    assert scores.rates_for_epsilon(DELTA).epsilon(DELTA) == 0.0
    assert scores.hit_rate() == 0.0


def test_a_perfect_attack_proves_what_its_trials_allow() -> None:
    """The bound is that of 100 hits of 100 and no false alarm, and grows with them."""
    rates = Scores(np.ones(200), np.zeros(200)).rates_for_mu()
    assert rates == HitRates(100, 100, 0, 100)
    most = clopper_pearson(0, 100)[1]
    assert rates.epsilon(0.0) == pytest.approx(math.log((1 - most) / most))
    assert rates.mu() == pytest.approx(2 * ndtri(1 - most))


def test_three_trials_are_too_few() -> None:
    with pytest.raises(ValueError, match="3 and 5 trials"):
        Scores.of(np.zeros(8), np.array([1, 1, 1, 0, 0, 0, 0, 0]), np.random.default_rng(0))
