"""One release between a developer and an auditor over the wire: what the parties do, without a training around it.

The same function runs at both. The developer's copy of the auditor has no attributes that are true: it is there for the
public facts alone.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from secure_fair.attacks.common.attack import AUDITOR, DEVELOPER
from secure_fair.attacks.common.auditor import ATTRIBUTE, AttackedAuditor, auditor
from secure_fair.errors import NotProved, Refusal
from secure_fair.mpc.opening import SharedOpening
from secure_fair.mpc.session import Session
from secure_fair.operations import OPERATIONS
from secure_fair.operations.common.ask import Ask
from secure_fair.operations.common.operation import Update
from secure_fair.operations.common.state import SharedState
from secure_fair.privacy.openings import KeptNoise
from secure_fair.privacy.plan import Plan
from secure_fair.privacy.policy import Policy
from secure_fair.privacy.request import Grant

MOST = 2.0**40  # of an opened number: the developer's own check of the bound is switched off

StateHook = Callable[[SharedState], None]
InputHook = Callable[[SharedState, list], list]


def _as_it_is(state: SharedState, inputs: list) -> list:
    return inputs


@dataclass(frozen=True)
class Exchange:
    """A release of ``operation``, asked for with rows (n, ``width``); ``policy`` and ``plan`` are the auditor's.

    ``prepare`` is called with the developer's state before it asks, ``alter`` by both with what was shared, before it
    is computed with.
    """

    operation: str
    plan: Plan
    policy: Policy
    width: int
    prepare: StateHook | None = None
    alter: InputHook = _as_it_is

    def run(self, session: Session, attributes: np.ndarray, query: Tensor) -> np.ndarray | None:
        """The opened numbers at the developer; None at the auditor, and where nothing is opened.

        ``attributes``: int64 (n,), used by the auditor alone; ``query`` (n, width) by the developer alone.
        """
        developing, records = session.name == DEVELOPER, np.arange(len(attributes), dtype=np.int64)
        with auditor(attributes, self.plan, self.policy) as asked:
            state = SharedState(session, asked.facts)
            state.share_memberships(ATTRIBUTE, [AUDITOR], None if developing else attributes, {})
            if developing and self.prepare is not None:
                self.prepare(state)
            ask, grants = self._admitted(session, asked, records)
            if ask is None:
                return None
            update = self._update(session, asked, grants)
            checks = told(session, not developing and asked.gate.checks_rows(grants))
            operation, refused, inputs = OPERATIONS[self.operation], False, []
            try:
                inputs = operation.share(state, ask, records, [query] * developing, [AUDITOR] * checks)
            except NotProved:
                refused = True
            if told(session, refused):
                return None
            value = operation.compute(state, ask, records, self.alter(state, inputs), update)
            if not developing:
                asked.gate.release(grants[-1], SharedOpening(session, value))
                return None
        return session.receive_opening(value, bound=MOST).numpy()

    def _admitted(
        self, session: Session, asked: AttackedAuditor, records: np.ndarray
    ) -> tuple[Ask | None, list[Grant]]:
        """The developer's message and the grants for it, which are the auditor's; None where it refuses."""
        ask: Ask | None = Ask(operation=self.operation, attribute=ATTRIBUTE, width=self.width)
        grants: list[Grant] = []
        if session.name == AUDITOR:
            try:
                ask, grants = asked.admit(self.operation, records, self.width)
            except Refusal:
                ask = None
        return (None, []) if told(session, ask is None) else (ask, grants)

    def _update(self, session: Session, asked: AttackedAuditor, grants: Sequence[Grant]) -> Update:
        """The noise of an update that stays on shares, which is the auditor's; the developer knows its size."""
        sigma = 0.0
        for grant in grants[:-1]:
            sigma = grant.receipt.sigma or 0.0
        sigma = said(session, sigma)
        if not grants[:-1] or not sigma:
            return Update(sigma)
        kept = KeptNoise(grants[0].request.shape, session.scale**2)
        asked.gate.release(grants[0], kept)
        return Update(sigma, kept.noise)


def told(session: Session, word: bool) -> bool:
    """The auditor's word, at both; the developer, who has no say in it, is not listened to."""
    return bool(said(session, float(word)))


def said(session: Session, number: float) -> float:
    """The auditor's number, to 16 binary digits, at both."""
    units = round(number * 2**16) if session.name == AUDITOR else 0
    return int(session.communicator.all_reduce(torch.tensor([units], dtype=torch.int64))) / 2**16
