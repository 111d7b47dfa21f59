"""A plan spends its target epsilon and no more, and shows what it will cost."""

import math
from collections.abc import Sequence
from typing import Any

import pytest
from oracles import composed_mu
from rules import RULES

from secure_fair.errors import UsageError
from secure_fair.privacy import accounting
from secure_fair.privacy.plan import Plan, PlannedRelease
from secure_fair.privacy.plan import make_plan as plan_by_rules

MOMENTS = PlannedRelease("moment", count=4, participations=4, sensitivity=1.0)
PRIOR = PlannedRelease("group_counts", count=1, participations=1, sensitivity=1.0)
EVALUATION = PlannedRelease("evaluation_counts", count=1, participations=1, sensitivity=1.0)


def make_plan(attribute: str, releases: Sequence[PlannedRelease], **changes: Any) -> Plan:
    return plan_by_rules(attribute, releases, **{"rules": RULES, "delta": 1e-5, **changes})


def spent(plan, kinds, reserve: int = 0) -> float:
    """Epsilon of one record that takes part in everything."""
    releases = [(1.0, plan.multipliers[kind.operation]) for kind in kinds for _ in range(kind.participations)]
    releases += [(1.0, plan.multipliers["moment"])] * reserve
    return accounting.gaussian_epsilon(composed_mu(releases), plan.delta)


@pytest.mark.parametrize("epsilon", [0.09, 0.3, 1.0, 8.0])
@pytest.mark.parametrize("reserve", [0, 1, 3])
def test_everything_together_spends_the_target(epsilon: float, reserve: int) -> None:
    plan = make_plan("gender", [MOMENTS, PRIOR], epsilon=epsilon, reserve_releases=reserve)
    assert spent(plan, plan.releases, reserve) == pytest.approx(epsilon, rel=1e-6)
    assert spent(plan, plan.releases, reserve) <= epsilon
    assert plan.planned_epsilon() == pytest.approx(spent(plan, plan.releases))
    assert plan.planned_epsilon() <= epsilon


def test_evaluation_has_a_budget_of_its_own() -> None:
    plan = make_plan(
        "gender", [MOMENTS], epsilon=1.0, evaluation=[EVALUATION], evaluation_epsilon=0.5, reserve_releases=0
    )
    assert spent(plan, [MOMENTS]) == pytest.approx(1.0)
    assert spent(plan, [EVALUATION]) == pytest.approx(0.5)


def test_weights_share_the_budget() -> None:
    """A kind with a quarter of the weight gets twice the noise, and the sum still meets the target."""
    light = PlannedRelease("group_counts", 1, 1, 1.0, weight=0.25)
    plan = make_plan("gender", [MOMENTS, light], epsilon=1.0, reserve_releases=0)
    assert plan.multipliers["group_counts"] == pytest.approx(2 * plan.multipliers["moment"])
    assert spent(plan, [MOMENTS, light]) == pytest.approx(1.0)


def test_post_processing_takes_nothing_from_the_budget() -> None:
    step = PlannedRelease("adversary_step", 100, 5, math.sqrt(2))
    entropy = PlannedRelease("entropy_rows", 100, 5, 0.0)
    alone = make_plan("gender", [step], epsilon=1.0)
    both = make_plan("gender", [step, entropy], epsilon=1.0)
    assert both.multipliers["adversary_step"] == alone.multipliers["adversary_step"]
    assert both.multipliers["entropy_rows"] == 0.0


def test_post_processing_is_as_exact_as_what_it_is_made_from() -> None:
    kinds = [PlannedRelease("adversary_step", 100, 5, math.sqrt(2)), PlannedRelease("entropy_rows", 100, 5, 0.0)]
    for epsilon in (None, 1.0):
        plan = make_plan("gender", kinds, epsilon=epsilon)
        assert [plan.noised(kind.operation) for kind in kinds] == [epsilon is not None] * 2
    assert not plan.noised("moment")  # which is not in it


def test_exact_plans_say_so() -> None:
    plan = make_plan("gender", [MOMENTS, PRIOR], epsilon=None)
    assert plan.exact
    assert plan.multipliers == {"moment": None, "group_counts": None}
    assert plan.planned_epsilon() is None
    assert plan.table().count("EXACT") == 3
    assert not make_plan("gender", [MOMENTS], epsilon=1.0).exact


def test_the_table_shows_noise_and_the_attack_ceiling() -> None:
    plan = make_plan("gender", [MOMENTS], epsilon=1.0, reserve_releases=0)
    text = plan.table()
    assert "epsilon 1, delta 1e-05, adjacency: substitution of one record's gender" in text
    ceiling = accounting.attack_auc_ceiling(accounting.gaussian_mu(1.0, 1e-5))
    assert f"{ceiling:.3f}" in text
    assert f"{accounting.noise_multiplier(1.0, 1e-5, 4):.2f}" in text


def test_what_comes_of_the_auditor_s_own_records_is_told_apart() -> None:
    adapter = PlannedRelease("sensitive_adapter", 1, 1, 0.0)
    private, exact = make_plan("gender", [adapter], epsilon=8.0), make_plan("gender", [adapter], epsilon=None)
    assert "the gender of an enrolled record; for the auditor's own records epsilon 8, delta 1e-05" in private.table()
    assert "adding or removing one record" in private.table()
    assert "the auditor's own records EXACT" in exact.table()
    assert "in reserve" not in private.table()
    assert make_plan("gender", [], epsilon=1.0).table().splitlines()[0].endswith("of an enrolled record")
    mixed = make_plan("gender", [adapter, MOMENTS], epsilon=1.0)
    assert "substitution" in mixed.table()


def test_randomised_attributes_take_the_whole_epsilon() -> None:
    response = PlannedRelease("randomised_attributes", 1, 1, 1.0)
    plan = make_plan("gender", [response], epsilon=0.7)
    assert plan.planned_epsilon() == 0.7
    assert "response" in plan.table()
    with pytest.raises(UsageError, match="stand alone"):
        make_plan("gender", [response, PRIOR], epsilon=0.7)


def test_noised_adversary_rows_need_the_accounted_update() -> None:
    rows = PlannedRelease("adversary_rows", 100, 5, 1.0)
    with pytest.raises(UsageError, match="adversary_step"):
        make_plan("gender", [rows], epsilon=1.0)
    assert make_plan("gender", [rows], epsilon=None).exact
    make_plan("gender", [rows, PlannedRelease("adversary_step", 100, 5, 1.0)], epsilon=1.0)


def test_an_operation_without_a_rule_is_not_planned() -> None:
    for changes in ({"epsilon": 1.0}, {"epsilon": None}):
        with pytest.raises(UsageError, match="momentum: no rule for this operation; known are adversary_rows, "):
            make_plan("gender", [MOMENTS, PlannedRelease("momentum", 1, 1, 1.0)], **changes)
    fewer = {name: rule for name, rule in RULES.items() if name != "moment"}
    with pytest.raises(UsageError, match="moment: no rule for this operation"):
        make_plan("gender", [PRIOR], rules=fewer, epsilon=1.0, evaluation=[MOMENTS], evaluation_epsilon=1.0)


@pytest.mark.parametrize(
    ("arguments", "word"),
    [
        ({"epsilon": 0.0}, "epsilon"),
        ({"epsilon": math.nan}, "epsilon"),
        ({"epsilon": 1.0, "delta": 0.0}, "delta"),
        ({"epsilon": 1.0, "reserve_releases": -1}, "reserve"),
        ({"epsilon": 1.0, "evaluation": [EVALUATION]}, "evaluation_epsilon"),
        ({"epsilon": 1.0, "evaluation": [PRIOR], "evaluation_epsilon": 1.0}, "twice"),
    ],
)
def test_wrong_settings_are_named(arguments: dict, word: str) -> None:
    with pytest.raises(UsageError, match=word):
        make_plan("gender", [MOMENTS, PRIOR], **arguments)


def test_all_problems_of_a_plan_come_at_once() -> None:
    wrong = [
        PlannedRelease("momentum", 1, 1, 1.0),
        PlannedRelease("moment", 0, 1, 1.0),
        PlannedRelease("group_counts", 1, 1, 0.0),
        PlannedRelease("entropy_rows", 1, 1, 1.0),
        PlannedRelease("penalty_rows", 1, 1, math.inf),
        PlannedRelease("adversary_step", 1, 1, 1.0, weight=0.0),
    ]
    with pytest.raises(UsageError) as error:
        make_plan("gender", wrong, epsilon=1.0)
    assert len(error.value.problems) == len(wrong)
