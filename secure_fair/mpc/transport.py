"""The network between parties: gRPC over mutually authenticated TLS 1.3, on one machine and between machines alike.

Every pair compares what it has agreed on, then exchanges messages on named channels. Each wait ends: a peer that dies,
falls silent or stops makes every receive, from whomever, raise ``PartyLost`` naming the party really lost; parties that
wait for each other in a circle raise ``ProtocolError``.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from queue import Empty
from typing import TYPE_CHECKING, Any

from secure_fair.defaults import TIMEOUT
from secure_fair.errors import (
    PartyLost,
    ProtocolError,
    UsageError,
    printable,
)
from secure_fair.mpc import doors
from secure_fair.mpc.failure_detector import FAREWELL_SECONDS, FailureDetector
from secure_fair.mpc.frames import (
    MAX_CONTROL_BYTES,
    MAX_FRAME_BYTES,
    SERVICE,
    Frame,
    Hello,
    Kind,
    decode_control,
    encode_control,
)
from secure_fair.mpc.introductions import REQUEST, STREAM, Introductions
from secure_fair.mpc.link import Inbox, Link, LinkDown, LinkSettings, Piece, Traffic
from secure_fair.mpc.liveness import HEARTBEAT_SECONDS
from secure_fair.mpc.mending import comes_back, open_stream
from secure_fair.mpc.tls import (
    Credentials,
    channel_credentials,
    check_party_name,
    check_version,
    fingerprint,
    grpc,
    peer_fingerprint,
    peer_name,
    server_credentials,
    shown_certificate,
    was_altered,
)

if TYPE_CHECKING:
    from typing_extensions import Buffer

__all__ = ["Credentials", "LinkSettings", "Network", "Traffic", "check_party_name"]

_TIMEOUT_KEY = "network timeout"

ACKNOWLEDGE_SECONDS = 0.25
"""How often a party says what has come, where lines may come back: what was not acknowledged is kept."""
SHOW_SECONDS = 5.0
"""How long one attempt to see a peer's certificate may take."""

IDLE_SECONDS = 0.05
"""When nothing was received from a peer for so long, its reader thread takes over from the threads that receive."""

# Every message is one frame of known size, so gRPC refuses anything larger before it is read.
_COMMON_OPTIONS = [
    ("grpc.enable_http_proxy", 0),
    ("grpc.http2.max_frame_size", 1 << 20),
    ("grpc.max_send_message_length", MAX_FRAME_BYTES),
]
_SERVER_OPTIONS = [
    *_COMMON_OPTIONS,
    *doors.OPTIONS,
    ("grpc.max_receive_message_length", MAX_CONTROL_BYTES),
    ("grpc.so_reuseport", 0),
]
_CHANNEL_OPTIONS = [
    *_COMMON_OPTIONS,
    ("grpc.max_receive_message_length", MAX_FRAME_BYTES),
    ("grpc.use_local_subchannel_pool", 1),
    ("grpc.initial_reconnect_backoff_ms", 50),
    ("grpc.min_reconnect_backoff_ms", 1000),
    ("grpc.max_reconnect_backoff_ms", 500),
    (grpc.experimental.ChannelOptions.SingleThreadedUnaryStream, 1),  # who asks for a frame reads it, without a thread
]


class Network:
    """One party's connections to all others.

    ``listen`` is the host:port to serve at (port 0: any free one, see ``address``). ``timeout`` (seconds) bounds how
    long a peer may be silent, and ``wait`` how long ``connect`` waits for all to come, the same where it is not given;
    a peer that is alive is waited for as long as it takes. With ``link.reconnect`` a line may break for so long.
    One thread may receive on a channel at a time; sending is safe from any thread.
    """

    def __init__(
        self,
        credentials: Credentials,
        listen: str = "127.0.0.1:0",
        *,
        timeout: float = TIMEOUT,
        link: LinkSettings = LinkSettings(),  # noqa: B008  (frozen)
        wait: float | None = None,
    ) -> None:
        check_party_name(credentials.name)
        if timeout <= 0:
            raise UsageError(f"network timeout {timeout}: use more than 0 seconds")
        doors.make_room()
        self.name = credentials.name
        self.timeout = timeout
        self.wait = timeout if wait is None else wait
        self._credentials = credentials
        self._settings = link
        self._detector = FailureDetector(self.name, timeout)
        self._links = self._detector.links
        self._introductions = Introductions(self._detector)
        self._turned_away = ""  # the last caller who was refused, and why: it may be a peer with the wrong certificate
        self._left_early = False
        self._threads: list[threading.Thread] = []
        self._workers = ThreadPoolExecutor(4, thread_name_prefix="serve")
        self._server = grpc.server(self._workers, handlers=[self._handler()], options=_SERVER_OPTIONS)
        host, separator, wanted = listen.rpartition(":")
        try:
            if not (wanted.isdigit() and int(wanted) < 65536):  # gRPC takes a port modulo 65536
                raise RuntimeError(f"port {wanted}")
            port = self._server.add_secure_port(listen, server_credentials(credentials))
        except RuntimeError as error:
            raise UsageError(
                f"cannot listen at {listen!r}: use HOST:PORT with an address of this machine and a free port, "
                "and a certificate, key and authority that belong together"
            ) from error
        self.address = f"{host}{separator}{port}"

    # connecting

    def connect(
        self, peers: Mapping[str, str], agreement: Mapping[str, str], fingerprints: Mapping[str, str] | None = None
    ) -> None:
        """Connects with every peer (name: host:port) and compares ``agreement`` with each.

        Where ``fingerprints`` has the SHA-256 (hex) of each peer's certificate, no other certificate is accepted; else
        one is that the authority has signed for the peer's name. Returns once every pair of this party is ready.
        ProtocolError where a peer is not who it should be, refuses, or has another agreement (naming the key and both
        values); PartyLost where one is not there within ``wait``.
        """
        for peer in peers:
            check_party_name(peer)
            if fingerprints is not None and peer not in fingerprints:
                raise UsageError(f"no fingerprint for {peer!r}: give one for each peer, or none at all")
        if self.name in peers:
            raise UsageError(f"{self.name!r} is this party's own name: leave it out of its peers")
        agreement = {**agreement, _TIMEOUT_KEY: f"{self.timeout:g} s"}  # else one's silence would be another's loss
        deadline = time.monotonic() + self.wait
        with self._detector.lock:
            if self._links or self._detector.closing:
                raise UsageError("a network connects once; make a new one for a new session")
            self._introductions.expect(peers, agreement, fingerprints)
            self._links.update({peer: Link(peer, self._settings) for peer in peers})
            self._server.start()
        try:
            check_version(self.address, self.timeout)
        except ProtocolError:
            self.close()
            raise
        for peer, address in peers.items():
            self._start(self._read, f"read {peer}", self._links[peer], address)
            self._start(self._mind, f"mind {peer}", self._links[peer])
        self._start(self._detector.watch, "watch")
        with self._detector.changed:
            while not self._detector.failed.is_set() and self._introductions.missing:
                left = deadline - time.monotonic()
                if left <= 0 or not self._detector.changed.wait(left):
                    break
            missing = self._introductions.missing
        if missing and not self._detector.failed.is_set():
            peer = missing[0]
            problem = self._links[peer].problem or "it has not connected to this party"
            reason = f"not connected within {self.wait:g} s at {peers[peer]}: {problem}{self._turned_away}"
            self._detector.fail(lambda: PartyLost(peer, reason), reason, peer)
        if self._detector.failure is not None:
            self._left_early = True
            self.close()
            raise self._detector.failure()
        self._detector.connected = True

    def _handler(self) -> grpc.GenericRpcHandler:
        def open_stream(request: bytes, context: grpc.ServicerContext, deliver: Callable[[bytes], None]) -> None:
            self._serve(request, context, deliver)

        # gRPC then calls with a function that sends, so that a message leaves from the thread that has it
        vars(open_stream)["experimental_non_blocking"] = True
        return grpc.method_handlers_generic_handler(
            SERVICE, {"Open": grpc.unary_stream_rpc_method_handler(open_stream)}
        )

    def _serve(self, request: bytes, context: grpc.ServicerContext, deliver: Callable[[bytes], None]) -> None:
        """A peer asks for the stream of what this party sends to it."""
        try:
            hello = Hello.decode(request)
            link = self._introductions.link_of(peer_name(context), hello)
            self._introductions.check_fingerprint(link.peer, peer_fingerprint(context))
            own = self._introductions.own(link.peer).encode()
            if link.window is not None and link.served and hello == self._introductions.first(link.peer):
                link.open_again(context, deliver, own, decode_control(request).get("received", 0))
                return
            if not link.open_outgoing(context, deliver, own):
                raise ProtocolError(f"{link.peer} is already connected in this session")
        except ProtocolError as error:
            self._turned_away = f"; it has turned a caller away: {error}"
            context.abort(grpc.StatusCode.PERMISSION_DENIED, str(error))
            return
        self._introductions.note(link, REQUEST, hello)

    # messages

    def send(self, peer: str, channel: str, *parts: Buffer) -> None:
        """Sends the concatenation of ``parts`` (C-contiguous buffers) as one message.

        Returns when gRPC has taken it, which may have to wait for the peer to read. PartyLost or ProtocolError once the
        session has failed.
        """
        link = self._link(peer)
        if link.departed:
            raise self._detector.left(link)
        try:
            link.send(channel, tuple(_flat(parts)), self._detector.failed.is_set)
        except LinkDown:
            if link.departed and not self._detector.failed.is_set():
                raise self._detector.left(link) from None
            self._detector.suspect(link, "its connection has ended")
            self._detector.failed.wait(self.timeout)
            raise self._detector.verdict() from None

    def receive(self, peer: str, channel: str, *, limit: int) -> bytes:
        """The next message of at most ``limit`` bytes; waits for it as long as everybody is alive.

        ProtocolError where the peer announces more than ``limit``, before anything is allocated, or is out of step;
        PartyLost where a party, whichever, is lost before the message is there.
        """
        link = self._link(peer)
        inbox = link.inbox(channel)
        piece = self._next(link, inbox)
        length = piece.message_length
        if length > limit:
            raise self._detector.misbehaved(
                link, f"a message of {length} bytes on channel {channel!r}; the limit is {limit}"
            )
        if len(piece.payload) == length:
            message = bytes(piece.payload)
        else:
            pieces = [piece.payload]
            missing = length - len(piece.payload)
            while missing:
                piece = self._next(link, inbox)
                pieces.append(piece.payload)
                missing -= len(piece.payload)
            message = b"".join(pieces)
        inbox.messages_received += 1
        return message

    def traffic(self) -> Mapping[tuple[str, str], Traffic]:
        """Per (peer, channel): messages and bytes sent, and received *and read*, frame headers included."""
        return {(peer, channel): t for peer, link in list(self._links.items()) for channel, t in link.traffic().items()}

    @property
    def failed(self) -> bool:
        """Whether the session has failed, for whatever reason."""
        return self._detector.failure is not None and not self._detector.closing

    def partners(self) -> dict[str, tuple[str, float | None]]:
        """Per peer: "awaited", "connected", "away" (its line has broken, and may come back), "left" or "lost"; and for
        how long it has been silent, in seconds, once it was there."""
        return {peer: link.standing(time.monotonic()) for peer, link in dict(self._links).items()}

    def _next(self, link: Link, inbox: Inbox) -> Piece:
        """The next piece of a message. The receiver reads the peer's stream itself unless another thread does."""
        with self._detector.waiting_for(link):
            while (piece := self._try_next(link, inbox)) is None:
                if self._detector.failed.is_set():
                    raise self._detector.verdict()
                if link.departed:
                    raise self._detector.left(link)
        if piece.due:
            time.sleep(max(0.0, piece.due - time.monotonic()))
        inbox.taken += len(piece.payload)
        inbox.bytes_received += piece.frame_bytes
        return piece

    def _try_next(self, link: Link, inbox: Inbox) -> Piece | None:
        """The next piece, or None where something has come that is not the next piece."""
        if link.departed or self._detector.failed.is_set():
            inbox.queue.put(None)  # behind what has arrived: that may still be read
        if link.direct and inbox.queue.empty() and not link.ended.is_set() and link.reading.acquire(blocking=False):
            try:
                if inbox.queue.empty():  # still, now that nobody else reads
                    self._take_in(link)
            finally:
                link.release_reading()
        if not inbox.queue.empty():
            return inbox.queue.get()
        link.followed.add(inbox)
        try:
            # whoever reads now is done only after we are known to follow, and then wakes us up
            if link.reading.locked() or link.ended.is_set() or not link.direct:
                return inbox.queue.get()
        finally:
            link.followed.discard(inbox)
        return None

    def _link(self, peer: str) -> Link:
        link = self._links.get(peer)
        if link is None or not self._detector.connected:
            raise UsageError(
                f"{peer!r} is not connected; connected peers: {sorted(self._links) if self._detector.connected else []}"
            )
        return link

    # leaving

    def abort(self, reason: str, culprit: str | None = None, exit_code: int = PartyLost.exit_code) -> None:
        """Stops the session: tells every peer why and who is to blame (None: this party), then leaves.

        The peers lose a party, unless ``exit_code`` says that it has refused: then all end with that code.
        """
        self._detector.fail(
            lambda: ProtocolError(f"this party has stopped: {reason}"), reason, culprit, exit_code=exit_code
        )
        self.close()

    def close(self) -> None:
        """Says goodbye and leaves, once the peers have all that was sent. A loss only to a peer that waits for us."""
        with self._detector.lock:
            if self._detector.closing:
                return
            self._detector.closing = True
        if not self._detector.failed.is_set():
            for link in self._links.values():
                link.farewells.put((Kind.GOODBYE, b"{}"))
        began = time.monotonic()
        for link in self._links.values():
            patience = self._patience(link)
            deadline = began + patience
            while self._may_answer(link) and time.monotonic() < deadline:
                if link.may_come_back(time.monotonic()):  # then the farewell is on its way from there on
                    deadline = time.monotonic() + patience
                link.seen.wait(0.01)
        self._detector.fail(lambda: ProtocolError("this party has closed its network"), "closed", None, tell=False)
        for link in self._links.values():
            link.farewells.put(None)
            link.cut()
        self._detector.closed.set()
        self._server.stop(0).wait()
        self._workers.shutdown()
        for thread in self._threads:
            if thread is not threading.current_thread():
                thread.join(timeout=1.0)

    def _patience(self, link: Link) -> float:
        """How long (seconds) a peer may take to say that it has our farewell.

        Where lines may come back, one on which nothing comes any more is only seen to be dead after a part of the
        timeout; until then the peer would find nobody whom to ask for what it has not got.
        """
        may_be_dead = link.window is not None and not link.departed and not self._detector.failed.is_set()
        return self.timeout if may_be_dead else min(FAREWELL_SECONDS, self.timeout)

    def _may_answer(self, link: Link) -> bool:
        """Whether our farewell may still get to the peer. One that is about to connect is to learn why we go, too."""
        if link.seen.is_set() or link.ended.is_set():
            return False
        broken = link.may_come_back(time.monotonic())
        return link.open or broken or (self._left_early and not link.opened.is_set())

    # threads

    def _start(self, target: Callable[..., None], name: str, *arguments: Any) -> None:
        thread = threading.Thread(target=target, name=f"{self.name}: {name}", args=arguments, daemon=True)
        thread.start()
        self._threads.append(thread)

    def _read(self, link: Link, address: str) -> None:
        """Asks the peer for its stream and takes in all that comes."""
        trusted = self._trusted(link, address)
        if trusted is None:
            return
        options = [*_CHANNEL_OPTIONS, ("grpc.ssl_target_name_override", link.peer)]
        credentials = channel_credentials(self._credentials, trusted)
        link.dial = partial(grpc.secure_channel, address, credentials, options=options)
        link.channel = link.dial()
        try:
            if self._dial(link, address, link.channel):
                self._read_on(link)
        finally:
            link.channel.close()

    def _trusted(self, link: Link, address: str) -> bytes | None:
        """The certificate to trust at the peer's address: the peer's own once it is seen, where it is agreed on, else
        the authority's. None once the session has failed."""
        if not self._introductions.by_fingerprint:
            return self._credentials.authority
        while not self._detector.failed.is_set():
            try:
                shown = shown_certificate(address, min(SHOW_SECONDS, self.timeout))
                self._introductions.check_fingerprint(link.peer, fingerprint(shown))
            except ProtocolError as error:
                self._detector.refuse(
                    link, f"{error}; what answers at {address} is not {link.peer}, or it has a new certificate"
                )
            except (OSError, ValueError) as error:
                link.problem = printable(f"it shows no certificate ({error})")
            else:
                link.problem = ""
                return shown
            self._detector.failed.wait(0.05)
        return None

    def _read_on(self, link: Link) -> None:
        """Takes in what comes while no receive does: heartbeats, farewells, and what is early."""
        while not link.ended.wait(IDLE_SECONDS):
            receives_do = link.direct and time.monotonic() - link.last_heard < IDLE_SECONDS
            if receives_do or not link.reading.acquire(blocking=False):
                continue
            try:
                while self._take_in(link) and not (link.direct and link.followed):
                    pass
            finally:
                link.release_reading()

    def _take_in(self, link: Link) -> bool:
        """Takes in one frame, waiting for it; False once there are no more. The caller holds ``link.reading``."""
        reason, altered = "its connection has ended", False
        try:
            control = link.accept(next(link.frames))
            if control is not None:
                self._take_control(link, control)
            return True
        except StopIteration:
            pass
        except grpc.RpcError as error:
            reason, altered = f"its connection has ended ({_describe(error)})", was_altered(error)
            if error.code() == grpc.StatusCode.RESOURCE_EXHAUSTED:
                self._detector.misbehaved(link, f"a frame larger than {MAX_FRAME_BYTES} bytes")
        except ProtocolError as error:
            self._detector.misbehaved(link, str(error))
        except BaseException:  # an interrupt, in the middle of a frame: nobody can read on
            link.ended.set()
            raise
        if link.window is not None and self._detector.connected:
            if self._comes_back(link):
                return True
            reason = f"{reason}, and did not come back within {link.reconnect:g} s"
        link.ended.set()
        if altered and self._detector.due(link):
            self._detector.refuse(
                link, f"what comes from {link.peer} was changed on its way, and TLS has refused it: {reason}"
            )
        else:
            self._detector.suspect(link, reason)
        return False

    def _comes_back(self, link: Link) -> bool:
        """Wait for a broken line; neither silence nor waiting counts from before it was there again."""
        own, first = self._introductions.own(link.peer), self._introductions.first(link.peer)
        assert first is not None  # the link was open
        try:
            if not comes_back(link, own, first, self._detector.failed.is_set, self._detector.failed.wait):
                return False
        except ProtocolError as error:
            self._detector.misbehaved(link, str(error))
            return False
        self._detector.is_back(link)
        return True

    def _dial(self, link: Link, address: str, channel: grpc.Channel) -> bool:
        """Asks for the peer's stream until it is there and has said hello. False once the session has failed."""
        while not self._detector.failed.is_set():
            try:
                link.call = link.frames = open_stream(channel, self._introductions.own(link.peer).encode())
                hello = Hello.decode(next(link.frames))
            except ProtocolError as error:
                self._detector.misbehaved(link, str(error))
            except StopIteration:
                link.problem = "it ended the connection"
            except grpc.RpcError as error:
                problem = _describe(error)
                if _untrusted(error):
                    self._detector.refuse(
                        link, f"what answers at {address} does not prove to be {link.peer}: {problem}"
                    )
                elif error.code() not in _NOT_THERE:
                    self._detector.refuse(link, f"{link.peer} at {address} refuses this party: {problem}")
                elif not link.problem or "refused" not in problem:  # a peer that gave up on us says so only once
                    link.problem = problem
            else:
                self._introductions.note(link, STREAM, hello)
                return True
            self._detector.failed.wait(0.05)
        return False

    def _take_control(self, link: Link, frame: Frame) -> None:
        fields = decode_control(frame.payload)
        if frame.kind == Kind.HEARTBEAT:
            waits = fields.get("waits", {})
            if link.window is not None:
                link.window.acknowledge(fields.get("received", 0))
            if not isinstance(waits, dict) or not all(isinstance(age, int | float) for age in waits.values()):
                raise ProtocolError("a heartbeat without times")
            link.waits = waits
        elif frame.kind == Kind.SEEN:
            link.seen.set()
        elif frame.kind == Kind.GOODBYE:
            link.departed = True
            link.farewells.put((Kind.SEEN, b"{}"))
            link.wake_receivers()
        elif frame.kind == Kind.ABORT:
            link.farewells.put((Kind.SEEN, b"{}"))
            reason, culprit = printable(str(fields.get("reason"))), str(fields.get("culprit"))
            self._detector.peer_aborts(link, reason, culprit, fields.get("exit_code"))

    def _mind(self, link: Link) -> None:
        """Sends heartbeats and farewells to one peer."""
        interval = min(HEARTBEAT_SECONDS, self.timeout / 5)
        if link.window is not None:
            interval = min(interval, ACKNOWLEDGE_SECONDS)
        while True:
            try:
                farewell = link.farewells.get(timeout=interval)
            except Empty:
                heartbeat = encode_control({"waits": self._detector.waits(time.monotonic()), "received": link.accepted})
                # a message that holds the link shows as well that this party is alive
                link.send_control(Kind.HEARTBEAT, heartbeat, wait=0)
            else:
                if farewell is None:
                    return
                link.opened.wait(FAREWELL_SECONDS)
                link.send_control(*farewell, wait=FAREWELL_SECONDS / 2)
                link.told.set()


_NOT_THERE = (grpc.StatusCode.UNAVAILABLE, grpc.StatusCode.DEADLINE_EXCEEDED)

_UNTRUSTED_SIGNS = (
    "CERTIFICATE_VERIFY_FAILED",  # unknown issuer, expired, not yet valid
    "Hostname Verification Check failed",  # the certificate of somebody else
    "Peer name",  # the same in older versions of gRPC
    "HANDSHAKE_FAILURE",  # TLS 1.2 only
)


def _flat(parts: tuple[Buffer, ...]) -> Iterator[memoryview]:
    """The parts as views of bytes. ``cast`` refuses empty shapes, and there is nothing to send in them."""
    for part in parts:
        view = memoryview(part)
        if view.nbytes:
            yield view.cast("B")


def _describe(error: grpc.RpcError) -> str:
    details = (error.details() or "").removeprefix("failed to connect to all addresses; last error: ")
    return f"{error.code().name.lower()}: {printable(details)}"


def _untrusted(error: grpc.RpcError) -> bool:
    """Whether the peer's certificate, or its TLS version, was refused: trying again would not help."""
    details = error.details() or ""
    return any(sign in details for sign in _UNTRUSTED_SIGNS)
