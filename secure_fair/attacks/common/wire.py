"""The messages of a party, kept while it acts, and a guess of a secret from them that is learned by example."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import numpy as np
import torch

from secure_fair.attacks.common.attack import AUDITOR, DEVELOPER
from secure_fair.attacks.common.auditor import ATTRIBUTE
from secure_fair.mpc.session import Session
from secure_fair.operations import OPERATIONS
from secure_fair.operations.common.ask import Ask
from secure_fair.operations.common.operation import Update
from secure_fair.operations.common.state import PublicFacts, SharedState

PEOPLE, WIDTH = 32, 4
RECORDS = np.arange(PEOPLE, dtype=np.int64)


@contextmanager
def replaced(owner: Any, name: str, value: Any) -> Iterator[None]:
    """Another attribute for a while, for whoever is forked meanwhile too: a program with a flaw."""
    before = getattr(owner, name)
    setattr(owner, name, value)
    try:
        yield
    finally:
        setattr(owner, name, before)


def received(session: Session, action: Callable[[], object]) -> bytes:
    """Everything that this party receives while it acts, whoever sends it."""
    heard, receive = bytearray(), session._network.receive

    def watch(peer: str, channel: str, **options: Any) -> bytes:
        message = receive(peer, channel, **options)
        heard.extend(_whole(message))
        return message

    with replaced(session._network, "receive", watch):
        action()
    return bytes(heard)


def sent(session: Session, receiver: str, action: Callable[[], object]) -> bytes:
    """Everything that this party sends to one other while it acts."""
    said, send = bytearray(), session._network.send

    def watch(peer: str, channel: str, *parts: Any) -> None:
        if peer == receiver:
            said.extend(_whole(b"".join(memoryview(part).tobytes() for part in parts)))
        send(peer, channel, *parts)

    with replaced(session._network, "send", watch):
        action()
    return bytes(said)


def seen_from_outside(session: Session, action: Callable[[], object]) -> np.ndarray:
    """The number of this party's messages while it acts, then size in bytes and time in seconds of each."""
    began, seen = time.perf_counter(), []
    send, receive = session._network.send, session._network.receive

    def sending(peer: str, channel: str, *parts: Any) -> None:
        seen.extend([sum(memoryview(part).nbytes for part in parts), time.perf_counter() - began])
        send(peer, channel, *parts)

    def receiving(peer: str, channel: str, **options: Any) -> bytes:
        message = receive(peer, channel, **options)
        seen.extend([len(message), time.perf_counter() - began])
        return message

    with replaced(session._network, "send", sending), replaced(session._network, "receive", receiving):
        action()
    return np.array([len(seen) // 2, *seen], dtype=np.float64)


def _whole(message: bytes) -> bytes:
    """A message filled up to whole words, so that those of the next one are in their places."""
    return message + bytes(-len(message) % 8)


def enrolled(session: Session, codes: np.ndarray) -> SharedState:
    """People whose attributes, ``codes`` int64 (n,) at the auditor, are shared."""
    state = SharedState(session, PublicFacts(DEVELOPER, {ATTRIBUTE: 2}, {}, PEOPLE, False, {}))
    state.share_memberships(ATTRIBUTE, [AUDITOR], None if session.name == DEVELOPER else codes, {})
    return state


def moment_of(state: SharedState, entry: float) -> None:
    """A moment of people of whom the developer's rows all have this ``entry``, up to the opening, which is left out."""
    developing, operation = state.session.name == DEVELOPER, OPERATIONS["moment"]
    ask = Ask(operation="moment", attribute=ATTRIBUTE, width=WIDTH)
    rows = [torch.full((PEOPLE, WIDTH), entry, dtype=torch.float64)] if developing else []
    operation.compute(state, ask, RECORDS, operation.share(state, ask, RECORDS, rows, [AUDITOR]), Update())


def words(message: bytes) -> np.ndarray:
    """A message as float64 numbers: words of 64 bits with their sign, then its length."""
    whole = np.frombuffer(message[: len(message) // 8 * 8], dtype="<i8")
    return np.append(whole.astype(np.float64), len(message))


def guessed(transcripts: Sequence[np.ndarray], secrets: np.ndarray) -> int:
    """How many secrets (n,), 0 or 1, of the second half of ``transcripts`` are guessed right.

    By the number that tells most of them in the first half, and the threshold between its two means there; numbers
    beyond the shortest transcript are left out.
    """
    shortest = min(len(one) for one in transcripts)
    seen = np.array([np.append(one[:shortest], len(one)) for one in transcripts])
    half, truth = len(seen) // 2, secrets.astype(bool)
    high, low = (seen[:half][truth[:half] == value].mean(0) for value in (True, False))
    place = int(np.argmax(np.abs(high - low) / (seen[:half].std(0) + 1e-9 * np.abs(high - low) + 1e-300)))
    guesses = (seen[half:, place] > (high[place] + low[place]) / 2) == (high[place] > low[place])
    return int((guesses == truth[half:]).sum())
