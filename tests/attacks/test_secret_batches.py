"""An attribute that DP-SGD was done by is told as well as is computed, over drawn batches and noise, and no better."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.special import ndtr, ndtri

from secure_fair.attacks.common.secret_batches import Batches, most_area
from secure_fair.attacks.common.statistics import Scores
from secure_fair.attacks.common.strongest import Strongest, responses_area
from secure_fair.privacy.dpsgd import PrivateSettings

N = 10_000


@pytest.mark.parametrize("batches", [Batches(1.5, 0.2, 20), Batches(0.7, 0.05, 10), Batches(4.0, 0.9, 30)])
def test_it_wins_so_much_from_noised_sums(batches: Batches) -> None:
    """One record's gradients of length 1, in this direction or against it, in batches that it is drawn into."""
    generator = np.random.default_rng(3)
    attributes = generator.integers(0, 2, N)
    inside = generator.random((N, batches.steps)) < batches.rate
    told = np.where(attributes, 1, -1)[:, None] * inside + generator.normal(0, batches.multiplier, inside.shape)
    ways = [1 - batches.rate + batches.rate * np.exp((s * told - 0.5) / batches.multiplier**2) for s in (1, -1)]
    scores = Scores.of(np.log(ways[0] / ways[1]).sum(1), attributes, generator)
    assert scores.area() == pytest.approx(batches.area(), abs=0.015)
    assert scores.hit_rate(0.1) == pytest.approx(batches.hit_rate(0.1), abs=0.03)


def test_batches_of_everybody_are_gaussian_releases() -> None:
    everybody, nearly = Batches(6.0, 1.0, 40), Batches(6.0, 1 - 1e-9, 40)
    assert everybody.area() == pytest.approx(ndtr(2 * np.sqrt(40) / 6 / np.sqrt(2)))
    assert everybody.hit_rate(0.01) == pytest.approx(ndtr(2 * np.sqrt(40) / 6 + ndtri(0.01)))
    assert nearly.area() == pytest.approx(everybody.area(), abs=1e-4)
    assert nearly.hit_rate(0.01) == pytest.approx(everybody.hit_rate(0.01), abs=1e-4)


@pytest.mark.parametrize("epsilon", [0.1, 1.0, 3.0])
def test_a_training_that_spends_epsilon_stays_within_what_that_allows(epsilon: float) -> None:
    settings = PrivateSettings(epsilon, 1e-5, epochs=10, sample_rate=0.2, learning_rate=1e-3)
    batches = Batches(settings.multiplier, settings.sample_rate, settings.steps)
    assert 0.5 < batches.area() < most_area(epsilon, 1e-5)
    assert Batches(settings.multiplier / 2, *(settings.sample_rate, settings.steps)).area() > batches.area()


def test_what_adding_and_removing_allow() -> None:
    """Of two values as randomised response of twice the epsilon has it; and all of it where delta is 1."""
    assert most_area(0.5, 0.0) == pytest.approx(responses_area(1.0, 2))
    assert most_area(0.0, 0.0) == 0.5
    assert most_area(0.1, 1.0) == pytest.approx(1.0)
    assert most_area(1.0, 1e-5) > most_area(1.0, 0.0)


def test_an_adapter_tells_what_its_training_does() -> None:
    batches = Batches(3.0, 0.2, 50)
    for operation in ("sensitive_adapter", "orthogonality"):
        private, exact = Strongest(10, batches=batches), Strongest(10)
        for attacker in (private, exact):
            assert attacker.area() == 0.5
            for _ in range(3):  # post-processing: the same again says nothing new
                attacker.saw(operation, np.array([], dtype=np.int64), [], 0.0)
        assert (private.area(), private.hit_rate(0.01)) == (batches.area(), batches.hit_rate(0.01))
        assert (exact.area(), exact.hit_rate(0.01)) == (1.0, 1.0)
