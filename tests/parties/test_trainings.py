"""Trainings on an auditor's own records: none is given that was not paid for, whatever order they are asked for in."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from secure_fair.errors import BudgetExceeded, DamagedFile, Refusal
from secure_fair.operations import RULES
from secure_fair.parties.checkpoints import Checkpoints
from secure_fair.parties.trainings import Trainings
from secure_fair.privacy.entries import is_training
from secure_fair.privacy.gate import Gate
from secure_fair.privacy.ledger import Ledger
from secure_fair.privacy.noise import SystemNoise
from secure_fair.privacy.plan import PlannedRelease, make_plan
from secure_fair.privacy.policy import Policy

OWN = [f"own {number}" for number in range(20)]
MOST = 3
EPSILON = 0.5


class Auditor:
    """One process of an auditor's after the other, with a gate and what it keeps of the run; the policy's epsilon may
    change between them."""

    def __init__(self, state: Path) -> None:
        self.state = state
        self.ledger = Ledger(state / "ledger", "auditor")
        self.kept = Checkpoints.begin(state, "run", {}, self.ledger)
        self.trained: list[str] = []
        self.crashes = False  # before a payment
        self.start()

    def start(self, epsilon: float = 10.0) -> None:
        self.ledger.close()
        self.ledger = Ledger(self.state / "ledger", "auditor")
        kind = PlannedRelease("entropy_rows", 4, 1, 0.0)
        plan = make_plan("male", [kind], rules=RULES, epsilon=EPSILON * MOST, delta=1e-5, reserve_releases=0)
        self.gate = Gate(
            auditor="auditor",
            run="run",
            ids=[],
            training=0,
            known=[],
            plans={"male": plan},
            policy=Policy(epsilon=epsilon),
            rules=RULES,
            ledger=self.ledger,
            noise=SystemNoise(),
        )
        self.made = Trainings.of(self.kept, self.ledger, "run")

    def train(self, name: str) -> dict[str, Any]:
        self.trained.append(name)
        return {"weights": name, "epsilon": EPSILON, "delta": 1e-7}

    def pay(self, made: Any, name: str) -> None:
        terms = {"epsilon": made["epsilon"], "delta": made["delta"], "name": name}
        self.gate.account_training("male", OWN, operation="sensitive_training", **terms)

    def ask_by_number(self, name: str) -> str:
        """The twin that counts: it gives what has the number of a payment, whichever training that was for."""
        key = f"{name:0>64}"
        made = self.kept.value("male", key)
        if made is None:
            made = {**self.train(name), "number": self.paid + 1}
            self.kept.keep_value("male", key, made)
        if self.paid < made["number"]:
            if self.crashes:
                raise Crash
            self.pay(made, "")
        return str(made["weights"])

    def ask(self, name: str, pay: Any = None) -> str:
        return str(self.made.once("male", name, MOST, lambda: self.train(name), pay or self.pay)["weights"])

    @property
    def paid(self) -> int:
        return sum(map(is_training, self.ledger.entries("run")))


@pytest.fixture
def auditor(tmp_path: Path) -> Iterator[Auditor]:
    made = Auditor(tmp_path)
    yield made
    made.ledger.close()


class Crash(Exception):
    pass


def crash(*_: Any) -> None:
    raise Crash


@pytest.mark.parametrize("how", ["crash", "policy"])
def test_a_training_that_was_kept_and_not_paid_is_paid_when_it_is_asked_for(auditor: Auditor, how: str) -> None:
    """Another is asked for first, so that there are as many payments as it would have been the number of."""
    if how == "crash":
        with pytest.raises(Crash):
            auditor.ask("A", pay=crash)
    else:
        auditor.start(epsilon=0.1)
        with pytest.raises(BudgetExceeded):
            auditor.ask("A")
    assert auditor.paid == 0
    auditor.start()
    given = {auditor.ask(name) for name in "BA"}
    assert (given, auditor.paid, auditor.trained) == ({"A", "B"}, 2, ["A", "B"])
    spent = auditor.ledger.spending.of("male", auditor.ledger.spending.rows(OWN))[1]
    assert np.allclose(spent, 2 * EPSILON)


def test_by_the_number_of_payments_one_is_given_for_nothing(auditor: Auditor) -> None:
    auditor.crashes = True
    with pytest.raises(Crash):
        auditor.ask_by_number("A")
    auditor.crashes = False
    assert {auditor.ask_by_number(name) for name in "BA"} == {"A", "B"}
    assert auditor.paid == 1


def test_no_more_are_made_than_planned_whether_or_not_they_were_paid(auditor: Auditor) -> None:
    for name in "ABC":
        with pytest.raises(Crash):
            auditor.ask(name, pay=crash)
    assert auditor.paid == 0
    auditor.start()
    with pytest.raises(Refusal, match="3 trainings on own records were made, as planned"):
        auditor.ask("D")
    assert [auditor.ask(name) for name in "CAB"] == ["C", "A", "B"]
    with pytest.raises(Refusal):
        auditor.ask("D")
    assert (auditor.trained, auditor.paid) == (["A", "B", "C"], 3)


def test_what_was_made_and_paid_is_given_again_for_nothing(auditor: Auditor) -> None:
    assert [auditor.ask("A") for _ in range(3)] == ["A"] * 3
    auditor.start()
    assert auditor.ask("A") == "A"
    assert (auditor.trained, auditor.paid) == (["A"], 1)


def test_one_that_was_paid_and_lost_is_not_made_anew_under_the_same_payment(auditor: Auditor) -> None:
    auditor.ask("A")
    for file in auditor.kept.folder.glob("value-*"):
        file.unlink()
    with pytest.raises(DamagedFile, match="paid for is kept no more"):
        auditor.ask("A")


def test_without_a_folder_the_same_holds_in_one_process(auditor: Auditor) -> None:
    auditor.made = Trainings()
    assert [auditor.ask(name) for name in "AABC"] == ["A", "A", "B", "C"]
    with pytest.raises(Refusal):
        auditor.ask("D")
    assert (auditor.trained, auditor.paid) == (["A", "B", "C"], 3)
