"""Comparisons with randomised response: at equal epsilon, and at an equal advantage of the attacker."""

from __future__ import annotations

import math

import pytest

from secure_fair.privacy.accounting import gaussian_advantage, gaussian_mu, response_advantage, response_epsilon
from secure_fair.report.advantage import advantage_of, against_responses
from tests.report.rows import row


def test_a_release_has_the_advantage_of_its_mechanism() -> None:
    assert advantage_of(row("erm", 0, 0.3)) == 0.0
    assert advantage_of(row("parity", 0, 0.1)) == 1.0
    assert advantage_of(row("parity", 0, 0.1, asked_epsilon="1")) == pytest.approx(0.107, abs=5e-4)
    assert advantage_of(row("rr", 0, 0.1, asked_epsilon="1")) == pytest.approx(0.462, abs=5e-4)
    assert advantage_of(row("rr", 0, 0.1, asked_epsilon="1", groups="5")) == pytest.approx(0.256, abs=5e-4)
    trained = advantage_of(row("orth", 0, 0.1, release="adapter", asked_epsilon="1"))
    assert trained == pytest.approx(math.tanh(0.5) + 1e-5)


@pytest.mark.parametrize("groups", ["", "5"])
def test_at_equal_advantage_responses_are_interpolated_between_epsilons(groups: str) -> None:
    """The gap of responses is planted as a straight line in the logarithm of epsilon."""
    epsilons = (0.1, 0.5, 2.0)
    rows = [row("rr", 0, 0.3 - 0.05 * math.log(e), asked_epsilon=f"{e:g}", groups=groups) for e in epsilons]
    rows += [row("parity", 0, 0.2, asked_epsilon="2", groups=groups)]
    table = against_responses(rows)
    assert table is not None
    equal, matched = (dict(zip(table.header, cells, strict=True)) for cells in table.rows)
    assert (equal["equal"], equal["epsilon of responses"]) == ("epsilon", "2")
    assert float(equal["Δ DPD"]) == pytest.approx(0.2 - (0.3 - 0.05 * math.log(2.0)), abs=6e-4)
    epsilon = response_epsilon(gaussian_advantage(gaussian_mu(2.0, 1e-5)), int(groups or 2))
    assert response_advantage(epsilon, int(groups or 2)) == pytest.approx(float(equal["advantage"]), abs=5e-4)
    assert (matched["equal"], matched["epsilon of responses"]) == ("advantage", f"{epsilon:.3g}")
    assert float(matched["Δ DPD"]) == pytest.approx(0.2 - (0.3 - 0.05 * math.log(epsilon)), abs=6e-4)


def test_nothing_is_extrapolated_and_another_strength_is_no_counterpart() -> None:
    rows = [row("rr", 0, 0.2, asked_epsilon="1"), row("parity", 0, 0.2, asked_epsilon="1")]
    table = against_responses(rows)
    assert table is not None
    assert [cells[5] for cells in table.rows] == ["epsilon"]  # an epsilon of .21 was not run, nor one below
    assert against_responses([rows[0], rows[1] | {"strength": "1"}]) is None
    assert against_responses([row("rr", 0, 0.2), row("parity", 0, 0.2)]) is None  # exact ones have nothing to compare
