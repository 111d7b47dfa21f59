"""One pair of parties: what is sent to the peer, what has arrived from it, and the link that a scenario simulates.

Each party serves a stream to its peer and reads the stream that the peer serves, so that a message passes the fewest
threads: the sender's own thread hands it to gRPC, and the thread that receives reads the stream itself. What it meets
on the way for other channels goes into their queues. While nobody receives, a reader thread takes its place.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from queue import SimpleQueue
from typing import NamedTuple

from secure_fair.errors import ProtocolError
from secure_fair.mpc.frames import CONTROL, MAX_CHANNELS, Frame, FrameReader, FrameWriter, Kind, check_channel
from secure_fair.mpc.resending import ROOM_SECONDS, Window
from secure_fair.mpc.tls import grpc
from secure_fair.sections import NotNegative, Section
from secure_fair.stopping import stops_put_off

MAX_UNREAD_BYTES = 1 << 30
"""Bytes that a peer may have sent before they are received; more is a peer out of step."""


MAX_UNREAD_PIECES = 1 << 18
"""And so many pieces of messages, for one takes room though nothing is in it; looked at every ``LOOK_EVERY`` frames."""
LOOK_EVERY = 4096


class LinkSettings(Section):
    """The lines between the parties: how long a broken one is waited for, and a simulated one that is slower than the
    real one; 0 is unlimited."""

    latency_ms: NotNegative = 0.0
    """Delay of every message, one way."""
    bandwidth_mbps: NotNegative = 0.0
    """10^6 bit/s, per direction of a pair."""
    reconnect: NotNegative = 0.0
    """Seconds within which a line that has broken may come back, and nothing is lost; 0: then the peer is lost."""


@dataclass(frozen=True)
class Traffic:
    """Messages and their bytes on one channel of one peer, frame headers included, heartbeats and the like not."""

    messages_sent: int = 0
    bytes_sent: int = 0
    messages_received: int = 0
    bytes_received: int = 0


class LinkDown(Exception):
    """The stream to the peer has ended; why is for the network to find out."""


class Piece(NamedTuple):
    """A frame's part of a message, and the time (monotonic, seconds) before which the simulated link withholds it."""

    due: float
    message_length: int
    payload: memoryview
    frame_bytes: int


class Stuck(NamedTuple):
    """Where a line broke: behind so many frames of the peer's, and when it first did there (monotonic, seconds)."""

    accepted: int
    since: float


@dataclass(eq=False)
class Inbox:
    """Messages that have arrived on one channel. ``None`` in the queue has the receiver look whether to wait on."""

    queue: SimpleQueue[Piece | None] = field(default_factory=SimpleQueue)
    taken: int = 0  # bytes of payload
    messages_received: int = 0
    bytes_received: int = 0


@dataclass
class Outbox:
    """Counts of messages sent on one channel."""

    messages_sent: int = 0
    bytes_sent: int = 0


class Pacer:
    """When a message that arrives now would arrive over the simulated link: one direction of one pair."""

    def __init__(self, settings: LinkSettings) -> None:
        self._latency = settings.latency_ms / 1e3
        self._bytes_per_second = settings.bandwidth_mbps * 1e6 / 8
        self._free = 0.0  # when the last byte before this message has left

    def due(self, now: float, size: int) -> float:
        """Monotonic seconds; ``size`` in bytes. Messages queue up behind each other."""
        if self._bytes_per_second:
            now = self._free = max(now, self._free) + size / self._bytes_per_second
        return now + self._latency


class Link:
    """The state of one pair, at one of its two ends."""

    def __init__(self, peer: str, settings: LinkSettings) -> None:
        self.peer = peer
        self.sending = threading.Lock()  # held for a whole message, so that messages do not mix
        self.last_heard = time.monotonic()
        self.departed = False  # said goodbye
        self.opened = threading.Event()  # the peer reads our stream, and frames can be numbered
        self.ended = threading.Event()  # the stream from the peer is over
        self.told = threading.Event()  # our farewell is on its way
        self.seen = threading.Event()  # the peer has all that was sent before our farewell
        self.waits: dict[str, float] = {}  # whom the peer waits for, and for how long (seconds), by its last heartbeat
        self._pacer = Pacer(settings)
        self._context: grpc.ServicerContext | None = None
        self._deliver: Callable[[bytes], None] | None = None
        self._writer: FrameWriter | None = None
        self._reader: FrameReader | None = None
        self._inboxes: dict[str, Inbox] = {}
        self._outboxes: dict[str, Outbox] = {}
        self._inboxes_lock = threading.Lock()
        self._arrived = 0  # bytes of payload
        self._taken = 0  # how many of them were received when it was last looked
        # A simulated link has to see when messages arrive, so that only the reader thread reads it.
        self.direct = not (settings.latency_ms or settings.bandwidth_mbps)
        self.reconnect = settings.reconnect
        self.window = Window() if settings.reconnect else None  # of what the peer has not acknowledged
        self.accepted = 0  # frames of the peer's
        self.stuck: Stuck | None = None  # where it broke last
        self.broken: float | None = None  # since when (monotonic, seconds) its stream is asked for again
        self._cut_off: float | None = None  # since when ours is not asked for
        self.dial: Callable[[], grpc.Channel] | None = None  # makes a new connection to the peer
        self.channel: grpc.Channel | None = None  # the one on which its stream comes
        self.reading = threading.Lock()  # held by the one thread that reads
        self.followed: set[Inbox] = set()  # where threads wait for what another one reads
        self.problem = ""  # why the last attempt to connect failed
        self.call: grpc.Call | None = None  # the stream that the peer serves
        self.frames: Iterator[bytes] = iter(())  # the same, to read
        self.farewells: SimpleQueue[tuple[Kind, bytes] | None] = SimpleQueue()  # to send; None: no more

    # sending

    def open_outgoing(self, context: grpc.ServicerContext, deliver: Callable[[bytes], None], hello: bytes) -> bool:
        """Serves our stream to the peer, ``hello`` first. False where it has one: nobody may take its place."""
        with self.sending:
            if self._context is not None:
                return False
            self._context = context
            deliver(hello)
            self._deliver = deliver
            self._see_whether_open()
            return True

    def open_again(
        self, context: grpc.ServicerContext, deliver: Callable[[bytes], None], hello: bytes, received: object
    ) -> None:
        """Serve our stream anew, from behind the first ``received`` frames. ProtocolError for frames that are gone."""
        assert self._context is not None
        assert self.window is not None
        self._context.cancel()  # releases a message that waits for it
        with self.sending:
            frames = self.window.after(received)
            self._context, self._deliver, self._cut_off = context, deliver, None
            deliver(hello)
            for frame in frames:
                deliver(frame)

    @property
    def served(self) -> bool:
        """Whether the peer has asked for our stream before."""
        return self._context is not None

    def cut_off(self, now: float) -> float | None:
        """For how long (seconds) nobody has asked for our stream again, from 0 on; None where it is read, or cannot be
        read again."""
        if self.window is None or self._context is None or self._context.is_active():
            self._cut_off = None
            return None
        self._cut_off = self._cut_off or now
        return now - self._cut_off

    def may_come_back(self, now: float) -> bool:
        """Whether the peer's stream or ours is broken, and not for too long yet."""
        away = [self.cut_off(now), None if self.broken is None else now - self.broken]
        return any(seconds is not None and seconds < self.reconnect for seconds in away)

    @property
    def open(self) -> bool:
        """Whether something sent now may arrive."""
        return self.opened.is_set() and self._context is not None and self._context.is_active()

    def standing(self, now: float) -> tuple[str, float | None]:
        """Whether the peer is there, in a word (``Network.partners``), and for how many seconds it was silent."""
        if not self.opened.is_set():
            return "awaited", None
        silent = now - self.last_heard
        if self.departed:
            return "left", silent
        if self.ended.is_set():
            return "lost", silent
        return ("away" if self.broken is not None or self.cut_off(now) is not None else "connected"), silent

    def begin(self, session: bytes) -> None:
        """Both sides' nonces are known: frames can be numbered and checked."""
        self._reader = FrameReader(session)
        self._writer = FrameWriter(session)
        self.last_heard = time.monotonic()
        self._see_whether_open()

    def _see_whether_open(self) -> None:
        if self._writer is not None and self._deliver is not None:
            self.opened.set()

    def send(self, channel: str, parts: tuple[bytes | memoryview, ...], stop: Callable[[], bool]) -> None:
        """Hands a message to gRPC once the peer's window has room. LinkDown at the stream's end or ``stop()``."""
        outbox = self.outbox(channel)
        with self.sending:
            if self._writer is None or not self.opened.is_set():
                raise LinkDown
            for frame in self._writer.message(channel, *parts):
                if stop():
                    raise LinkDown
                self._hand_over(frame)
                outbox.bytes_sent += len(frame)
            outbox.messages_sent += 1

    def send_control(self, kind: Kind, payload: bytes, wait: float) -> None:
        """Sends a control message, unless the stream is over or another message holds it for ``wait`` seconds more."""
        if not self.sending.acquire(timeout=wait):
            return
        try:
            if self._writer is None or not self.opened.is_set():
                return
            for frame in self._writer.message(CONTROL, payload, kind=kind):
                self._hand_over(frame)
        except LinkDown:
            pass  # a farewell to a peer that is gone; the reader's end of the link reports losses
        finally:
            self.sending.release()

    def _hand_over(self, frame: bytes) -> None:
        assert self._deliver is not None
        assert self._context is not None
        if self.window is not None:
            self.window.add(frame)
        with stops_put_off():  # gRPC has begun to send before it has noted what it sends
            self._deliver(frame)
        alive = self._context.is_active()
        if self.window is None:
            lost = not alive
        else:  # a peer that reads and acknowledges nothing would have all kept that it is ever sent
            lost = self.window.full and not (alive and self.window.has_room(ROOM_SECONDS))
        if lost:
            raise LinkDown

    def cut(self) -> None:
        """Ends both streams, which releases whoever waits for them."""
        if self._context is not None:
            self._context.cancel()
        if self.call is not None:
            self.call.cancel()

    # receiving

    def release_reading(self) -> None:
        """The thread that has read stops: those who wait for it look whether one of them has to go on."""
        self.reading.release()
        for inbox in tuple(self.followed):
            if inbox.queue.empty():
                inbox.queue.put(None)

    def accept(self, frame: bytes) -> Frame | None:
        """Checks a frame and queues it; control frames are returned instead. ProtocolError for what does not fit."""
        assert self._reader is not None
        checked = self._reader.accept(frame)
        self.accepted += 1
        self.last_heard = now = time.monotonic()
        if self.accepted % LOOK_EVERY == 0 and self._unread_pieces() > MAX_UNREAD_PIECES:
            raise ProtocolError(f"more than {MAX_UNREAD_PIECES} pieces sent that nobody has asked for")
        if checked.kind is not Kind.DATA:
            return checked
        inbox = self.inbox(checked.channel)
        self._arrived += len(checked.payload)
        if self._arrived - self._taken > MAX_UNREAD_BYTES:
            self._taken = sum(one.taken for one in list(self._inboxes.values()))
            if self._arrived - self._taken > MAX_UNREAD_BYTES:
                raise ProtocolError(f"more than {MAX_UNREAD_BYTES} bytes sent that nobody has asked for")
        due = self._pacer.due(now, len(frame)) if not self.direct else 0.0
        inbox.queue.put(Piece(due, checked.message_length, checked.payload, len(frame)))
        return None

    def _unread_pieces(self) -> int:
        """Everything that waits because of what the peer has sent, farewells to be answered among it."""
        return self.farewells.qsize() + sum(inbox.queue.qsize() for inbox in list(self._inboxes.values()))

    def outbox(self, channel: str) -> Outbox:
        """The channel's outbox, made at first use."""
        known = self._outboxes.get(channel)
        if known is not None:
            return known
        check_channel(channel)
        return self._outboxes.setdefault(channel, Outbox())

    def inbox(self, channel: str) -> Inbox:
        """The channel's inbox, made at first use."""
        known = self._inboxes.get(channel)
        if known is not None:
            return known
        check_channel(channel)
        with self._inboxes_lock:
            if channel not in self._inboxes and len(self._inboxes) >= MAX_CHANNELS:
                raise ProtocolError(f"more than {MAX_CHANNELS} channels with {self.peer}")
            return self._inboxes.setdefault(channel, Inbox())

    def wake_receivers(self) -> None:
        """Makes every receive on this link look again whether there is anything to wait for."""
        with self._inboxes_lock:
            for inbox in self._inboxes.values():
                inbox.queue.put(None)

    def traffic(self) -> dict[str, Traffic]:
        """Per channel: what was sent, and what was received *and read*."""
        with self._inboxes_lock:
            channels = {*self._inboxes, *self._outboxes}
        found: dict[str, Traffic] = {}
        for channel in channels:
            sent, received = self._outboxes.get(channel, Outbox()), self._inboxes.get(channel, Inbox())
            found[channel] = Traffic(
                sent.messages_sent, sent.bytes_sent, received.messages_received, received.bytes_received
            )
        return found
