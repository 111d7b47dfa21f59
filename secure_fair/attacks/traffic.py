"""A watcher of the lines: number, sizes and times of parties' messages, everybody's attribute being one or the other.

TLS hides what is in a message, not how long it is, when it comes, and that it comes at all.
"""

from __future__ import annotations

import time
from dataclasses import replace
from functools import partial
from typing import Literal

import numpy as np

from secure_fair.attacks.common.attack import AUDITOR, DEVELOPER, Attack, Context, Outcome
from secure_fair.attacks.common.wire import PEOPLE, enrolled, guessed, moment_of, seen_from_outside
from secure_fair.mpc.session import Session

TRIES = 64
DELAY = 0.05  # seconds; what a program that takes time over one group is seen by
Build = Literal["ours", "sends", "waits"]


class TrafficAttack(Attack):
    """Each size and time is tried on half of the tries; both parties are watched."""

    claim = "number, sizes and times of a moment's messages say nothing of attributes"
    view = "outsider"
    needs = "the lines, but none of the keys"
    twin = "an auditor that also sends, sealed, which people are in one group"

    def run(self, context: Context) -> Outcome:
        """One session of many moments, one of the twin, and one of an auditor that takes longer over one group."""
        secrets = context.generator("traffic").permutation(np.arange(TRIES) % 2)
        builds: tuple[Build, ...] = ("ours", "sends", "waits")
        ours, twin, slow = (_read(context.parties(play, secrets, build), secrets) for build in builds)
        outcome = Outcome.counted(ours, twin, TRIES // 2, most=0.5)
        return replace(outcome, beside={f"told by {1000 * DELAY:g} ms over one group": slow / (TRIES // 2)})


def play(session: Session, secrets: np.ndarray, build: Build) -> list[np.ndarray]:
    """One party's part: of each try what is seen of its messages. The first one, which asks for more, is left out."""
    _try(session, 0, build)
    return [seen_from_outside(session, partial(_try, session, int(secret), build)) for secret in secrets]


def _try(session: Session, secret: int, build: Build) -> None:
    codes = np.full(PEOPLE, secret, dtype=np.int64)
    if build == "waits" and session.name == AUDITOR:
        time.sleep(secret * DELAY)
    moment_of(enrolled(session, codes), 0.4)
    if build == "sends" and session.name == AUDITOR:
        session._network.send(DEVELOPER, "group", np.flatnonzero(codes).tobytes())
    elif build == "sends":
        session._network.receive(AUDITOR, "group", limit=8 * PEOPLE)


def _read(sides: list[list[np.ndarray]], secrets: np.ndarray) -> int:
    """The right guesses from the sizes of both parties, as far as every try has messages."""
    most = [min(map(len, side)) for side in sides]
    tries = [[one[:count] for one in side] for side, count in zip(sides, most, strict=True)]
    return guessed([np.concatenate(pair) for pair in zip(*tries, strict=True)], secrets)


ATTACK = TrafficAttack()
