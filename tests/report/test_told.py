"""What an attacker may make of a kind of release, in a run's own report: the closed forms, in words for everybody."""

from __future__ import annotations

from typing import Any

import pytest
from scipy.special import ndtr, ndtri

from secure_fair.privacy.accounting import gaussian_mu, truth_probability
from secure_fair.report import tables, told
from secure_fair.report.html import render


def with_lines(summary: dict[str, Any], *lines: dict[str, Any]) -> dict[str, Any]:
    opening = {"operation": "moment", "attribute": "gender", "auditor": "auditor", "receiver": "developer"}
    more = [{**opening, "releases": 1, "numbers": 1, "exact": False, "sigma": 1.0, **line} for line in lines]
    return {**summary, "openings": more, "compare": []}


def test_mu_is_told_in_guesses_and_in_rare_alarms(summary: dict[str, Any]) -> None:
    mu = gaussian_mu(1.0, 1e-5)
    (row,) = told.kinds(with_lines(summary, {"mu": mu})).rows
    assert row[3:] == ("0.268", "0.107", "55.3 of 100", f"{100 * ndtr(ndtri(0.01) + mu):.1f} %")


def test_an_answer_at_random_is_told_by_its_epsilon(summary: dict[str, Any]) -> None:
    (row,) = told.kinds(with_lines(summary, {"epsilon": 1.0})).rows
    assert row[5] == f"{100 * truth_probability(1.0, 2):.1f} of 100"
    assert row[6] == f"{2.718281828:.1f} %"


def test_an_exact_release_tells_everything_and_what_follows_from_others_nothing(summary: dict[str, Any]) -> None:
    rows = told.kinds(with_lines(summary, {"exact": True, "sigma": None}, {"sigma": 0.0})).rows
    assert [row[5] for row in rows] == ["100.0 of 100"]


def test_all_releases_together_are_told_in_guesses(summary: dict[str, Any]) -> None:
    """By Gaussian DP where all noise is Gaussian, else by what (epsilon, delta) allows anything: more."""
    summary["privacy"]["attributes"]["gender"]["epsilon"] = 1.0
    gaussian, race = tables.privacy(with_lines(summary, {"mu": 0.2})).rows
    assert gaussian[-1] == "55.3 of 100"
    assert race[-1] == "100.0 of 100"  # exact
    mixed, _ = tables.privacy(with_lines(summary, {"mu": 0.2}, {"epsilon": 0.5})).rows
    assert mixed[-1] == f"{100 * truth_probability(1.0, 2):.1f} of 100"
    summary["privacy"]["attributes"]["gender"]["releases"] = 0
    assert tables.privacy(with_lines(summary)).rows[0][-1] == "50.0 of 100"


def test_what_is_left_of_an_epsilon_is_explained(summary: dict[str, Any]) -> None:
    del summary["privacy"]["attributes"]["race"]
    for epsilon, left in ((0.999, False), (0.89, True)):
        summary["privacy"]["attributes"]["gender"]["epsilon"] = epsilon
        summary["privacy"]["asked"] = {"epsilon": 1.0, "evaluation_epsilon": None, "delta": 1e-5}
        assert ("What is left" in told.asked(summary)) == left


def test_the_page_says_what_was_not_protected(summary: dict[str, Any]) -> None:
    noised = with_lines(summary, {"mu": 0.2})
    assert "exact values" not in " ".join(told.unprotected(noised))
    assert "dealer" in told.unprotected(noised)[0]
    assert "exact values were opened" in told.unprotected(with_lines(summary, {"exact": True}))[0]
    (plain,) = told.unprotected({**noised, "mode": "plain"})
    assert "one process saw" in plain
    assert plain in render({**noised, "mode": "plain"}, {}, {})


@pytest.mark.parametrize(
    ("asked", "said"),
    [
        ({}, ""),
        ({"epsilon": None, "delta": 1e-5}, "no epsilon"),
        ({"epsilon": 1.0, "evaluation_epsilon": 0.5, "delta": 1e-5}, "epsilon 1 in training, 0.5 in evaluation"),
    ],
)
def test_asked_stands_beside_spent(summary: dict[str, Any], asked: dict[str, Any], said: str) -> None:
    summary["privacy"]["asked"] = asked
    assert said in told.asked(summary)
    assert ("0.987 on gender" in told.asked(summary)) == ("training" in said)
    assert told.asked(summary) in render(summary, {}, {})
