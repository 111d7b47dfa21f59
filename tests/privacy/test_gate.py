"""Nothing passes the gate but what policy, plan and every record's budget allow, and what passes has its noise."""

import json
import math
import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from people import IDS, MOMENTS, SCALE, TABLE, TEST, TESTED, ask, plan_for, value
from rules import RULES
from scipy.stats import kstest

from secure_fair.errors import BudgetExceeded, ProtocolError, Refusal, UsageError
from secure_fair.privacy import accounting
from secure_fair.privacy.admission import Admission
from secure_fair.privacy.entries import Charge, records_hash, table_hash
from secure_fair.privacy.gate import Gate
from secure_fair.privacy.ledger import Ledger
from secure_fair.privacy.noise import SeededNoise
from secure_fair.privacy.openings import PlainOpening
from secure_fair.privacy.plan import PlannedRelease
from secure_fair.privacy.policy import Policy
from secure_fair.privacy.request import NO_RECORDS
from secure_fair.privacy.rules import Rule
from secure_fair.privacy.spending import Spending


def kinds(directory: Path) -> list[str]:
    return [json.loads(line)["kind"] for line in (directory / "state" / "ledger.jsonl").read_text().splitlines()]


# -- values and noise --


def test_exact_release_is_exact_and_marked(open_gate, tmp_path: Path) -> None:
    gate = open_gate([plan_for(epsilon=None)])
    grant = gate.admit(ask())
    opening = value(4, 1)
    assert torch.equal(gate.release(grant, opening), opening.values.double())
    assert grant.receipt.sigma is None
    assert gate.summary()["gender"]["exact"]
    assert gate.summary()["gender"]["epsilon"] is None


def test_noise_has_the_planned_scale(open_gate) -> None:
    gate = open_gate(noise=SeededNoise(1))  # the system's would be beyond the bound once in a thousand runs
    grant = gate.admit(ask(shape=(50_000, 1)))
    opened = gate.release(grant, PlainOpening(torch.zeros(50_000, 1), SCALE)).flatten().numpy()
    sigma = accounting.noise_multiplier(1.0, 1e-5, 3)
    assert grant.receipt.sigma == pytest.approx(sigma)
    assert kstest(opened / sigma, "norm").pvalue > 1e-3
    assert np.array_equal(opened * SCALE, np.rint(opened * SCALE))


def test_noise_follows_the_sensitivity(open_gate) -> None:
    """Two one-hot columns of more than two groups move by sqrt(2): that much more noise, for the same charge."""
    gate = open_gate()
    two, three = gate.admit(ask()), gate.admit(ask(shape=(4, 3), groups=3))
    assert three.receipt.sigma == pytest.approx(math.sqrt(2) * two.receipt.sigma)
    assert three.charge == two.charge
    wide = open_gate(rules={**RULES, "moment": Rule(lambda groups: 2.5 * groups, binding=True)}).admit(ask())
    assert wide.receipt.sigma == pytest.approx(5 * two.receipt.sigma)
    assert wide.charge == two.charge


def test_every_release_draws_its_own_noise(open_gate) -> None:
    gate = open_gate()
    first, second = (gate.release(gate.admit(ask()), value(4, 1)) for _ in range(2))
    assert not torch.equal(first, second)


def test_ring_scale_is_rounded_up_and_coarse_grids_get_more() -> None:
    """On a grid so coarse that the closed form is off, one unit more keeps the exact epsilon below it."""
    for sigma in range(1, 17):
        requested = accounting.gaussian_epsilon(1 / sigma, 1e-5)
        used = sigma + 1 if sigma < 16 else sigma
        assert discrete_epsilon(used, 1e-5) <= requested * (1 if sigma < 16 else 1.0001)


def discrete_epsilon(sigma: int, delta: float) -> float:
    """Epsilon of the discrete Gaussian on the integers at sensitivity 1, from its probabilities."""
    x = np.arange(-40 * sigma, 40 * sigma + 1)
    pmf = np.exp(-(x.astype(float) ** 2) / (2 * sigma**2))
    pmf /= pmf.sum()
    loss = (1 - 2 * x) / (2 * sigma**2)
    low, high = 0.0, 60.0
    for _ in range(100):
        middle = (low + high) / 2
        if (pmf * np.maximum(0.0, -np.expm1(np.minimum(middle - loss, 0.0)))).sum() > delta:
            low = middle
        else:
            high = middle
    return high


def test_integer_openings_get_integer_noise(open_gate) -> None:
    gate = open_gate()
    opened = gate.release(gate.admit(ask(shape=(500, 1))), PlainOpening(torch.zeros(500, 1), 1))
    assert torch.equal(opened, opened.round())
    assert opened.abs().max() > 0


def test_a_value_too_large_for_the_ring_is_refused() -> None:
    for wrong in (2.0**47, math.nan, math.inf):
        with pytest.raises(ProtocolError, match="2\\^62"):
            PlainOpening(torch.tensor([wrong]), SCALE).open_to("developer", None)


def test_seeded_noise_is_marked(open_gate) -> None:
    gate = open_gate(noise=SeededNoise(1))
    assert "NOT PRIVATE" in gate.summary()["gender"]["noise"]


# -- refusals --


@pytest.mark.parametrize(
    ("changes", "word"),
    [
        ({"operation": "momentum"}, "has no rule"),
        ({"operation": "penalty_rows"}, "not in the plan"),
        ({"attribute": "race"}, "no plan"),
        ({"receiver": "auditor"}, "another party"),
        ({"receiver": ""}, "another party"),
        ({"records": np.arange(31)}, "minimum_batch"),
        ({"records": np.arange(0)}, "minimum_batch"),
        ({"records": np.append(np.arange(40), 7)}, "twice"),
        ({"records": np.arange(241, 281)}, "enrolled table has 280"),
        ({"records": np.arange(-1, 40)}, "enrolled table has 280"),
        ({"records": np.arange(40.0)}, "int64"),
        ({"records": np.arange(40).reshape(1, 40)}, "int64"),
        ({"shape": ()}, "shape"),
        ({"shape": (4, 0)}, "shape"),
        ({"groups": 1}, "at least 2"),
    ],
)
def test_refusals_come_before_anything_is_spent_and_are_written_down(
    open_gate, tmp_path: Path, changes: dict, word: str
) -> None:
    gate = open_gate()
    before = kinds(tmp_path)
    with pytest.raises(Refusal, match=word):
        gate.admit(ask(**changes))
    assert kinds(tmp_path) == [*before, "refused"]


@pytest.mark.parametrize("moves", [0.0, -1.0, math.nan, math.inf])
def test_noise_cannot_be_made_for_every_sensitivity(open_gate, tmp_path: Path, moves: float) -> None:
    gate = open_gate(rules={**RULES, "moment": Rule(lambda groups: moves, binding=True)})
    with pytest.raises(Refusal, match="sensitivity"):
        gate.admit(ask())
    assert "planned" not in kinds(tmp_path)


def test_an_operation_without_a_rule_is_refused_whatever_plan_and_policy_say(open_gate, tmp_path: Path) -> None:
    fewer = {name: rule for name, rule in RULES.items() if name not in ("moment", "sensitive_training")}
    for policy in (Policy(), Policy(operations=("moment", "sensitive_training"))):
        gate = open_gate(rules=fewer, policy=policy)
        with pytest.raises(Refusal, match="'moment' has no rule"):
            gate.admit(ask())
        with pytest.raises(Refusal, match="'sensitive_training' has no rule"):
            gate.account_training("gender", ["own-1"], operation="sensitive_training", epsilon=2.0, delta=1e-6)
        assert gate.records_summary() == {}
    assert "planned" not in kinds(tmp_path)


def test_a_policy_may_forbid_a_training(open_gate, tmp_path: Path) -> None:
    gate = open_gate([own_plan()], policy=Policy(operations=("orthogonality",)))
    with pytest.raises(Refusal, match="'sensitive_training' is not in the policy of auditor: orthogonality"):
        gate.account_training("gender", ["own-1"], operation="sensitive_training", epsilon=2.0, delta=1e-6)
    assert "planned" not in kinds(tmp_path)


def test_a_policy_may_forbid_an_operation(open_gate) -> None:
    gate = open_gate(policy=Policy(operations=("evaluation_counts",)))
    with pytest.raises(Refusal, match="not in the policy"):
        gate.admit(ask())
    gate.admit(ask("evaluation_counts"))


def test_max_releases_counts_one_attribute_in_one_run(open_gate) -> None:
    gate = open_gate(
        [plan_for("gender", None), plan_for("race", None)], policy=Policy(max_releases=2, allow_exact=True)
    )
    for _ in range(2):
        gate.release(gate.admit(ask()), value(4, 1))
    with pytest.raises(Refusal, match="max_releases is 2"):
        gate.admit(ask())
    gate.admit(ask(attribute="race"))


def test_max_releases_counts_what_is_admitted_together_or_beforehand(open_gate) -> None:
    gate = open_gate([plan_for(epsilon=None)], policy=Policy(max_releases=2, allow_exact=True))
    gate.release(gate.admit(ask()), value(4, 1))
    with pytest.raises(Refusal, match="2 releases made, the policy's max_releases is 2"):
        gate.admit_together([ask(), ask()])
    first, second = gate.admit(ask()), gate.admit(ask())  # a grant that is left lying takes nothing away
    gate.release(second, value(4, 1))
    with pytest.raises(Refusal, match="max_releases is 2"):
        gate.release(first, value(4, 1))


def test_max_releases_counts_the_whole_of_a_resumed_run_and_no_other(open_gate) -> None:
    made, policy = [plan_for(epsilon=None)], Policy(max_releases=1, allow_exact=True)
    gate = open_gate(made, policy=policy)
    gate.release(gate.admit(ask()), value(4, 1))
    with pytest.raises(Refusal, match="max_releases is 1"):
        open_gate(made, policy=policy).admit(ask())
    open_gate(made, policy=policy, run="another").admit(ask())


@pytest.mark.parametrize(
    ("ids", "word"),
    [([], "empty"), ([IDS[0], IDS[0]], "twice"), ([IDS[0], "stranger"], "1 of 2 record ids are unknown")],
)
def test_the_enrolled_table_is_checked(open_gate, ids: list[str], word: str) -> None:
    with pytest.raises(Refusal, match=word):
        open_gate(ids=ids)


def test_rows_need_one_row_for_each_record_and_a_sensitivity(open_gate) -> None:
    plans = [plan_for(releases=[PlannedRelease("penalty_rows", 10, 5, 1.0)])]
    gate = open_gate(plans)
    with pytest.raises(Refusal, match="one row for each of 200"):
        gate.admit(ask("penalty_rows", shape=(199, 1)))
    gate.admit(ask("penalty_rows", shape=(200, 1)))
    still = open_gate(
        plans, rules={**RULES, "penalty_rows": Rule(lambda groups: 0.0, row_per_record=True, binding=True)}
    )
    with pytest.raises(Refusal, match="leave the release out"):
        still.admit(ask("penalty_rows", shape=(200, 1)))


def test_a_grant_is_good_for_one_release_at_its_own_gate(open_gate) -> None:
    gate = open_gate([plan_for(epsilon=None)])
    grant = gate.admit(ask())
    gate.release(grant, value(4, 1))
    with pytest.raises(Refusal, match="was made already"):
        gate.release(grant, value(4, 1))
    other = open_gate([plan_for(epsilon=None)], run="other")
    with pytest.raises(Refusal, match="admitted by another gate"):
        other.release(gate.admit(ask()), value(4, 1))


def test_the_opened_shape_must_be_the_admitted_one(open_gate) -> None:
    gate = open_gate()
    grant = gate.admit(ask())
    with pytest.raises(ProtocolError, match="shape"):
        gate.release(grant, value(5, 1))


def test_the_same_question_is_not_answered_twice(open_gate) -> None:
    gate = open_gate([plan_for(evaluation_epsilon=8.0, reserve_releases=3)])
    gate.release(gate.admit(ask("evaluation_counts", query="a")), value(4, 1))
    with pytest.raises(Refusal, match="answered already"):
        gate.admit(ask("evaluation_counts", query="a"))
    gate.admit(ask("evaluation_counts", query="b"))
    again = open_gate([plan_for(evaluation_epsilon=8.0, reserve_releases=3)])
    with pytest.raises(Refusal, match="answered already"):
        again.admit(ask("evaluation_counts", query="a"))


@pytest.mark.parametrize("epsilon", [None, 1.0])
def test_a_near_repeat_of_an_evaluation_is_refused(open_gate, epsilon: float | None) -> None:
    """The second one, with one prediction changed, would tell that person's attribute."""
    gate = open_gate([plan_for(epsilon=epsilon)])
    gate.release(gate.admit(ask("evaluation_counts", query="a")), value(4, 1))
    with pytest.raises((Refusal, BudgetExceeded)):
        gate.admit(ask("evaluation_counts", query="b", records=TEST[1:]))


# -- budgets --


def test_the_plan_ends_and_its_epsilon_is_the_target(open_gate) -> None:
    gate = open_gate()
    for number in range(3):
        assert gate.admit(ask()).receipt.number == 2 * number + 1
        gate.release(gate.admit(ask()), value(4, 1))
    assert gate.summary()["gender"]["epsilon"] == pytest.approx(1.0, rel=1e-6)
    assert gate.summary()["gender"]["epsilon"] <= 1.0
    assert gate.summary()["gender"]["releases"] == 3
    with pytest.raises(BudgetExceeded, match=r"plan's budget"):
        gate.admit(ask())


def test_the_ledger_of_who_is_asked_beyond_the_budget_without_end_does_not_grow(open_gate) -> None:
    """The plan has three moments and an evaluation: whoever goes on without an answer is refused no more often, but for
    one that goes on asking."""
    gate = open_gate([plan_for()])
    for _ in range(3):
        gate.release(gate.admit(ask()), value(4, 1))
    for _ in range(9):
        with pytest.raises(BudgetExceeded):
            gate.admit(ask())
    assert sum(entry["kind"] == "refused" for entry in gate._ledger.entries()) == 4


def test_budgets_belong_to_records(open_gate) -> None:
    """Two halves in turn: each half has all of its releases, and the whole has none when one half is spent."""
    gate = open_gate()
    left, right = np.arange(100), np.arange(100, 200)
    for _ in range(3):
        gate.release(gate.admit(ask(records=left)), value(4, 1))
    with pytest.raises(BudgetExceeded):
        gate.admit(ask())
    for _ in range(3):
        gate.release(gate.admit(ask(records=right)), value(4, 1))
    with pytest.raises(BudgetExceeded):
        gate.admit(ask(records=right))


def test_two_grants_cannot_share_the_last_of_a_budget(open_gate) -> None:
    gate = open_gate()
    for _ in range(2):
        gate.release(gate.admit(ask()), value(4, 1))
    first, second = gate.admit(ask()), gate.admit(ask())
    gate.release(first, value(4, 1))
    with pytest.raises(BudgetExceeded):
        gate.release(second, value(4, 1))


def test_the_reserve_pays_for_one_release_more(open_gate) -> None:
    gate = open_gate([plan_for(reserve_releases=1)])
    for _ in range(4):
        gate.release(gate.admit(ask()), value(4, 1))
    with pytest.raises(BudgetExceeded):
        gate.admit(ask())
    assert gate.summary()["gender"]["epsilon"] <= 1.0


def test_evaluation_draws_on_its_own_pool(open_gate) -> None:
    gate = open_gate()
    for _ in range(3):
        gate.release(gate.admit(ask()), value(4, 1))
    gate.release(gate.admit(ask("evaluation_counts")), value(4, 1))
    with pytest.raises(BudgetExceeded):
        gate.admit(ask("evaluation_counts"))
    assert gate.summary()["gender"]["epsilon"] == pytest.approx(1.0, rel=1e-6)  # nobody paid for both


@pytest.mark.parametrize(
    ("operation", "records", "message"),
    [
        (
            "evaluation_counts",
            np.arange(160, 240),
            "record 160 is a training record, the release is of test records: ask for records 200 to 279",
        ),
        (
            "moment",
            np.arange(160, 240),
            "record 200 is a test record, the release is of training records: ask for records 0 to 199",
        ),
    ],
)
def test_training_and_evaluation_have_records_of_their_own(
    open_gate, operation: str, records: np.ndarray, message: str
) -> None:
    with pytest.raises(Refusal, match=f"{operation}: {message}"):
        open_gate().admit(ask(operation, records=records))
    with pytest.raises(Refusal, match="the table has none of them"):
        open_gate(run="other", training=len(TABLE)).admit(ask("evaluation_counts", records=np.arange(80)))


def test_without_the_split_one_record_pays_for_both(open_gate, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Admission, "_check_split", lambda *_: None)
    gate = open_gate()
    for _ in range(3):
        gate.release(gate.admit(ask()), value(4, 1))
    gate.release(gate.admit(ask("evaluation_counts", records=np.arange(80))), value(4, 1))
    both = accounting.gaussian_epsilon(math.sqrt(2) * accounting.gaussian_mu(1.0, 1e-5), 1e-5)
    assert gate.summary()["gender"]["epsilon"] == pytest.approx(both, rel=1e-6)


def test_a_resumed_run_keeps_to_its_training_records(open_gate) -> None:
    gate = open_gate()
    gate.release(gate.admit(ask("evaluation_counts")), value(4, 1))
    with pytest.raises(UsageError, match="begun with 200 training records, not 280"):
        open_gate(training=280)
    open_gate()
    with pytest.raises(UsageError, match="281 training records in a table of 280"):
        open_gate(run="other", training=281)


def test_a_persons_budget_outlives_the_run(open_gate) -> None:
    """Each run keeps its own plan, but the second one meets what the first has spent, under other positions too."""
    policy = Policy(epsilon=1.3)
    first = open_gate(policy=policy)
    for _ in range(3):
        first.release(first.admit(ask()), value(4, 1))
    second = open_gate(policy=policy, run="second", ids=[*IDS[::-1], *TESTED])
    second.release(second.admit(ask()), value(4, 1))
    with pytest.raises(BudgetExceeded, match=r"policy's epsilon = 1\.3"):
        second.admit(ask())
    mu2, _, _ = second._ledger.spending.of("gender", second.rows)
    assert accounting.gaussian_epsilon(math.sqrt(mu2.max()), 1e-5) <= 1.3


def test_strangers_to_the_first_run_have_their_whole_budget(open_gate) -> None:
    policy = Policy(epsilon=1.0)
    first = open_gate(policy=policy, ids=IDS[:100])
    for _ in range(3):
        first.release(first.admit(ask(records=np.arange(100))), value(4, 1))
    second = open_gate(policy=policy, run="second")
    with pytest.raises(BudgetExceeded):
        second.admit(ask())
    second.admit(ask(records=np.arange(100, 200)))


def test_attributes_of_a_person_add_up(open_gate) -> None:
    plans = [plan_for("gender"), plan_for("race")]
    gate = open_gate(plans, policy=Policy(epsilon=1.0, total_epsilon=1.2))
    for _ in range(3):
        gate.release(gate.admit(ask()), value(4, 1))
    gate.release(gate.admit(ask(attribute="race")), value(4, 1))
    with pytest.raises(BudgetExceeded, match="total_epsilon"):
        gate.admit(ask(attribute="race"))


def test_a_budget_forbids_exact_releases(open_gate) -> None:
    gate = open_gate([plan_for(epsilon=None)], policy=Policy(epsilon=100.0, allow_exact=True))
    with pytest.raises(BudgetExceeded, match="an exact release"):
        gate.admit(ask())


def test_who_was_released_exactly_has_no_budget_left(open_gate) -> None:
    gate = open_gate([plan_for(epsilon=None)])
    gate.release(gate.admit(ask()), value(4, 1))
    later = open_gate([plan_for()], run="later", policy=Policy(epsilon=100.0))
    with pytest.raises(BudgetExceeded):
        later.admit(ask())


def test_a_resumed_run_knows_what_it_spent(open_gate) -> None:
    gate = open_gate()
    for _ in range(2):
        gate.release(gate.admit(ask()), value(4, 1))
    resumed = open_gate()
    grant = resumed.admit(ask())
    assert grant.receipt.number == 3
    resumed.release(grant, value(4, 1))
    assert resumed.summary()["gender"]["releases"] == 3
    with pytest.raises(BudgetExceeded):
        resumed.admit(ask())


def test_a_resumed_run_must_keep_its_table(open_gate) -> None:
    gate = open_gate()
    gate.release(gate.admit(ask()), value(4, 1))
    with pytest.raises(UsageError, match="same one"):
        open_gate(ids=TABLE[::-1], training=len(IDS))


def test_plans_belong_to_their_attribute(open_gate) -> None:
    with pytest.raises(UsageError, match="race"):
        open_gate(plans={"gender": plan_for("race")})


# -- the auditor's own records --


def own_plan(epsilon: float | None = 1.0):
    return plan_for(epsilon=epsilon, releases=[PlannedRelease("orthogonality", 100, 100, 0.0)])


def account(gate: Gate, ids: list[str], **facts: Any) -> None:
    gate.account_training("gender", ids, operation="sensitive_training", **facts)


def orthogonal_ask():
    return ask("orthogonality", records=NO_RECORDS, shape=(16,))


def test_post_processing_needs_what_it_processes(open_gate) -> None:
    gate = open_gate([own_plan()], policy=Policy(epsilon=3.0))
    with pytest.raises(Refusal, match="sensitive_training"):
        gate.admit(orthogonal_ask())
    account(gate, ["own-1", "own-2"], epsilon=2.0, delta=1e-6)
    opening = value(16)
    assert torch.equal(gate.release(gate.admit(orthogonal_ask()), opening), opening.values.double())
    assert gate.records_summary()["gender"] == {
        "epsilon": 2.0,
        "exact": False,
        "delta": 1e-6,
        "adjacency": "adding or removing one record with all its attributes",
        "attributes": ["gender"],
    }
    assert gate.summary()["gender"]["epsilon"] == 0.0


def test_every_training_is_paid_for_in_every_run(open_gate) -> None:
    policy = Policy(epsilon=3.0)
    account(open_gate([own_plan()], policy=policy), ["own-1"], epsilon=2.0, delta=1e-6)
    for run in ("run", "other"):
        with pytest.raises(BudgetExceeded, match="policy's epsilon"):
            account(open_gate([own_plan()], policy=policy, run=run), ["own-1"], epsilon=2.0, delta=1e-6)


def test_two_trainings_add_up(open_gate) -> None:
    gate = open_gate([own_plan()])
    for _ in range(2):
        account(gate, ["own-1"], epsilon=2.0, delta=1e-6)
    assert gate.records_summary()["gender"]["epsilon"] == 4.0
    assert gate.records_summary()["gender"]["delta"] == 2e-6
    assert open_gate([own_plan()]).records_summary()["gender"]["epsilon"] == 4.0


def two_trainings(gate: Gate) -> None:
    """Two attributes' adapters from the same records, each at epsilon 1."""
    for attribute in ("gender", "race"):
        gate.account_training(attribute, ["own-1"], operation="sensitive_training", epsilon=1.0, delta=1e-6)


OF_BOTH = [plan_for(name, releases=[PlannedRelease("orthogonality", 100, 100, 0.0)]) for name in ("gender", "race")]


@pytest.mark.parametrize("limit", ["epsilon", "total_epsilon"])
def test_trainings_on_the_same_records_add_up_over_attributes(open_gate, limit: str) -> None:
    gate = open_gate(OF_BOTH, policy=Policy(**{limit: 1.5}))
    with pytest.raises(
        BudgetExceeded, match=rf"race: this release would take somebody beyond the policy's {limit} = 1\.5"
    ):
        two_trainings(gate)
    assert gate.records_summary()["gender"]["epsilon"] == 1.0
    gate = open_gate(OF_BOTH, run="other", policy=Policy(**{limit: 4.0}))  # with what the first run has spent
    two_trainings(gate)
    assert gate.records_summary() == {
        "gender, race": {
            "epsilon": 2.0,
            "exact": False,
            "delta": 2e-6,
            "adjacency": "adding or removing one record with all its attributes",
            "attributes": ["gender", "race"],
        }
    }
    assert open_gate(OF_BOTH, run="other").records_summary()["gender, race"]["epsilon"] == 2.0  # read back


def test_added_up_by_attribute_the_same_records_are_trained_on_twice(
    open_gate, monkeypatch: pytest.MonkeyPatch
) -> None:
    add = Spending.add

    def by_attribute(self: Spending, *what: Any, training: bool = False) -> None:
        add(self, *what)

    monkeypatch.setattr(Spending, "add", by_attribute)
    two_trainings(open_gate(OF_BOTH, policy=Policy(epsilon=1.0)))


def test_training_without_noise_is_exact(open_gate) -> None:
    gate = open_gate([own_plan(None)])
    account(gate, ["own-1"], epsilon=None, delta=1e-5)
    assert gate.records_summary()["gender"]["exact"]
    strict = open_gate([own_plan(None)], run="strict", policy=Policy(epsilon=50.0, allow_exact=True))
    with pytest.raises(BudgetExceeded):
        account(strict, ["own-2"], epsilon=None, delta=1e-5)


def test_post_processing_has_no_sensitivity(open_gate) -> None:
    """It gets no noise and costs nothing, however many groups the request names."""
    gate = open_gate([own_plan()])
    account(gate, ["own-1"], epsilon=2.0, delta=1e-6)
    for groups in (2, 7):
        grant = gate.admit(ask("orthogonality", records=NO_RECORDS, shape=(16,), groups=groups))
        assert grant.receipt.sigma == 0.0
        assert grant.charge == Charge()


# -- the ledger's side --


def test_the_entry_is_on_disk_before_the_value_is_opened(open_gate, tmp_path: Path) -> None:
    seen: list[str] = []

    class Witness:
        scale, shape = SCALE, (4, 1)

        def open_to(self, receiver: str, noise: torch.Tensor | None) -> None:
            assert receiver == "developer"
            assert noise is not None
            assert noise.dtype == torch.int64
            seen.extend(kinds(tmp_path))

    gate = open_gate()
    gate.release(gate.admit(ask()), Witness())
    assert seen[-1] == "planned"
    assert kinds(tmp_path)[-1] == "opened"


def test_an_opening_that_fails_is_spent(open_gate, tmp_path: Path) -> None:
    class Broken:
        scale, shape = SCALE, (4, 1)

        def open_to(self, receiver: str, noise: torch.Tensor | None) -> None:
            raise ConnectionError("the other side is gone")

    gate = open_gate()
    for _ in range(3):
        with pytest.raises(ConnectionError):
            gate.release(gate.admit(ask()), Broken())
    assert "opened" not in kinds(tmp_path)
    with pytest.raises(ConnectionError):
        gate.release(gate.admit(ask("evaluation_counts", query="a")), Broken())
    with pytest.raises(BudgetExceeded):  # the answer is lost, so the question may be asked again, and costs again
        gate.admit(ask("evaluation_counts", query="a"))
    with pytest.raises(BudgetExceeded):
        gate.admit(ask())
    with pytest.raises(BudgetExceeded):
        open_gate().admit(ask())


def test_the_receipt_names_the_records_as_the_receiver_would(open_gate) -> None:
    records = np.random.default_rng(0).permutation(200)[:64]
    receipt = open_gate().admit(ask(records=records)).receipt
    assert receipt.records == records_hash(table_hash(TABLE), np.sort(records))
    assert receipt.count == 64


def test_noise_is_not_in_the_ledger(open_gate, tmp_path: Path) -> None:
    """Whoever reads the auditor's disk later must not be able to take the noise off."""
    gate = open_gate()
    grant = gate.admit(ask())
    opening = value(4, 1)
    opened = gate.release(grant, opening)
    noise = ((opened - opening.values) * SCALE).round().to(torch.int64).flatten().tolist()
    text = (tmp_path / "state" / "ledger.jsonl").read_text()
    written = set(re.findall(r"(?<![0-9a-z])\d+(?![0-9a-z])", text))  # whole numbers: digests have all digits by chance
    assert not written & {str(abs(number)) for number in noise if abs(number) > 10_000}


def test_a_large_table_is_admitted_in_milliseconds(open_gate) -> None:
    """The budget of every record is checked for every release: it must not cost more than the release."""
    import time

    ids = [f"{number:032x}" for number in range(50_000)]
    gate = open_gate([plan_for(releases=[PlannedRelease("moment", 100, 100, 1.0)])], ids=ids, known=set(ids))
    request = ask(records=np.arange(len(ids)))
    taken = []
    for _ in range(5):
        start = time.process_time()  # of this process alone: others may keep the machine busy
        gate.release(gate.admit(request), value(4, 1))
        taken.append(time.process_time() - start)
    assert min(taken) < 0.25


def test_the_ledger_of_another_owner_is_not_touched(tmp_path: Path) -> None:
    Ledger(tmp_path, "auditor").close()
    with pytest.raises(UsageError, match="owner"):
        Ledger(tmp_path, "developer")


STEPS = PlannedRelease("adversary_step", 10, 5, 1.0)


TRUSTS = {"developer": "follows the protocol", "auditors": "follow the protocol"}


@pytest.mark.parametrize(
    ("trusted", "alone", "whom"),
    [
        ((), True, "a developer that follows the protocol, and"),
        ((), False, "a developer that follows the protocol and other auditors that follow the protocol, and"),
        (("developer",), False, "other auditors that follow the protocol, and"),
        (("auditors",), False, "a developer that follows the protocol, and"),
        (("developer",), True, ""),
        (("developer", "auditors"), False, ""),
    ],
)
def test_what_lying_parties_could_pervert_needs_the_policys_word(
    open_gate, trusted: tuple[str, ...], alone: bool, whom: str
) -> None:
    policy = Policy(**{party: TRUSTS[party] for party in trusted})
    gate = open_gate([plan_for(releases=[MOMENTS, STEPS])], policy=policy, alone=alone)
    gate.admit(ask())
    for request in (ask("adversary_step"), ask(of="gender x race")):
        if whom:
            with pytest.raises(Refusal, match=f"protects attributes only from {whom}"):
                gate.admit(request)
        else:
            gate.admit(request)


def test_post_processing_of_exact_releases_has_no_noise_that_a_liar_could_pervert(open_gate) -> None:
    """Exact releases of an intersection are let out where the policy allows them, and so is what is made from them."""
    free = PlannedRelease("entropy_rows", 10, 5, 0.0)
    for epsilon in (None, 1.0):
        gate = open_gate([plan_for(releases=[STEPS, free], epsilon=epsilon)], policy=Policy(allow_exact=True))
        requests = (ask("adversary_step", of="gender x race"), ask("entropy_rows", of="gender x race", shape=(200, 1)))
        if epsilon is None:
            for request in requests:
                gate.admit(request)
        else:
            for request in requests:
                with pytest.raises(Refusal, match="protects attributes only from a developer that follows"):
                    gate.admit(request)


def test_an_operation_binds_the_developer_only_where_its_rule_says_so(open_gate) -> None:
    """An operation that is added without a word about it is refused, as is one without a rule."""
    rules = {**RULES, "moment": Rule(lambda groups: 1.0)}
    with pytest.raises(Refusal, match="may deviate"):
        open_gate(rules=rules, policy=Policy()).admit(ask())
