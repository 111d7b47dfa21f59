"""The outlook refuses before anything is spent what the gate would refuse in the middle of a run."""

import numpy as np
import pytest
from people import plan_for
from rules import RULES

from secure_fair.errors import BudgetExceeded
from secure_fair.privacy.entries import Charge
from secure_fair.privacy.outlook import Outlook, SpendingRows, new_people
from secure_fair.privacy.plan import Plan, PlannedRelease
from secure_fair.privacy.policy import Policy
from secure_fair.privacy.spending import Spending

NOBODY = np.array([], dtype=np.int64)


def once(charge: Charge) -> np.ndarray:
    """The cost to one person with one record."""
    return charge.times(np.ones(1, dtype=np.int64))


def outlook(
    plans: list[Plan], policy: Policy, spending: Spending | None = None, people: SpendingRows | None = None
) -> Outlook:
    fresh, somebody = new_people()
    return Outlook(
        policy=policy,
        plans={plan.attribute: plan for plan in plans},
        rules=RULES,
        trainings=1,
        spending=spending or fresh,
        people=people or somebody,
    )


def trained(attribute: str = "gender", epsilon: float | None = 1.0, delta: float = 1e-6) -> Plan:
    """A plan that rests on a training on the auditor's own records."""
    adapter = PlannedRelease("orthogonality", 100, 100, 0.0)
    return plan_for(attribute, epsilon, releases=[adapter], evaluation=[], delta=delta)


@pytest.mark.parametrize("limit", ["epsilon", "total_epsilon"])
def test_trainings_on_own_records_count_and_add_up_over_attributes(limit: str) -> None:
    plans = [trained("gender"), trained("race")]
    outlook(plans, Policy(**{limit: 2.0})).check()
    with pytest.raises(BudgetExceeded, match=f"from epsilon 0 to 2 at delta 1e-05, and the policy's {limit} for life"):
        outlook(plans, Policy(**{limit: 1.9})).check()
    with pytest.raises(BudgetExceeded, match="to inf at delta 1e-05"):  # their deltas add up too
        outlook([trained("gender", delta=6e-6), trained("race", delta=6e-6)], Policy(**{limit: 2.0})).check()
    with pytest.raises(BudgetExceeded, match="to inf"):
        outlook([trained(epsilon=None)], Policy(**{limit: 50.0})).check()


def test_earlier_trainings_on_the_same_records_count() -> None:
    spending, people = new_people()
    spending.add("race", "sensitive_training", people.own, once(Charge(epsilon=1.0, delta=1e-6)), training=True)
    outlook([trained()], Policy(epsilon=2.0), spending, people).check()
    with pytest.raises(BudgetExceeded, match="from epsilon 1 to 2"):
        outlook([trained()], Policy(epsilon=1.5), spending, people).check()
    strangers = SpendingRows(people.training, people.test, spending.rows(["somebody else's record"]))
    outlook([trained()], Policy(epsilon=1.5), spending, strangers).check()


def test_who_is_trained_on_and_released_as_well_pays_for_both() -> None:
    answers = plan_for("race", 1.0, releases=[PlannedRelease("randomised_attributes", 1, 1, 1.0)], evaluation=[])
    spending = Spending([], lambda name: [])
    one = spending.rows(["one"])
    outlook([trained(), answers], Policy(total_epsilon=2.0), spending, SpendingRows(one, NOBODY, one)).check()
    with pytest.raises(BudgetExceeded, match="to 2 at delta"):
        outlook([trained(), answers], Policy(total_epsilon=1.9), spending, SpendingRows(one, NOBODY, one)).check()


def test_an_answer_that_was_paid_pays_for_answers_and_not_for_the_truth() -> None:
    spending, people = new_people()
    spending.add("gender", "randomised_attributes", people.training, once(Charge(epsilon=1.0)))
    answers = PlannedRelease("randomised_attributes", 1, 1, 1.0)
    again, truth = (plan_for(epsilon=epsilon, releases=[answers], evaluation=[]) for epsilon in (1.0, None))
    outlook([again], Policy(epsilon=1.0), spending, people).check()
    with pytest.raises(BudgetExceeded, match="from epsilon 1 to inf"):
        outlook([truth], Policy(epsilon=1.0), spending, people).check()
