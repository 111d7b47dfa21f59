"""Curves of an attack: what is allowed lies above chance, meets its ends, and the figure is whole and escaped."""

from __future__ import annotations

import xml.etree.ElementTree as ElementTree
from typing import Any

import numpy as np
import pytest

from secure_fair.attacks.common.statistics import Scores
from secure_fair.privacy.accounting import response_advantage
from secure_fair.report.curves import allowed, curves


def finding(**ceiling: Any) -> dict[str, Any]:
    half = {"curve": [[0.01, 0.05], [0.1, 0.3], [1.0, 1.0]]}
    return {"name": 'one "<attack>"', "ours": half, "twin": half, "ceiling": {"mu": None, "epsilon": None, **ceiling}}


def test_the_figure_is_whole_and_has_a_line_for_each_side() -> None:
    drawn = ElementTree.fromstring(curves(finding(mu=0.268)))
    lines = drawn.findall("polyline")
    assert len(lines) == 3
    assert 'one "<attack>"' in drawn.attrib["aria-label"]
    for line in lines:
        places = np.array([list(map(float, place.split(","))) for place in line.attrib["points"].split()])
        assert (places >= 0).all()
        assert (places[:, 0] <= 320).all()
        assert (places[:, 1] <= 230).all()


def test_without_scores_there_is_none() -> None:
    assert curves({**finding(), "ours": {"curve": []}}) == ""
    assert len(ElementTree.fromstring(curves(finding())).findall("polyline")) == 2  # nothing is allowed


@pytest.mark.parametrize("epsilon", [0.1, 1.0, 3.0])
def test_what_a_pure_epsilon_allows_has_the_advantage_of_responses(epsilon: float) -> None:
    alarms, hits = np.array(allowed({"mu": None, "epsilon": epsilon, "delta": 0.0})).T
    assert (hits >= alarms - 1e-12).all()
    assert (np.diff(hits) >= 0).all()
    assert (hits - alarms).max() == pytest.approx(response_advantage(epsilon, 2), abs=0.03)


def test_scores_give_a_curve_from_rare_alarms_to_all() -> None:
    generator = np.random.default_rng(0)
    points = Scores(generator.normal(size=2000) + 1, generator.normal(size=2000)).curve()
    alarms, hits = np.array(points).T
    assert alarms[0] == pytest.approx(1 / 2000)
    assert points[-1] == (1.0, 1.0)
    assert (np.diff(hits) >= 0).all()
    assert hits[np.searchsorted(alarms, 0.1)] == pytest.approx(0.39, abs=0.06)  # Phi(Phi^-1(0.1) + 1)
