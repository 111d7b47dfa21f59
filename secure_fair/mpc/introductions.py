"""Who is at the other end of each line: what a peer says of itself, against its certificate and what was agreed."""

from __future__ import annotations

import secrets
from collections.abc import Iterable, Mapping

from secure_fair.errors import ProtocolError
from secure_fair.mpc.failure_detector import FailureDetector
from secure_fair.mpc.frames import NONCE_BYTES, Hello, session_id
from secure_fair.mpc.link import Link

REQUEST, STREAM = "request", "stream"  # where a peer says who it is: in its request for our stream, and before its own


class Introductions:
    """One party's hellos to its peers, and theirs; a link begins with the first that a peer says of itself."""

    def __init__(self, detector: FailureDetector) -> None:
        self._detector = detector
        self._own: dict[str, Hello] = {}
        self._presented: dict[str, Hello] = {}  # what each peer has said of itself first
        self._good: set[tuple[str, str]] = set()  # (peer, where) of a hello that was found good
        self._fingerprints: dict[str, str] | None = None  # of each peer's certificate, where they are agreed on

    def expect(
        self, peers: Iterable[str], agreement: Mapping[str, str], fingerprints: Mapping[str, str] | None
    ) -> None:
        """Expect these peers, with this agreement, and with these certificates where they are agreed on."""
        name = self._detector.name
        self._own = {peer: Hello(name, peer, secrets.token_bytes(NONCE_BYTES), dict(agreement)) for peer in peers}
        self._fingerprints = None if fingerprints is None else dict(fingerprints)

    @property
    def by_fingerprint(self) -> bool:
        """Whether certificates are agreed on; else the authority's word is taken for a peer's name."""
        return self._fingerprints is not None

    @property
    def missing(self) -> list[str]:
        """The peers that have not been met at both ends; read it under the detector's lock."""
        return [peer for peer in self._own if not all((peer, where) in self._good for where in (REQUEST, STREAM))]

    def own(self, peer: str) -> Hello:
        """This party's hello to a peer."""
        return self._own[peer]

    def first(self, peer: str) -> Hello | None:
        """The first that a peer has said of itself."""
        return self._presented.get(peer)

    def link_of(self, name: str, hello: Hello) -> Link:
        """The link of the peer whose certificate is ``name``'s; ProtocolError unless it says so itself and means us."""
        if hello.sender != name:
            raise ProtocolError(f"the certificate is {name}'s, the hello claims to be {hello.sender}'s")
        if hello.receiver != self._detector.name:
            raise ProtocolError(f"{hello.receiver} was called; this is {self._detector.name}")
        if name not in self._detector.links:
            raise ProtocolError(f"{name} is not a party of this session")
        return self._detector.links[name]

    def check_fingerprint(self, peer: str, shown: str) -> None:
        """ProtocolError unless the peer's certificate is the one that was agreed on, where one was."""
        agreed = shown if self._fingerprints is None else self._fingerprints[peer]
        if shown != agreed:
            raise ProtocolError(
                f"{peer} shows another certificate than the agreed one: its fingerprint is {shown}, agreed is {agreed}"
            )

    def note(self, link: Link, where: str, hello: Hello) -> None:
        """Take note of what the peer says of itself; the session fails where it is no good."""
        own = self._own[link.peer]
        with self._detector.changed:
            first = self._presented.setdefault(link.peer, hello)
            if first is hello:
                link.begin(session_id({own.sender: own.nonce, link.peer: hello.nonce}))
        try:
            if (hello.sender, hello.receiver) != (link.peer, own.sender):
                raise ProtocolError(f"a hello from {hello.sender} to {hello.receiver}")
            if first != hello:
                raise ProtocolError("two connections with different hellos")
        except ProtocolError as error:
            self._detector.misbehaved(link, str(error))
            return
        try:
            hello.check_agreement(own.agreement)
        except ProtocolError as error:
            message = str(error)
            self._detector.fail(lambda: ProtocolError(message), message, own.sender, exit_code=ProtocolError.exit_code)
            return
        with self._detector.changed:
            self._good.add((link.peer, where))
            self._detector.changed.notify_all()
