"""A party's failure detector: whether its session goes on, and if not, why and by whose fault.

A peer is suspected where its connection has ended, where it has been silent for too long, or by another's word; it is
lost once nobody can still explain it otherwise (``liveness``). The first failure is the session's: every wait ends with
it, and the peers are told.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial

from secure_fair.errors import (
    BudgetExceeded,
    PartyLost,
    ProtocolError,
    Refusal,
    RunRefused,
    SecureFairError,
    printable,
)
from secure_fair.mpc.frames import Kind, encode_control
from secure_fair.mpc.link import Link
from secure_fair.mpc.liveness import GRACE_SECONDS, HEARTBEAT_SECONDS, Suspicion, find_circle, find_loss

FAREWELL_SECONDS = 2.0
"""How long a farewell may take."""

_REFUSALS = (BudgetExceeded.exit_code, Refusal.exit_code)


class FailureDetector:
    """One party's knowledge of its peers' ends, over the ``links`` to them; safe from any thread.

    ``timeout`` (seconds) bounds how long a peer may be silent.
    """

    def __init__(self, name: str, timeout: float) -> None:
        self.name = name
        self.timeout = timeout
        self.links: dict[str, Link] = {}
        self.lock = threading.Lock()
        self.changed = threading.Condition(self.lock)
        self.failed = threading.Event()
        self.failure: Callable[[], SecureFairError] | None = None
        self.connected = False
        self.closing = False
        self.closed = threading.Event()
        self._suspicions: list[Suspicion] = []  # in the order of time
        self._waiting: dict[int, tuple[str, float]] = {}  # thread: (for whom, since when)

    # what the network sees

    @contextmanager
    def waiting_for(self, link: Link) -> Iterator[None]:
        """This thread waits for the peer meanwhile."""
        thread = threading.get_ident()
        self._waiting[thread] = (link.peer, time.monotonic())
        try:
            yield
        finally:
            del self._waiting[thread]

    def is_back(self, link: Link) -> None:
        """A broken line is there again: waiting does not count from before."""
        for thread, (peer, _) in list(self._waiting.items()):
            if peer == link.peer:
                self._waiting[thread] = (peer, link.last_heard)

    def due(self, link: Link) -> bool:
        """Whether anything is still to come from the peer: neither it nor this party has said goodbye."""
        return not (link.departed or self.closing)

    def suspect(self, link: Link, reason: str) -> None:
        """A connection with the peer has ended. What that means is decided in ``watch``."""
        if not self.due(link):
            return
        with self.lock:
            if any(known.party == link.peer and not known.teller for known in self._suspicions):
                return  # how long its words are waited for counts from the first
            self._suspicions.append(Suspicion(time.monotonic(), link.peer, reason))

    def peer_aborts(self, link: Link, reason: str, culprit: str, exit_code: object) -> None:
        """The peer has stopped the session, and says why and by whose fault."""
        code = exit_code if isinstance(exit_code, int) and exit_code in _REFUSALS else PartyLost.exit_code
        if culprit in self.links and culprit != link.peer:
            with self.lock:  # the culprit's own words may still be on their way, a refusal for instance
                self._suspicions.append(Suspicion(time.monotonic(), culprit, reason, link.peer, code))
            return
        blamed = culprit == self.name
        text = f"it has stopped because of this party: {reason}" if blamed else f"it has stopped: {reason}"
        error = partial(_ended, link.peer, text, code)
        self.fail(error, reason, self.name if blamed else link.peer, exit_code=code)
        link.departed = True

    def left(self, link: Link) -> SecureFairError:
        """The peer has said goodbye too early; the verdict."""
        reason = "it has left the session while this party still needs it"
        self.fail(lambda: PartyLost(link.peer, reason), reason, link.peer)
        return self.verdict()

    def misbehaved(self, link: Link, what: str) -> SecureFairError:
        """The peer does not keep to the protocol; the verdict."""
        return self.refuse(link, f"{link.peer} does not keep to the protocol: {what}")

    def refuse(self, link: Link, message: str) -> SecureFairError:
        """This party refuses to go on with the peer; the verdict."""
        self.fail(lambda: ProtocolError(message), message, link.peer, exit_code=ProtocolError.exit_code)
        return self.verdict()

    def fail(
        self,
        error: Callable[[], SecureFairError],
        reason: str,
        culprit: str | None,
        *,
        tell: bool = True,
        exit_code: int = PartyLost.exit_code,
    ) -> None:
        """The session is over: every wait ends with ``error`` and the peers are told. Only the first failure counts."""
        with self.changed:
            if self.failure is not None:
                return
            self.failure = error
            self.failed.set()
            self.changed.notify_all()
        fields = {"reason": printable(reason), "culprit": culprit or self.name, "exit_code": exit_code}
        farewell = encode_control(fields)
        for link in list(self.links.values()):  # others may be added now
            if tell:
                link.farewells.put((Kind.ABORT, farewell))
            link.wake_receivers()

    def verdict(self) -> SecureFairError:
        """Why the session is over, once the peers have been told: the caller may be about to end the process."""
        deadline = time.monotonic() + GRACE_SECONDS
        for link in self.links.values():
            if link.open:
                link.told.wait(max(0.0, deadline - time.monotonic()))
        return self.failure() if self.failure is not None else ProtocolError("the session has ended")

    # what is made of it

    def watch(self) -> None:
        """Decides when the session has failed; then gives the farewells time and ends whatever still waits."""
        tick = min(0.1, self.timeout / 20)
        looked = time.monotonic()
        while not self.failed.is_set():
            self.failed.wait(tick)
            now = time.monotonic()
            if now - looked > 1 + tick:  # this process was stopped itself and could not hear its peers
                for link in self.links.values():
                    link.last_heard = now
            looked = now
            self._look_for_losses(now)
        self.closed.wait(FAREWELL_SECONDS)
        for link in self.links.values():
            link.cut()

    def _look_for_losses(self, now: float) -> None:
        self._look_for_breaks(now)
        with self.lock:
            suspicions = list(self._suspicions)
        heard = [link for link in self.links.values() if not link.departed and not link.ended.is_set()]
        heard = [link for link in heard if link.broken is None]
        silences = {link.peer: now - link.last_heard for link in heard if self.connected}
        loss = find_loss(now, suspicions, silences, self.timeout)
        if loss is not None:
            self._lost(loss)
        waits = {link.peer: link.waits for link in heard}
        circle = find_circle(self.name, {self.name: self.waits(now), **waits}, self.timeout)
        if circle:
            chain = ", which waits for ".join([self.name, *circle])
            message = f"out of step: {chain}, each for more than {self.timeout:g} s"
            self.fail(lambda: ProtocolError(message), message, self.name, exit_code=ProtocolError.exit_code)

    def _look_for_breaks(self, now: float) -> None:
        """A line that may come back: it is asked for again where it is silent, and lost where it stays away."""
        for link in self.links.values():
            if link.window is None or not self.connected:
                continue
            away = link.cut_off(now)
            if away is not None and away > link.reconnect and not link.ended.is_set():
                if link.broken is not None:  # else what the peer has to say of it still comes
                    link.ended.set()
                self.suspect(link, f"its connection has ended, and did not come back within {link.reconnect:g} s")
            silent = now - link.last_heard > max(3 * HEARTBEAT_SECONDS, self.timeout / 3)
            if silent and link.broken is None and not link.departed and link.call is not None:
                link.call.cancel()  # whoever reads it asks again

    def _lost(self, loss: Suspicion) -> None:
        text = f"{loss.teller} says: {loss.reason}" if loss.teller else loss.reason
        error = partial(_ended, loss.party, text, loss.exit_code)
        self.fail(error, loss.reason, loss.party, exit_code=loss.exit_code)  # passed on as it came
        self.links[loss.party].cut()  # releases a send that waits for the lost party

    def waits(self, now: float) -> dict[str, float]:
        """Whom this party waits for, and for how long (seconds); of several threads, the last to begin counts."""
        began: dict[str, float] = {}
        for peer, since in list(self._waiting.values()):
            if self.links[peer].broken is not None:  # both may be waiting, for the line
                continue
            began[peer] = max(since, began.get(peer, since))
        return {peer: round(now - since, 3) for peer, since in began.items()}


def _ended(party: str, text: str, exit_code: int) -> SecureFairError:
    """Why a session has ended: a party has refused, or else is lost."""
    return RunRefused(party, text, exit_code) if exit_code in _REFUSALS else PartyLost(party, text)
