"""An auditor that listens: whatever it receives of a moment, from the commitment to the opening.

It knows the memberships, deviates in nothing, and learns by example which of two queries the developer has.
"""

from __future__ import annotations

from functools import partial

import numpy as np

from secure_fair.attacks.common.attack import AUDITOR, Attack, Context, Outcome
from secure_fair.attacks.common.wire import PEOPLE, enrolled, guessed, moment_of, received, replaced, words
from secure_fair.mpc.session import Session
from secure_fair.randomness import PRG

TRIES = 32
ENTRIES = (-0.4, 0.4)


class AuditorView(Attack):
    """Every number of the transcript, and its length, is tried on half of the tries."""

    claim = "what an auditor receives says nothing of the developer's query, features or labels"
    view = "auditor"
    needs = "the messages of its own runs"
    twin = "a program whose masks are all zero"

    def run(self, context: Context) -> Outcome:
        """One session of many moments, and one of the twin."""
        generator = context.generator("auditor_view")
        secrets, codes = generator.permutation(np.arange(TRIES) % 2), generator.integers(0, 2, PEOPLE)
        ours = guessed(context.parties(play, secrets, codes)[1], secrets)
        with replaced(PRG, "_fill", lambda self, count: np.zeros(count, dtype=np.uint8)):
            twin = guessed(context.parties(play, secrets, codes)[1], secrets)
        return Outcome.counted(ours, twin, TRIES // 2, most=0.5)


def play(session: Session, secrets: np.ndarray, codes: np.ndarray) -> list[np.ndarray]:
    """One party's part; at the auditor what it has received in each try."""
    state = enrolled(session, codes)
    heard = [received(session, partial(moment_of, state, ENTRIES[secret])) for secret in secrets]
    return [words(message) for message in heard] if session.name == AUDITOR else []


ATTACK = AuditorView()
