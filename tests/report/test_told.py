"""What an attacker may make of a kind of release, in a run's own report: the closed forms, in words for everybody."""

from __future__ import annotations

from typing import Any

import pytest
from scipy.special import ndtr, ndtri

from secure_fair.privacy.accounting import gaussian_mu, truth_probability
from secure_fair.report import told
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
