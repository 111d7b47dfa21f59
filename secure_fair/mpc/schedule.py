"""A guess at what the next request will take from the dealer, so that it is there when the request comes."""

from __future__ import annotations

from collections.abc import Hashable, Iterator
from contextlib import contextmanager

from secure_fair.mpc.session import Call, Session


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
