"""The attack that accounting speaks of, through the gate: it comes near the claimed bounds and never passes them.

The developer knows its own queries, so it may ask with the identity matrix: coordinate i of the moment is record i's
attribute and noise, and every row of the query has norm 1. Each record is one trial of the attack on one attribute.
"""

import math
from collections.abc import Callable

import numpy as np
import pytest
import torch
from people import SCALE, ask, plan_for

from secure_fair.attacks.common.statistics import Scores
from secure_fair.privacy import accounting
from secure_fair.privacy.gate import Gate
from secure_fair.privacy.noise import NoiseSource, SeededNoise
from secure_fair.privacy.openings import PlainOpening
from secure_fair.privacy.plan import PlannedRelease
from secure_fair.privacy.policy import Policy

DELTA = 1e-5
CONFIDENCE = 0.999  # a right mechanism fails these tests once in a thousand runs, at most


class HalvedNoise:
    """A broken source: half of the scale that it is asked for."""

    private = True
    description = "half of the noise"

    def __init__(self) -> None:
        self._source = SeededNoise(1)

    def gaussian(self, sigma: int, count: int) -> np.ndarray:
        return self._source.gaussian(sigma // 2, count)


def attack(
    open_gate: Callable[..., Gate],
    run: str,
    attributes: np.ndarray,
    epsilon: float | None,
    participations: int,
    noise: NoiseSource | None = None,
) -> np.ndarray:
    """The attacker's score of every record: the mean of what the releases say about it, the best statistic there is.

    The noise is the same in every run of the tests, which would else come out beyond their bounds once in a thousand.
    """
    records = len(attributes)
    plan = plan_for(epsilon=epsilon, releases=[PlannedRelease("moment", participations, participations, 1.0)])
    ids = [f"{run} {number}" for number in range(records)]
    gate = open_gate(
        [plan], run=run, ids=ids, known=set(ids), policy=Policy(allow_exact=True), noise=noise or SeededNoise(1)
    )
    opening = PlainOpening(torch.from_numpy(attributes).double()[:, None], SCALE)
    request = ask(records=np.arange(records), shape=(records, 1))
    return sum(gate.release(gate.admit(request), opening).numpy()[:, 0] for _ in range(participations)) / participations


def scored(scores: np.ndarray, attributes: np.ndarray) -> Scores:
    return Scores.of(scores, attributes, np.random.default_rng(0))


def least_epsilon(scores: np.ndarray, attributes: np.ndarray) -> float:
    """A lower bound on epsilon: the threshold is the best one for half of the records, judged on the others."""
    return scored(scores, attributes).rates_for_epsilon(DELTA).epsilon(DELTA, CONFIDENCE)


@pytest.mark.parametrize(("ratio", "ceiling"), [(1, 0.987), (2, 0.868), (5, 0.673), (10, 0.588), (20, 0.545)])
def test_attack_reaches_the_ceiling_and_not_more(open_gate, ratio: int, ceiling: float) -> None:
    """Ten participations at sigma / sensitivity: the best attack's AUC is Phi(sqrt(10) / ratio / sqrt(2))."""
    attributes = np.arange(12_000) % 2
    epsilon = accounting.gaussian_epsilon(math.sqrt(10) / ratio, DELTA)
    scores = attack(open_gate, "run", attributes, epsilon, 10)
    assert scored(scores, attributes).area() == pytest.approx(ceiling, abs=4 * 0.0053)


def test_an_exact_release_gives_every_attribute_away(open_gate) -> None:
    attributes = np.random.default_rng(0).integers(0, 2, 400)
    assert scored(attack(open_gate, "run", attributes, None, 1), attributes).area() == 1.0


def test_accounting_for_secret_batches_would_be_wrong(open_gate) -> None:
    """Batches of 1 %, ten epochs, sigma 1: an accountant that takes batches for secret promises about 2.

    The developer chooses its batches, so that each record takes part ten times for certain. The attack certifies more
    than twice the promise; the accounting for participations is not broken by it.
    """
    promised = accounting.poisson_epsilon(1.0, 0.01, 1000, DELTA)
    truth = accounting.gaussian_epsilon(math.sqrt(10), DELTA)
    attributes = np.arange(40_000) % 2
    certified = least_epsilon(attack(open_gate, "run", attributes, truth, 10), attributes)
    assert promised < 2.2
    assert 2 * promised < certified <= truth


@pytest.mark.parametrize("epsilon", [1.0, 3.0, 8.0])
def test_the_gate_keeps_its_epsilon(open_gate, epsilon: float) -> None:
    """A lower bound that holds with 99.9 % stays below the claim, and is not an empty one."""
    attributes = np.arange(120_000) % 2
    certified = least_epsilon(attack(open_gate, "run", attributes, epsilon, 4), attributes)
    assert 0.25 * epsilon < certified <= epsilon


def test_halved_noise_is_caught(open_gate) -> None:
    """The same attack on a gate whose noise has half the scale certifies more mu than the gate claims."""
    attributes = np.arange(40_000) % 2
    scores = scored(attack(open_gate, "run", attributes, 1.0, 4, HalvedNoise()), attributes)
    assert scores.rates_for_mu().mu(CONFIDENCE) > accounting.gaussian_mu(1.0, DELTA)
