"""The standing of a ledger comes to what its gate says, at either side, and tells exact releases from noised ones."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import fields
from pathlib import Path

import numpy as np
import pytest
from people import IDS, TABLE, ask, plan_for, value
from rules import RULES

from secure_fair.privacy.accounting import gaussian_epsilon, gaussian_mu
from secure_fair.privacy.entries import Receipt
from secure_fair.privacy.gate import Gate
from secure_fair.privacy.ledger import Ledger
from secure_fair.privacy.plan import PlannedRelease
from secure_fair.privacy.policy import Policy
from secure_fair.privacy.standing import Level, Missed, standing
from secure_fair.report.standing import standing_text

PLAN = plan_for(releases=[PlannedRelease("moment", 4, 4, 1.0)])
ALL = np.arange(len(IDS))


@pytest.fixture
def gate(open_gate: Callable[..., Gate]) -> Gate:
    """One that has released two moments of everybody, and a third of the first forty."""
    made = open_gate([PLAN])
    for records in (ALL, ALL, ALL[:40]):
        made.release(made.admit(ask(records=records)), value(4, 1))
    return made


def test_an_auditors_is_what_its_gate_says(gate: Gate, tmp_path: Path) -> None:
    found = standing(tmp_path / "state", RULES, Policy(epsilon=1.2))
    (spent,) = found.spent
    assert spent.most == pytest.approx(gate.summary()["gender"]["epsilon"], rel=1e-9)
    assert [level.people for level in spent.levels] == [40, len(IDS) - 40]
    assert spent.levels[1].epsilon == spent.median
    assert spent.people == len(IDS)
    assert (found.unit, found.enrolled) == ("record", len(TABLE))
    assert spent.limit == 1.2
    (run,) = found.runs
    assert (run.run, run.starts, run.releases, run.opened, run.refused) == ("run", 1, 3, 3, 0)
    (opening,) = found.openings
    assert (opening.operation, opening.releases, opening.numbers, opening.exact) == ("moment", 3, 12, 0)
    text = standing_text(found)
    assert "40 at" in text
    assert "160 at" in text


def test_what_is_left_still_fits_and_not_more(gate: Gate, tmp_path: Path) -> None:
    spent = standing(tmp_path / "state", RULES, Policy(epsilon=1.2)).spent[0]
    assert spent.most is not None
    assert spent.left is not None
    both = (gaussian_mu(spent.most, 1e-5) ** 2 + gaussian_mu(spent.left, 1e-5) ** 2) ** 0.5
    assert gaussian_epsilon(both, 1e-5) == pytest.approx(1.2, rel=1e-6)


def test_exact_releases_are_called_so(open_gate: Callable[..., Gate], tmp_path: Path) -> None:
    made = open_gate([plan_for(epsilon=None)])
    made.release(made.admit(ask(records=ALL[:50])), value(4, 1))
    spent = standing(tmp_path / "state", RULES).spent[0]
    assert spent.levels == (Level(None, 50),)
    assert (spent.most, spent.median, spent.limit, spent.left) == (None, None, None, None)
    assert "EXACT" in standing_text(standing(tmp_path / "state", RULES))


def test_a_developers_has_the_most_that_its_receipts_allow(gate: Gate, tmp_path: Path) -> None:
    """Somebody was in all three here, so that it is what the auditor says of that person."""
    developer = Ledger(tmp_path / "developer", "developer")
    for entry in gate._ledger.entries("run"):
        if entry["kind"] == "planned":
            developer.received(Receipt(**{item.name: entry[item.name] for item in fields(Receipt)}))
    developer.close()
    (told,) = standing(tmp_path / "developer", RULES).received
    assert (told.auditor, told.attribute, told.releases, told.beyond) == ("auditor", "gender", 3, ())
    assert told.most == pytest.approx(gate.summary()["gender"]["epsilon"], rel=1e-9)


def test_what_a_developer_says_it_missed_counts_as_told(tmp_path: Path) -> None:
    developer = Ledger(tmp_path / "developer", "developer")
    developer.start("run")
    developer.missed("run", "auditor", [1, 2, 3])
    developer.close()
    found = standing(tmp_path / "developer", RULES)
    assert found.missed == (Missed("auditor", "run", 3),)
    assert (found.runs[0].releases, found.runs[0].opened) == (3, 3)
    assert "releases said to have been missed: count them as told" in standing_text(found)


def test_it_is_read_while_the_party_runs_and_in_the_middle_of_a_line(gate: Gate, tmp_path: Path) -> None:
    path = tmp_path / "state" / "ledger.jsonl"
    whole = path.read_bytes()
    with path.open("ab") as file:
        file.write(b'{"kind": "pla')
    found = standing(tmp_path / "state", RULES)
    assert found.torn == 13
    assert found.runs[0].releases == 3
    assert "torn line of 13 bytes" in standing_text(found)
    assert path.read_bytes() == whole + b'{"kind": "pla'
