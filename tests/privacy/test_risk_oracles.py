"""mu, epsilon and what an attacker makes of them, against libraries that compute them from discretised losses."""

from __future__ import annotations

import math

import numpy as np
import pytest
from gdpnum import CTDAccountant, PLDConverter
from people import plan_for
from riskcal.analysis import get_advantage_from_adp, get_advantage_from_gdp, get_beta_from_gdp

from secure_fair.defaults import DELTA
from secure_fair.privacy import accounting
from secure_fair.privacy.plan import PlannedRelease
from secure_fair.report.curves import allowed

EPSILONS = [0.1, 1.0, 3.0]


def accountant(epsilon: float, participations: int) -> CTDAccountant:
    """The other accounting of a plan of so many releases of a record."""
    plan = plan_for(epsilon=epsilon, releases=[PlannedRelease("moment", participations, participations, 1.0)])
    made = CTDAccountant()
    for _ in range(participations):
        made.step(noise_multiplier=plan.multipliers["moment"], sample_rate=1.0)
    return made


@pytest.mark.parametrize("epsilon", EPSILONS)
@pytest.mark.parametrize("participations", [1, 4])
def test_a_plan_comes_to_the_mu_and_the_epsilon_that_it_is_made_for(epsilon: float, participations: int) -> None:
    other = accountant(epsilon, participations)
    assert other.get_epsilon(delta=DELTA) == pytest.approx(epsilon, abs=1e-6)
    assert PLDConverter(other.get_pld()).get_mu() == pytest.approx(accounting.gaussian_mu(epsilon, DELTA), abs=1e-6)


@pytest.mark.parametrize("epsilon", EPSILONS)
def test_advantage_and_hits_at_rare_alarms_are_theirs(epsilon: float) -> None:
    mu = accounting.gaussian_mu(epsilon, DELTA)
    assert accounting.gaussian_advantage(mu) == pytest.approx(get_advantage_from_gdp(mu), abs=1e-12)
    alarms, hits = np.array(allowed({"mu": mu})).T  # the curve that pages draw
    assert hits == pytest.approx(1 - get_beta_from_gdp(mu, alarms), abs=1e-6)


@pytest.mark.parametrize("epsilon", EPSILONS)
def test_what_any_epsilon_and_delta_allow_is_no_less_than_theirs(epsilon: float) -> None:
    """The bound for adapters, tanh(epsilon / 2) + delta, is a little larger than the exact one."""
    told, exact = accounting.response_advantage(epsilon, 2) + DELTA, get_advantage_from_adp(epsilon, DELTA)
    assert exact <= told <= exact + DELTA
    assert accounting.response_advantage(epsilon, 2) == pytest.approx(math.tanh(epsilon / 2))
