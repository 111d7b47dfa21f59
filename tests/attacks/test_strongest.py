"""The strongest attacker's power is what is really won over fresh draws of the noise, and within what is allowed."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from scipy.special import ndtr, ndtri

from secure_fair.attacks.common.statistics import Scores
from secure_fair.attacks.common.strongest import Strongest, most_area, responses_area, responses_hit_rate
from secure_fair.errors import UsageError
from secure_fair.privacy.accounting import gaussian_mu
from secure_fair.privacy.randomised_response import respond
from secure_fair.randomness import PRG

N = 20_000


def of_one(length: float, sigma: float, releases: int = 1) -> Strongest:
    """One person whose row has this length in so many moments."""
    attacker = Strongest(1)
    for _ in range(releases):
        attacker.saw("moment", np.array([0]), [torch.tensor([[length, 0.0]])], sigma)
    return attacker


def test_it_wins_so_much_from_moments() -> None:
    """Moments with fresh noise for each trial, of a person whose attribute is a coin; all others are known."""
    generator, attacker = np.random.default_rng(1), Strongest(1)
    rows, sigma = generator.normal(size=(3, 4)) / 3, 1.5
    for row in rows:
        attacker.saw("moment", np.array([0]), [torch.from_numpy(row[None])], sigma)
    attributes = generator.integers(0, 2, N)
    told = attributes[:, None, None] * rows + generator.normal(0, sigma, (N, *rows.shape))
    scores = Scores.of((told * rows).sum((1, 2)), attributes, generator)
    assert scores.area() == pytest.approx(attacker.area(), abs=0.015)
    assert scores.hit_rate(0.1) == pytest.approx(attacker.hit_rate(0.1), abs=0.03)


def test_rows_add_up_over_epochs() -> None:
    attacker = Strongest(3)
    for records in ([0, 1], [1]):
        attacker.saw("penalty_rows", np.array(records), [], 2.0)
    assert attacker.squares.tolist() == [0.25, 0.5, 0.0]


def test_shorter_rows_and_more_noise_tell_less() -> None:
    areas = [of_one(*how).area() for how in ((1.0, 1.0), (0.5, 1.0), (0.5, 2.0), (0.0, 2.0))]
    assert areas == sorted(areas, reverse=True)
    assert areas[-1] == 0.5


def test_without_noise_everybody_is_known_who_is_asked_about() -> None:
    assert of_one(0.1, 0.0).area() == 1.0
    assert of_one(0.0, 0.0).area() == 0.5
    assert of_one(0.1, 0.0).hit_rate(0.001) == 1.0


def test_a_budget_that_is_spent_by_rows_as_long_as_they_may_be_gives_the_most() -> None:
    mu = gaussian_mu(1.0, 1e-5)
    attacker = of_one(1.0, 2 / mu, releases=4)
    assert attacker.area() == pytest.approx(most_area(1.0, 1e-5))
    assert attacker.hit_rate(0.01) == pytest.approx(ndtr(mu + ndtri(0.01)))


@pytest.mark.parametrize("groups", [2, 5])
def test_responses_win_what_their_answers_win(groups: int) -> None:
    """Two groups are told apart by answers that may name a third."""
    generator = np.random.default_rng(2)
    attributes = generator.integers(0, 2, N)
    answers = respond(attributes, groups, 1.0, PRG(bytes(32)))
    scores = np.select([answers == 1, answers == 0], [1.0, -1.0], 0.0)
    assert Scores.of(scores, attributes, generator).area() == pytest.approx(responses_area(1.0, groups), abs=0.01)
    attacker = Strongest(1, groups, 1.0)
    for _ in range(3):
        attacker.saw("randomised_attributes", np.array([0]), [], 0.0)
    assert attacker.area() == responses_area(1.0, groups)
    assert attacker.hit_rate(0.01) == responses_hit_rate(0.01, 1.0, groups) == pytest.approx(0.01 * np.e)


def test_of_more_groups_a_change_is_longer() -> None:
    """Two entries of a one-hot row change, so that mu^2 is twice as large."""
    two, five = Strongest(1, 2), Strongest(1, 5)
    for attacker in (two, five):
        attacker.saw("moment", np.array([0]), [torch.tensor([[1.0]])], 1.0)
    assert five.squares[0] == pytest.approx(2 * two.squares[0])


def test_what_it_does_not_know_is_refused() -> None:
    with pytest.raises(UsageError, match="adversary_rows"):
        Strongest(1).saw("adversary_rows", np.array([0]), [], 1.0)
