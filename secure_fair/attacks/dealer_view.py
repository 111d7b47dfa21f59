"""A dealer that listens: whatever the parties ask it for, with everybody's attribute being the one or the other."""

from __future__ import annotations

import numpy as np

from secure_fair.attacks.common.attack import Attack, Context, Outcome
from secure_fair.attacks.common.auditor import ATTRIBUTE
from secure_fair.attacks.common.wire import PEOPLE, enrolled, guessed, moment_of, sent
from secure_fair.mpc.session import Session

TRIES = 32
DEALER = "dealer"


class DealerView(Attack):
    """Every number of both parties' messages and the sums of the two are tried on half of the tries."""

    claim = "what the parties send to the dealer says nothing of attributes: it follows from public sizes"
    view = "dealer"
    needs = "what it is asked for"
    twin = "parties that have the dealer multiply for them, and send it their shares"

    def run(self, context: Context) -> Outcome:
        """One session of many moments; the twin's parties send their shares as well."""
        secrets = context.generator("dealer_view").permutation(np.arange(TRIES) % 2)
        developer, auditor = context.parties(play, secrets)
        asked, shares = ([[one[place] for one in side] for side in (developer, auditor)] for place in (0, 1))
        return Outcome.counted(_read(asked, secrets), _read(shares, secrets), TRIES // 2, most=0.5)


def play(session: Session, secrets: np.ndarray) -> list[tuple[bytes, bytes]]:
    """One party's part: of each try what it sends to the dealer, and its share of the memberships."""
    return [_try(session, int(secret)) for secret in secrets]


def _try(session: Session, secret: int) -> tuple[bytes, bytes]:
    states = []

    def act() -> None:
        states.append(enrolled(session, np.full(PEOPLE, secret, dtype=np.int64)))
        moment_of(states[0], 0.4)

    said = sent(session, DEALER, act)
    return said, states[0].memberships[ATTRIBUTE].shared.share.numpy().tobytes()


def _read(sides: list[list[bytes]], secrets: np.ndarray) -> int:
    transcripts = []
    for pair in zip(*sides, strict=True):
        first, second = (np.frombuffer(side[: len(side) // 8 * 8], dtype="<i8") for side in pair)
        both = min(len(first), len(second))
        with np.errstate(over="ignore"):
            sums = first[:both] + second[:both]
        transcripts.append(np.concatenate([sums, first, second]).astype(np.float64))
    return guessed(transcripts, secrets)


ATTACK = DealerView()
