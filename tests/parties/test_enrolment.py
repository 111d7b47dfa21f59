"""Enrolment between several auditors: all of them hear of the same people, or none goes on."""

from __future__ import annotations

import pytest

from secure_fair.ids import as_ids
from secure_fair.mpc.menu import Square
from secure_fair.mpc.session import Session
from secure_fair.parties.checkpoints import BEGINNING
from secure_fair.parties.enrolment import Enrolment, note_public
from tests.mpc.harness import Settings, run, run_fresh

TABLE, SEX = ("a", "b", "c"), ("female", "male")
TOLD = {
    "the same": (TABLE, SEX),
    "other people": (("a", "b", "d"), SEX),
    "other groups": (TABLE, ("male", "female")),
}


def enrolled(session: Session, told: str, noted: bool) -> None:
    """What the second auditor is told is another thing than the first is; as many people, in as many groups."""
    ids, names = TOLD[told] if session.name == "second" else (TABLE, SEX)
    enrolment = Enrolment(as_ids(ids), {"sex": names}, {}, {})
    if noted:
        note_public(session, enrolment, "run", BEGINNING)
    session.provider.take(Square((len(ids),)))


@pytest.mark.parametrize("told", ["other people", "other groups"])
def test_auditors_that_are_told_of_different_people_are_out_of_step(told: str) -> None:
    """A developer that has sex counted of some people and race of others, and says that they are the same. The dealer
    hears every auditor's steps; the twin, that does not note who is enrolled, goes on."""
    run(enrolled, told, False, parties=3)
    dealer = run_fresh(enrolled, told, True, settings=Settings(parties=3))[-1]
    assert dealer.kind == "ProtocolError"
    assert "have shared or masked different things before" in str(dealer)


def test_auditors_that_are_told_of_the_same_people_go_on() -> None:
    run(enrolled, "the same", True, parties=3)
