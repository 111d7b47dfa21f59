"""The calls to come, and what they will take from the dealer, so that it is asked for in time.

An operation's first call has one request to the dealer like all later ones: what it takes is found by calling it in a
session with nobody at the other end, on zeros. It follows from public shapes, so that all parties find the same.
"""

from __future__ import annotations

from collections.abc import Callable, Hashable, Iterator, Sequence
from contextlib import contextmanager
from typing import TypeVar

from secure_fair.mpc.lone import aside
from secure_fair.mpc.products import Shared, blank
from secure_fair.mpc.session import Call, Session

T = TypeVar("T")


def scheduled(
    session: Session, name: str, shapes: Sequence[Sequence[int]], function: Callable[..., T], *values: Shared
) -> T:
    """``function(session, *values)`` as an operation whose ``shapes`` decide what it takes from the dealer.

    Even the first call asks for that in one message. Were it to take something else than on zeros, items would be asked
    for one by one, as they are where nothing is known.
    """
    if shapes and not session.foresees(name, *shapes):
        with aside(session) as lone, lone.operation(name, *shapes):
            function(lone, *(blank(value) for value in values))
        session.learn_from(lone, name, *shapes)
    with session.operation(name, *shapes):
        return function(session, *values)


class Forecast:
    """Requests follow one another as batch follows batch: the next is taken to be of the kind that came last time."""

    def __init__(self, session: Session) -> None:
        self._session = session
        self._calls: dict[Hashable, list[Call]] = {}  # by requests of a kind, the last time
        self._next: dict[Hashable, Hashable] = {}
        self._last: Hashable = None

    @contextmanager
    def request(self, kind: Hashable) -> Iterator[None]:
        """Note what this block calls as what a request of this ``kind`` calls; all parties use the same kinds."""
        self._session.called.clear()
        yield
        self._calls[kind] = list(self._session.called)
        if self._last is not None:
            self._next[self._last] = kind
        self._last = kind

    def ask_ahead(self) -> None:
        """Ask the dealer now for what the next request will take.

        Where the guess is wrong what was asked for is dropped unused, by all parties at the same step. To be called
        once a request's value is written down: from here on the dealer may be found lost.
        """
        for name, shapes in self._calls.get(self._next.get(self._last, self._last), []):
            self._session.prefetch(name, *shapes)
