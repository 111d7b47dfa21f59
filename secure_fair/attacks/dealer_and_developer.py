"""A developer reads memberships out of what it is sent: by itself, and in league with the dealer."""

from __future__ import annotations

import numpy as np

from secure_fair.attacks.common.attack import AUDITOR, DEVELOPER, Attack, Context, Outcome
from secure_fair.attacks.common.auditor import ATTRIBUTE
from secure_fair.mpc.session import Session
from secure_fair.operations.common.state import PublicFacts, SharedState

PEOPLE = 400


class DealerAndDeveloper(Attack):
    """The auditor sends its memberships less a mask that the dealer can compute: together they know everything.

    That it succeeds with the dealer is the assumption of trust, and no fault. The dealer derives the mask from the key
    that it shares with the auditor; here the auditor's process says which one that is.
    """

    claim = "what is sent to the developer says nothing, unless the dealer helps it: that is the assumption of trust"
    view = "developer"
    needs = "what it receives when memberships are shared"
    twin = "a developer in league with the dealer, which nothing protects from"

    def run(self, context: Context) -> Outcome:
        """Guess from what was sent alone, then with the mask."""
        codes = context.generator("dealer_and_developer").integers(0, 2, PEOPLE)
        sent, masks = context.parties(play, codes)
        alone = int(((sent & 1) == codes).sum())  # an even mask would leave the parity as it is
        return Outcome.counted(alone, int((sent + masks == codes).sum()), PEOPLE, most=0.5)


def play(session: Session, codes: np.ndarray) -> np.ndarray:
    """One party's part: at the developer what it was sent, at the auditor the mask, int64 (n,)."""
    state = SharedState(session, PublicFacts(DEVELOPER, {ATTRIBUTE: 2}, {}, len(codes), False, {}))
    state.share_memberships(ATTRIBUTE, [AUDITOR], codes if session.name == AUDITOR else None, {})
    shared = state.memberships[ATTRIBUTE]
    return (shared.difference if session.name == DEVELOPER else shared.mask_share).numpy()[:, 0]


ATTACK = DealerAndDeveloper()
