"""Budgets are persons' where it is told whose each record is: several records of one count as often as they are in."""

from __future__ import annotations

import json
import math
from pathlib import Path

import numpy as np
import pytest
import torch
from people import IDS, MOMENTS, SCALE, TABLE, TESTED, ask, plan_for, value
from rules import RULES

from secure_fair.errors import BudgetExceeded, ProtocolError, Refusal, UsageError
from secure_fair.privacy.accounting import attack_auc_ceiling, gaussian_epsilon, gaussian_mu
from secure_fair.privacy.chain import verify
from secure_fair.privacy.gate import Gate
from secure_fair.privacy.ledger import Ledger
from secure_fair.privacy.openings import PlainOpening
from secure_fair.privacy.outlook import Outlook, SpendingRows
from secure_fair.privacy.plan import Plan, PlannedRelease, make_plan
from secure_fair.privacy.policy import Policy

CROWD = [f"owner {number // 20}" for number in range(len(IDS))]  # ten persons of twenty records each
WHOSE = [*CROWD, *(f"tested {number}" for number in range(len(TESTED)))]
FEW = Policy(allow_exact=True, minimum_batch=10)
ONE = PlannedRelease("moment", count=1, participations=1, sensitivity=1.0)


def plan_of(records_per_person: int | None) -> Plan:
    return plan_for(releases=[ONE], evaluation=(), evaluation_epsilon=None, records_per_person=records_per_person)


def scores(gate: Gate, member: float, draws: int) -> np.ndarray:
    """What a moment tells of the first person: the developer's rows are 1 for its records, and 0 for others'."""
    grant = gate.admit(ask(shape=(draws, 1)))
    opened = gate.release(grant, PlainOpening(torch.full((draws, 1), 20.0 * member), SCALE))
    assert opened is not None
    return opened.flatten().numpy()


@pytest.mark.parametrize("records_per_person", [None, 20])
def test_twenty_pictures_of_one_person(open_gate, records_per_person: int | None) -> None:
    """Noise that is made for one record gives a person of twenty away; noise that is made for twenty does not."""
    without, with_it = (
        scores(open_gate([plan_of(records_per_person)], run=run, policy=FEW), member, 4000)
        for run, member in (("a", 0.0), ("b", 1.0))
    )
    auc = float(np.mean(without[:, None] < with_it[None, :]))
    ceiling = attack_auc_ceiling(gaussian_mu(1.0, 1e-5))
    assert auc > 0.99 if records_per_person is None else auc < ceiling + 0.03
    twenty = gaussian_epsilon(20 * gaussian_mu(1.0, 1e-5), 1e-5)
    assert twenty == pytest.approx(36, abs=1)


def test_a_person_pays_for_each_record(open_gate, tmp_path: Path) -> None:
    gate = open_gate([plan_of(20)], policy=FEW, persons=WHOSE)
    records = np.array([0, 1, 2, *range(20, 200, 20)])  # three of the first, one of each other
    grant = gate.admit(ask(records=records))
    assert grant.payers.places.tolist() == list(range(0, 200, 20))
    assert grant.payers.times.tolist() == [3] + [1] * 9
    gate.release(grant, value(4, 1))
    spending = gate._ledger.spending
    mu2 = spending.of("gender", spending.rows([IDS[0], IDS[19], IDS[20]]))[0]
    assert mu2 == pytest.approx(grant.charge.mu2 * np.array([9, 9, 1]))  # the person's, whichever record is named
    assert gate.summary()["gender"]["epsilon"] == pytest.approx(
        gaussian_epsilon(3 * math.sqrt(grant.charge.mu2), 1e-5), rel=1e-6
    )
    again = open_gate([plan_of(20)], policy=FEW, persons=WHOSE)  # the same run, resumed from the ledger
    assert again.summary() == gate.summary()
    assert again._ledger.spending.of("gender", again._ledger.spending.rows([IDS[7]]))[0] == pytest.approx(mu2[0])
    assert verify(tmp_path / "state").entries > 0


def test_the_pool_of_a_person_ends_with_its_records(open_gate) -> None:
    """A plan for one record lets no two of a person's in; one for twenty lets all of them in once."""
    with pytest.raises(BudgetExceeded, match="plan's budget"):
        open_gate([plan_of(1)], policy=FEW, persons=WHOSE).admit(ask())
    gate = open_gate([plan_of(20)], run="second", policy=FEW, persons=WHOSE)
    gate.release(gate.admit(ask()), value(4, 1))
    assert gate.summary()["gender"]["epsilon"] == pytest.approx(1.0, rel=1e-6)
    assert "person" in gate.summary()["gender"]["adjacency"]
    with pytest.raises(BudgetExceeded, match="plan's budget"):
        gate.admit(ask())


@pytest.mark.parametrize("told", [True, False])
def test_new_pictures_of_the_same_persons_share_their_budget(open_gate, told: bool) -> None:
    """Other pictures have other ids. Where persons are told they meet what was spent; without, they begin at zero."""
    policy, plan = Policy(epsilon=1.2, minimum_batch=10), plan_of(20 if told else None)
    first = open_gate([plan], policy=policy, persons=WHOSE if told else None)
    first.release(first.admit(ask()), value(4, 1))
    others = [f"other {number:026x}" for number in range(len(IDS))]
    changes = {"ids": [*others, *TESTED], "known": [*others, *TESTED], "persons": WHOSE if told else None}
    second = open_gate([plan], run="second", policy=policy, **changes)
    if told:
        with pytest.raises(BudgetExceeded, match=r"policy's epsilon = 1\.2"):
            second.admit(ask())
    else:
        second.release(second.admit(ask()), value(4, 1))


@pytest.mark.parametrize("later", [None, [*CROWD[1:], "somebody else", *WHOSE[200:]]], ids=["unnamed", "moved"])
def test_a_record_stays_its_persons(open_gate, later: list[str] | None) -> None:
    open_gate([plan_of(20)], policy=FEW, persons=WHOSE)
    with pytest.raises(UsageError, match="as another person's in an earlier run of this state: its budget would begin"):
        open_gate([plan_of(20)], run="second", policy=FEW, persons=later)


def test_a_record_that_was_counted_by_itself_gets_no_person(open_gate) -> None:
    open_gate([plan_of(None)], policy=FEW)
    with pytest.raises(UsageError, match="was enrolled by itself in an earlier run"):
        open_gate([plan_of(20)], run="second", policy=FEW, persons=WHOSE)


def test_policies_count_persons(open_gate) -> None:
    gate = open_gate([plan_of(20)], policy=Policy(allow_exact=True, minimum_batch=11), persons=WHOSE)
    with pytest.raises(Refusal, match="200 records of 10 persons: the policy's minimum_batch is 11"):
        gate.admit(ask())
    few = Policy(allow_exact=True, minimum_batch=10, max_records_per_person=2)
    gate = open_gate([plan_of(20)], run="second", policy=few, persons=WHOSE)
    with pytest.raises(Refusal, match="20 records of one person: the policy's max_records_per_person is 2"):
        gate.admit(ask())
    two = np.sort(np.concatenate([np.arange(0, 200, 20), np.arange(1, 200, 20)]))
    assert gate.admit(ask(records=two)).payers.times.tolist() == [2] * 10


def test_trainings_are_of_one_record_a_person(open_gate) -> None:
    plan = make_plan("gender", [PlannedRelease("sensitive_adapter", 1, 1, 0.0)], rules=RULES, epsilon=1.0, delta=1e-5)
    gate = open_gate([plan], policy=Policy(epsilon=2.0))
    terms = {"operation": "sensitive_training", "epsilon": 1.0, "delta": 1e-6}
    with pytest.raises(Refusal, match="3 own records are of 2 persons"):
        gate.account_training("gender", ["a", "b", "c"], persons=["x", "x", "y"], **terms)
    gate.account_training("gender", ["a", "c"], persons=["x", "y"], **terms)
    with pytest.raises(BudgetExceeded, match="policy's epsilon = 2"):  # other pictures of the same two, 1 + 1 + delta
        gate.account_training("gender", ["d", "e"], persons=["y", "x"], **{**terms, "epsilon": 1.1})


def test_the_outlook_counts_a_persons_records(open_gate) -> None:
    gate = open_gate([plan_of(20)], policy=Policy(epsilon=1.0), persons=WHOSE)
    spending = gate._ledger.spending
    rows = spending.rows(TABLE)
    nobody = np.array([], dtype=np.int64)

    def outlook(records_per_person: int, limit: float) -> Outlook:
        people = SpendingRows(rows[:200], rows[200:], nobody)
        plans = {"gender": plan_of(records_per_person)}
        policy = Policy(epsilon=limit)
        return Outlook(policy=policy, plans=plans, rules=RULES, trainings=0, spending=spending, people=people)

    outlook(20, 1.0).check()
    with pytest.raises(BudgetExceeded, match="from epsilon 0 to 36"):
        outlook(1, 1.0).check()


def test_a_changed_list_of_persons_is_noticed(tmp_path: Path) -> None:
    ledger = Ledger(tmp_path, "auditor")
    ledger.enrol(IDS, CROWD)
    ledger.close()
    (entry,) = (json.loads(line) for line in (tmp_path / "ledger.jsonl").read_text().splitlines()[1:])
    kept = tmp_path / "tables" / f"{entry['persons']}.persons"
    kept.write_text(kept.read_text().replace("owner 3", "owner 4"))
    with pytest.raises(ProtocolError, match="record ids is changed"):
        verify(tmp_path)
    with pytest.raises(ProtocolError, match="is changed"):
        Ledger(tmp_path, "auditor")


@pytest.mark.parametrize("records", [1, 3])
def test_records_of_nobody_that_is_known_leave_a_ledger_that_opens(tmp_path: Path, records: int) -> None:
    """A developer may enrol people of whom this auditor, which holds a part, has none."""
    ledger = Ledger(tmp_path, "auditor")
    table = ledger.enrol(IDS[:records], [""] * records)
    ledger.close()
    again = Ledger(tmp_path, "auditor")
    assert again.enrol(IDS[:records], [""] * records) == table
    again.close()


def test_the_noise_grows_with_the_records(open_gate) -> None:
    one, twenty = plan_for(releases=[MOMENTS]), plan_for(releases=[MOMENTS], records_per_person=20)
    for operation in ("moment", "evaluation_counts"):
        assert twenty.multipliers[operation] == pytest.approx(20 * one.multipliers[operation])
    assert twenty.planned_epsilon() == pytest.approx(1.0, rel=1e-6)
    assert "substitution of one person's gender, of up to 20 records each" in twenty.table()
