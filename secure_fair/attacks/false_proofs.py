"""Proofs of what is not so: rows a little too long, of wrapping entries, with slacks that fit modulo p, and bare lies.

Each of the developer's own checks is switched off; what it commits to and answers is the best that a liar has. Numbers
out of a commitment's range, which are refused at sight, are among the random deviations of a test of the parties.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import torch
from torch import Tensor

from secure_fair.attacks.common import lies
from secure_fair.attacks.common.attack import AUDITOR, DEVELOPER, Attack, AttackTerms, Context, Outcome
from secure_fair.attacks.common.auditor import training_plan
from secure_fair.attacks.common.exchange import Exchange
from secure_fair.mpc import bounds
from secure_fair.mpc.authenticated import OwnersCheck, VerifiersCheck
from secure_fair.mpc.session import Session
from secure_fair.privacy.policy import Policy

NAME = "moment"
RECORDS, WIDTH = 64, 4


def _one_unit_too_long(query: Tensor) -> None:
    query[0, :2] = torch.tensor([1.0, 1 / bounds.SCALE])


def _wrapping(query: Tensor) -> None:
    """An entry whose square is nothing modulo 2^64."""
    query[0, 0] = 2.0**24


def _large(query: Tensor) -> None:
    query[0] = torch.tensor([2.0**28, -(2.0**30), 2.0**20, 1.0])


def _powers(query: Tensor) -> None:
    query[:, 0] = 2.0 ** (torch.arange(RECORDS) % 30)


ROWS: tuple[Callable[[Tensor], None], ...] = (_one_unit_too_long, _wrapping, _large, _powers)
WAYS = ("nearest slacks", "slacks modulo p", "another answer", "another digit")


class FalseProofs(Attack):
    """A lie is won where the auditor goes on and opens; each is tried with each way of proving it."""

    claim = "no false statement about rows is accepted, whatever the proof is made of"
    view = "developer"
    needs = "a program of its own that commits to any numbers and answers as it likes"
    twin = "an auditor that takes every proof for good"

    def run(self, context: Context) -> Outcome:
        """Every lie in every way, in one session."""
        attributes = context.generator("false_proofs").integers(0, 2, RECORDS)
        ours, twin = (context.parties(play, context.terms, attributes, heeded)[0] for heeded in (True, False))
        return Outcome.counted(sum(ours), sum(twin), len(ROWS) * len(WAYS), most=0.0)


def play(session: Session, terms: AttackTerms, attributes: np.ndarray, heeded: bool) -> list[bool]:
    """One party's part; at the developer which lies were answered."""
    if session.name == AUDITOR and not heeded:
        VerifiersCheck.holds = lambda *_: True  # type: ignore[method-assign]
    exchange = Exchange(NAME, training_plan(NAME, terms, exact=False), Policy(), WIDTH)
    answered = []
    for way in WAYS:
        if session.name == DEVELOPER:
            _lie(way)
        for change in ROWS:
            query = torch.zeros(RECORDS, WIDTH, dtype=torch.float64)
            change(query)
            answered.append(exchange.run(session, attributes, query) is not None)
    return answered


def _lie(way: str) -> None:
    lies.lie_about_rows()
    np.seterr(invalid="ignore")  # of sums that no honest party has
    if way != WAYS[0]:
        bounds.find_slacks = lies.slacks_modulo_p
    if way == "another answer":
        honest = OwnersCheck.answer
        OwnersCheck.answer = lambda self, blind: honest(self, blind)[::-1].copy()  # type: ignore[method-assign]
    if way == "another digit":
        digits_of = bounds.digits_of
        bounds.digits_of = lambda sums, digits: np.asarray(digits_of(sums, digits) ^ 1, dtype=np.int64)


ATTACK = FalseProofs()
