"""Many people packed into one number by a developer that lies about its rows, between parties over TLS.

Rows as long as 2^i times the noise put one person's attribute into each binary digit of a single answer.
"""

from __future__ import annotations

import numpy as np

from secure_fair.attacks.common import lies
from secure_fair.attacks.common.attack import DEVELOPER, Attack, AttackTerms, Context, Outcome
from secure_fair.attacks.common.auditor import training_plan
from secure_fair.attacks.common.digits import PACKED, RECORDS, TRIES, digits, packed, read, unit_of
from secure_fair.attacks.common.exchange import Exchange
from secure_fair.mpc.session import Session
from secure_fair.privacy.policy import Policy

NAME = "moment"
TRUSTED_ROWS = Policy(developer="follows the protocol", row_bounds="trust")


class Packing(Attack):
    """The proof that every row has norm 1 at most is refused by the auditor, and nothing is opened or spent."""

    claim = "rows longer than the noise is made for are refused before anything is opened"
    view = "developer"
    needs = "a program of its own that lies about its rows"
    twin = "an auditor whose policy trusts the developer's rows"

    def run(self, context: Context) -> Outcome:
        """So many lies to an auditor that checks, then to one that does not."""
        codes = context.generator("packing").integers(0, 2, (TRIES, RECORDS))
        ours, twin = (context.parties(play, context.terms, codes, policy)[0] for policy in (Policy(), TRUSTED_ROWS))
        return Outcome.counted(read(ours, codes), read(twin, codes), TRIES * PACKED, most=0.0)


def play(session: Session, terms: AttackTerms, codes: np.ndarray, policy: Policy) -> list[int | None]:
    """One party's part in all tries; at the developer the attributes that it reads, as one number each.

    ``codes``: int64 (tries, records), used by the auditor alone, as is its ``policy``.
    """
    if session.name == DEVELOPER:
        lies.lie_about_rows()
    plan = training_plan(NAME, terms, exact=False)
    unit, exchange = unit_of(plan, NAME), Exchange(NAME, plan, policy, 1)
    return [digits(exchange.run(session, attributes, packed(unit)), unit) for attributes in codes]


ATTACK = Packing()
