"""What a run has spent, counted again from the noise of its releases: equal to the gate's account, and not fooled."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from people import ask, plan_for, value
from rules import RULES

from secure_fair.defaults import DELTA
from secure_fair.privacy.gate import Gate
from secure_fair.privacy.plan import PlannedRelease
from secure_fair.privacy.recount import recounts


def entries_of(gate: Gate) -> list[dict[str, Any]]:
    return list(gate._ledger.entries("run"))


@pytest.fixture
def gate(open_gate: Callable[..., Gate]) -> Gate:
    """One that has made two releases of forty records, and one of the first of them."""
    made = open_gate([plan_for(releases=[PlannedRelease("moment", 4, 4, 1.0)])])
    for records in (np.arange(40), np.arange(40), np.arange(32)):
        made.release(made.admit(ask(records=records)), value(4, 1))
    return made


def test_it_comes_to_what_the_gate_says(gate: Gate) -> None:
    account = recounts(entries_of(gate), RULES, DELTA)["gender"]
    assert account.epsilon == pytest.approx(gate.summary()["gender"]["epsilon"], rel=1e-9)
    assert account.releases == 3
    assert account.wrong == ()


def test_charges_are_not_believed(gate: Gate) -> None:
    """A ledger that charges a hundredth of what its noise costs."""
    entries = entries_of(gate)
    honest = recounts(entries, RULES, DELTA)["gender"]
    for entry in entries:
        if entry["kind"] == "planned":
            entry["charge"]["mu2"] /= 100
    account = recounts(entries, RULES, DELTA)["gender"]
    assert account.epsilon == honest.epsilon
    assert account.wrong == (1, 2, 3)


def test_an_exact_release_has_no_epsilon(open_gate: Callable[..., Gate]) -> None:
    gate = open_gate([plan_for(epsilon=None, evaluation_epsilon=None)])
    gate.release(gate.admit(ask()), value(4, 1))
    account = recounts(entries_of(gate), RULES, DELTA)["gender"]
    assert math.isinf(account.epsilon)
    assert account.advantage == 1.0
    assert account.wrong == ()
