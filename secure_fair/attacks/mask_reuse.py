"""A mask that is used for two openings: the difference of what is sent is the difference of what is hidden.

One query and then another are committed to; an auditor that subtracts one message from the next learns by example
whether they are the same.
"""

from __future__ import annotations

from functools import partial
from typing import Any

import numpy as np

from secure_fair.attacks.common.attack import AUDITOR, Attack, Context, Outcome
from secure_fair.attacks.common.wire import PEOPLE, enrolled, guessed, moment_of, received, replaced
from secure_fair.mpc.menu import SharedKeySource
from secure_fair.mpc.session import Session

TRIES = 32


class MaskReuse(Attack):
    """Differences are taken modulo 2^64, word by word."""

    claim = "no mask hides two values"
    view = "auditor"
    needs = "two requests of one session"
    twin = "a dealer and parties that make the mask of a shape once"

    def run(self, context: Context) -> Outcome:
        """One session of many pairs of requests, and one of the twin."""
        generator = context.generator("mask_reuse")
        secrets, codes = generator.permutation(np.arange(TRIES) % 2), generator.integers(0, 2, PEOPLE)
        ours = guessed(context.parties(play, secrets, codes)[1], secrets)
        with replaced(SharedKeySource, "committed", always_the_same(SharedKeySource.committed)):
            twin = guessed(context.parties(play, secrets, codes)[1], secrets)
        return Outcome.counted(ours, twin, TRIES // 2, most=0.5)


def always_the_same(committed: Any) -> Any:
    """A source that forgets to tell one mask from the next."""
    return lambda self, mask, shape, **how: committed(self, 0, shape, **how)


def play(session: Session, secrets: np.ndarray, codes: np.ndarray) -> list[np.ndarray]:
    """One party's part; at the auditor the differences of what it received in each pair of requests."""
    state = enrolled(session, codes)
    heard = [
        [received(session, partial(moment_of, state, entry)) for entry in (0.4, (0.4, -0.4)[secret])]
        for secret in secrets
    ]
    return [_difference(*pair) for pair in heard] if session.name == AUDITOR else []


def _difference(first: bytes, second: bytes) -> np.ndarray:
    whole = min(len(first), len(second)) // 8 * 8
    before, after = (np.frombuffer(message[:whole], dtype="<i8") for message in (first, second))
    with np.errstate(over="ignore"):
        return (after - before).astype(np.float64)


ATTACK = MaskReuse()
