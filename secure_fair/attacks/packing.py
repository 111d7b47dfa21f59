"""Many people packed into one number by a developer that lies about its rows, between parties over TLS.

Rows as long as 2^i times the noise put one person's attribute into each binary digit of a single answer.
"""

from __future__ import annotations

import numpy as np
import torch

from secure_fair.attacks.common import lies
from secure_fair.attacks.common.attack import AUDITOR, DEVELOPER, Attack, Context, Outcome, Terms
from secure_fair.attacks.common.auditor import ATTRIBUTE, auditor, deviation, training_plan
from secure_fair.errors import NotProved
from secure_fair.mpc.opening import SharedOpening
from secure_fair.mpc.session import Session
from secure_fair.operations import OPERATIONS
from secure_fair.operations.common.operation import Update
from secure_fair.operations.common.state import SharedState
from secure_fair.privacy.policy import Policy

NAME = "moment"
RECORDS = 64
PACKED = 12  # people in one number
TRIES = 8
STEP = 16.0  # standard deviations of the noise between two digits


TRUSTING = Policy(developer="follows the protocol", row_bounds="trust")


class Packing(Attack):
    """The proof that every row has norm 1 at most is refused by the auditor, and nothing is opened or spent."""

    claim = "rows longer than the noise is made for are refused before anything is opened"
    view = "developer"
    needs = "a program of its own that lies about its rows"
    twin = "an auditor whose policy trusts the developer's rows"

    def run(self, context: Context) -> Outcome:
        """So many lies to an auditor that checks, then to one that does not."""
        codes = context.generator("packing").integers(0, 2, (TRIES, RECORDS))
        ours, twin = (context.parties(play, context.terms, codes, policy)[0] for policy in (Policy(), TRUSTING))
        return Outcome.counted(_read(ours, codes), _read(twin, codes), TRIES * PACKED, most=0.0)


def play(session: Session, terms: Terms, codes: np.ndarray, policy: Policy) -> list[int | None]:
    """One party's part in all tries; at the developer the attributes that it reads, as one number each.

    ``codes``: int64 (tries, records), used by the auditor alone, as is its ``policy``.
    """
    if session.name == DEVELOPER:
        lies.lie_about_rows()
    unit = STEP * deviation(training_plan(NAME, terms, exact=False), NAME)
    query = torch.zeros(RECORDS, 1, dtype=torch.float64)
    query[:PACKED, 0] = unit * 2.0 ** torch.arange(PACKED, dtype=torch.float64)
    answers = [_try(session, terms, attributes, policy, query) for attributes in codes]
    return [None if answer is None else round(answer / unit) for answer in answers]


def _try(session: Session, terms: Terms, attributes: np.ndarray, policy: Policy, query: torch.Tensor) -> float | None:
    """The answer at the developer; None at the auditor, and where nothing is opened."""
    plan, records = training_plan(NAME, terms, exact=False), np.arange(RECORDS, dtype=np.int64)
    lying, operation = session.name == DEVELOPER, OPERATIONS[NAME]
    with auditor(attributes, plan, policy) as asked:
        state = SharedState(session, asked.facts)
        state.share_memberships(ATTRIBUTE, [AUDITOR], None if lying else attributes, {})
        ask, (grant,) = asked.admit(NAME, records, 1)
        checks = _told(session, asked.gate.checks_rows([grant]))
        refused = False
        try:
            inputs = operation.share(state, ask, records, [query] if lying else (), [AUDITOR] if checks else ())
        except NotProved:
            refused = True
        if _told(session, refused):
            return None
        value = operation.compute(state, ask, records, inputs, Update())
        if not lying:
            asked.gate.release(grant, SharedOpening(session, value))
            return None
    return float(session.receive_opening(value, bound=2.0**40)[0, 0])


def _told(session: Session, said: bool) -> bool:
    """The auditor's word, at both; the developer, who has no say in it, is not listened to."""
    word = torch.tensor([int(said and session.name == AUDITOR)], dtype=torch.int64)
    return bool(session.communicator.all_reduce(word))


def _read(told: list[int | None], codes: np.ndarray) -> int:
    """How many of the packed attributes are read right; none where nothing was opened."""
    hits = 0
    for number, attributes in zip(told, codes, strict=True):
        if number is not None:
            hits += int(sum(number >> i & 1 == attributes[i] for i in range(PACKED)))
    return hits


ATTACK = Packing()
