"""Memberships that are none, from an auditor that lies: 2^8 in the place of 1, -1, both groups at a time.

In an intersection such numbers would shift another auditor's attribute to where it can be read.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import torch

from secure_fair.attacks.common import lies
from secure_fair.attacks.common.attack import AUDITOR, DEVELOPER, Attack, Context, Outcome
from secure_fair.attacks.common.auditor import ATTRIBUTE
from secure_fair.errors import NotProved
from secure_fair.mpc.authenticated import VerifiersCheck
from secure_fair.mpc.session import Session
from secure_fair.operations.common import state as states
from secure_fair.operations.common.state import PublicFacts, SharedState

PEOPLE = 64
LIES: tuple[Callable[[np.ndarray], np.ndarray], ...] = (
    lambda codes: codes << 8,
    lambda codes: codes * 2,
    lambda codes: -codes,
    lambda codes: codes - 2,
    lambda codes: np.where(np.arange(len(codes)) == 0, 2, codes),
    lambda codes: codes + (1 << 40),
)


class FalseMemberships(Attack):
    """A lie is won where the developer goes on with it."""

    claim = "an auditor that shares anything but memberships is refused by all who compute with them"
    view = "auditor"
    needs = "a program of its own that commits to any numbers"
    twin = "parties that take every proof for good"

    def run(self, context: Context) -> Outcome:
        """Every lie, in one session."""
        codes = context.generator("false_memberships").integers(0, 2, PEOPLE)
        codes[:4] = 1
        ours, twin = (context.parties(play, codes, heeded)[0] for heeded in (True, False))
        return Outcome.counted(sum(ours), sum(twin), len(LIES), most=0.0)


def play(session: Session, codes: np.ndarray, heeded: bool) -> list[bool]:
    """One party's part; at the developer which lies it has taken in."""
    if session.name == AUDITOR:
        lies.lie_about_bits()
    elif not heeded:
        VerifiersCheck.holds = lambda *_: True  # type: ignore[method-assign]
    return [_taken(session, lie(codes)) for lie in LIES]


def _as_they_are(codes: np.ndarray, groups: int, dtype: torch.dtype = torch.int64) -> torch.Tensor:
    """Any numbers as the only column."""
    return torch.from_numpy(codes)[:, None]


def _taken(session: Session, numbers: np.ndarray) -> bool:
    states.membership_matrix = _as_they_are
    state = SharedState(session, PublicFacts(DEVELOPER, {ATTRIBUTE: 2}, {}, PEOPLE, False, {}))
    try:
        state.share_memberships(ATTRIBUTE, [AUDITOR], numbers if session.name == AUDITOR else None, {})
    except NotProved:
        return False
    return True


ATTACK = FalseMemberships()
