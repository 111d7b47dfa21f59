"""Rows that are changed once they are proved: the developer shows short ones and computes with long ones.

What was committed to is what the product is made of: after the proof the auditor's part is a function of it, and of
nothing that the developer still sends. What it computes for itself otherwise it could compute later as well.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import torch

from secure_fair.attacks.common.attack import DEVELOPER, Attack, AttackTerms, Context, Outcome
from secure_fair.attacks.common.auditor import training_plan
from secure_fair.attacks.common.digits import PACKED, RECORDS, TRIES, digits, packed, read, unit_of
from secure_fair.attacks.common.exchange import Exchange
from secure_fair.mpc.session import Session
from secure_fair.operations.common.state import SharedState
from secure_fair.privacy.policy import Policy

NAME = "moment"


class ChangedAfterProof(Attack):
    """Rows of zeros are proved; afterwards attributes are packed into the digits of the answer."""

    claim = "what was proved is what is computed with: a change after the proof moves nothing but one's own share"
    view = "developer"
    needs = "a program of its own that changes its rows after the proof"
    twin = "a protocol that masks the proved rows anew for the product"

    def run(self, context: Context) -> Outcome:
        """Some tries over the wire, each with its own attributes."""
        codes = context.generator("changed_after_proof").integers(0, 2, (TRIES, RECORDS))
        ours, twin = (context.parties(play, context.terms, codes, bound)[0] for bound in (True, False))
        return Outcome.counted(read(ours, codes), read(twin, codes), TRIES * PACKED, most=0.5)


def play(session: Session, terms: AttackTerms, codes: np.ndarray, bound: bool) -> list[int | None]:
    """One party's part; at the developer the attributes that it reads, as one number each."""
    plan, honest = training_plan(NAME, terms, exact=False), torch.zeros(RECORDS, 1, dtype=torch.float64)
    unit = unit_of(plan, NAME)

    def alter(state: SharedState, inputs: list) -> list:
        (rows,) = inputs
        if session.name == DEVELOPER:
            more = torch.round(packed(unit) * rows.scale).long()
            rows = replace(rows, own_share=rows.own_share + more)
        return [rows if bound else rows.shared]

    exchange = Exchange(NAME, plan, Policy(), 1, alter=alter)
    return [digits(exchange.run(session, attributes, honest), unit) for attributes in codes]


ATTACK = ChangedAfterProof()
