"""Grants kept and used together: each was admitted while there was room for one of them."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from secure_fair.attacks.common.attack import Attack, Context, Outcome, balanced, blocks
from secure_fair.attacks.common.auditor import AttackedAuditor, auditor, isolating, training_plan
from secure_fair.errors import BudgetExceeded
from secure_fair.operations import OPERATIONS
from secure_fair.operations.common.ask import Ask
from secure_fair.operations.common.operation import Update
from secure_fair.privacy.openings import PlainOpening
from secure_fair.privacy.policy import Policy
from secure_fair.privacy.request import Grant

NAME = "moment"
BATCH, BATCHES, GRANTS = 32, 8, 4  # all grants but one are more than the plan has


class KeptGrants(Attack):
    """An admission spends nothing, so many may stand at a time; what counts is checked when a value is opened."""

    claim = "grants that were given beside each other are not all good: the budget is checked again at the opening"
    view = "developer"
    needs = "requests that are admitted before any of them is answered"
    twin = "a gate that checks at the admission alone"

    def run(self, context: Context) -> Outcome:
        """Some batches with a budget for one release, and more grants for it."""
        ours, twin = (self._opened(context, again) for again in (True, False))
        return Outcome.counted(ours, twin, BATCHES * (GRANTS - 1), most=0.0)

    def _opened(self, context: Context, again: bool) -> int:
        plan = training_plan(NAME, context.terms, exact=False)
        with auditor(balanced(BATCH * BATCHES), plan, Policy()) as asked:
            if not again:
                asked.gate._check_grant = lambda *_: None  # type: ignore[method-assign]
            return sum(_beyond(asked, batch) for batch in blocks(BATCH * BATCHES, BATCH))


def _beyond(asked: AttackedAuditor, batch: np.ndarray) -> int:
    """How many answers about a batch are beyond the first."""
    admitted = [asked.admit(NAME, batch, BATCH) for _ in range(GRANTS)]
    return sum(_opens(asked, ask, batch, grants) for ask, grants in admitted) - 1


def _opens(asked: AttackedAuditor, ask: Ask, batch: np.ndarray, grants: Sequence[Grant]) -> bool:
    (grant,) = grants
    value = OPERATIONS[NAME].plain(asked.state, ask, batch, [isolating(BATCH)], Update())
    try:
        return asked.gate.release(grant, PlainOpening(value, 2**16)) is not None
    except BudgetExceeded:
        return False


ATTACK = KeptGrants()
