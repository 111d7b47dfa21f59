"""The frames that parties exchange: their layout, and the checks that a received frame has to pass.

A message of any size on a channel is cut into frames of at most ``CHUNK`` payload bytes. Each frame names the session,
its channel, its place in the channel (a counter), the whole message's length and the payload's place in it, so that a
frame that is replayed, comes from another session, was left out, altered in its header, cut or put out of order is an
error. TLS keeps strangers from touching frames; the checks here catch a peer that is out of step or does not keep to
the protocol.
"""

from __future__ import annotations

import hashlib
import json
import re
import struct
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from enum import IntEnum
from typing import Any, NamedTuple

from secure_fair.errors import ProtocolError, UsageError

SERVICE = "secure_fair.Link"
METHOD = f"/{SERVICE}/Open"
"""By which a party asks for a peer's stream of frames."""

NONCE_BYTES = 32
SESSION_BYTES = 16
CHUNK = 1 << 20
"""Largest payload of one frame, in bytes: little enough to take in before its header has been looked at."""

CONTROL = ""
"""The channel of heartbeats, farewells and the like. User channels have names."""

MAX_CHANNELS = 256
MAX_CONTROL_BYTES = 1 << 16

_HEADER = struct.Struct(
    "!16sBBQQQI"
)  # session, kind, length of channel name, counter, message length, offset, payload length
_CHANNEL_NAME = re.compile(r"[\x21-\x7e]{1,100}")

MAX_FRAME_BYTES = _HEADER.size + 100 + CHUNK


class Kind(IntEnum):
    """The purpose of a frame."""

    DATA = 1
    HEARTBEAT = 2
    ABORT = 3
    GOODBYE = 4
    SEEN = 5  # answers ABORT and GOODBYE: everything before them has arrived


class Frame(NamedTuple):
    """A frame that has passed the checks. ``payload`` is a view of the bytes received."""

    kind: Kind
    channel: str
    message_length: int
    offset: int
    payload: memoryview


def session_id(nonces: Mapping[str, bytes]) -> bytes:
    """The session of two parties from both sides' fresh nonces (32 bytes each), keyed by party name; 16 bytes."""
    digest = hashlib.sha256(b"secure_fair session")
    for name in sorted(nonces):
        encoded = name.encode()
        digest.update(len(encoded).to_bytes(2, "big") + encoded + nonces[name])
    return digest.digest()[:SESSION_BYTES]


def check_channel(channel: str) -> None:
    """UsageError unless ``channel`` can name a channel: 1 to 100 printable ASCII characters without spaces."""
    if not _CHANNEL_NAME.fullmatch(channel):
        raise UsageError(f"channel name {channel!r}: use 1 to 100 printable ASCII characters without spaces")


class FrameWriter:
    """Numbers the frames that one party sends to one peer. Not thread-safe: the caller holds the link's lock."""

    def __init__(self, session: bytes) -> None:
        self._session = session
        self._counters: dict[str, int] = {}

    def message(self, channel: str, *parts: bytes | memoryview, kind: Kind = Kind.DATA) -> Iterator[bytes]:
        """The frames of one message, the parts being concatenated. Every part is a flat view of bytes."""
        name = channel.encode()
        total = sum(len(part) for part in parts)
        counter = self._counters.get(channel, 0)
        if total <= CHUNK:
            self._counters[channel] = counter + 1
            yield b"".join(
                (_HEADER.pack(self._session, kind, len(name), counter, total, 0, total), name, *parts),
            )
            return
        offset = 0
        for pieces in _chunks(parts):
            length = sum(len(piece) for piece in pieces)
            self._counters[channel] = counter + 1
            yield b"".join(
                (_HEADER.pack(self._session, kind, len(name), counter, total, offset, length), name, *pieces),
            )
            counter += 1
            offset += length


def _chunks(parts: tuple[bytes | memoryview, ...]) -> Iterator[list[memoryview]]:
    """Cuts the concatenation of ``parts`` into runs of ``CHUNK`` bytes without copying."""
    pieces: list[memoryview] = []
    room = CHUNK
    for part in parts:
        view = memoryview(part)
        while len(view):
            piece = view[:room]
            pieces.append(piece)
            view = view[len(piece) :]
            room -= len(piece)
            if not room:
                yield pieces
                pieces, room = [], CHUNK
    if pieces:
        yield pieces


@dataclass(slots=True)
class _Progress:
    """How far one channel has come: the next counter, and the message in the middle of which it is."""

    counter: int = 0
    message_length: int = 0
    offset: int = 0


class FrameReader:
    """Checks the frames that one peer sends. One thread reads."""

    def __init__(self, session: bytes) -> None:
        self._session = session
        self._channels: dict[bytes, tuple[str, _Progress]] = {}

    def accept(self, frame: bytes) -> Frame:
        """The frame's contents, or ProtocolError saying what does not fit."""
        if len(frame) < _HEADER.size:
            raise ProtocolError(f"a frame of {len(frame)} bytes is shorter than its header of {_HEADER.size}")
        session, kind, name_length, counter, message_length, offset, length = _HEADER.unpack_from(frame)
        start = _HEADER.size + name_length
        if session != self._session:
            raise ProtocolError("a frame of another session: replayed, or meant for another run")
        if length > CHUNK or len(frame) != start + length:
            raise ProtocolError(
                f"a frame states {length} bytes of payload and carries {len(frame) - start}; the bound is {CHUNK}"
            )
        name = frame[_HEADER.size : start]
        channel, progress = self._channels.get(name) or self._new_channel(name)
        if counter != progress.counter:
            raise ProtocolError(
                f"frame {counter} on channel {channel!r} where frame {progress.counter} was due: "
                "replayed, lost or reordered"
            )
        if offset != progress.offset or (offset and message_length != progress.message_length):
            raise ProtocolError(
                f"a piece at byte {offset} of a message of {message_length} bytes on channel {channel!r}, "
                f"where byte {progress.offset} of {progress.message_length} was due"
            )
        end = offset + length
        if end > message_length or (length == 0 and message_length):
            raise ProtocolError(
                f"a piece of {length} bytes at byte {offset} does not fit a message of {message_length} bytes"
            )
        meaning = _KINDS.get(kind)
        if meaning is None or (meaning is Kind.DATA) == (channel == CONTROL):
            raise ProtocolError(f"a frame of kind {kind} on channel {channel!r}")
        if meaning is not Kind.DATA and message_length > MAX_CONTROL_BYTES:
            raise ProtocolError(f"a control message of {message_length} bytes; the bound is {MAX_CONTROL_BYTES}")
        progress.counter = counter + 1
        progress.message_length = message_length
        progress.offset = 0 if end == message_length else end
        return Frame(meaning, channel, message_length, offset, memoryview(frame)[start:])

    def _new_channel(self, name: bytes) -> tuple[str, _Progress]:
        channel = name.decode("ascii", errors="replace")
        if channel != CONTROL and not _CHANNEL_NAME.fullmatch(channel):
            raise ProtocolError(f"a frame on a channel with the impossible name {channel!r}")
        if len(self._channels) >= MAX_CHANNELS:
            raise ProtocolError(f"more than {MAX_CHANNELS} channels in use by one peer")
        return self._channels.setdefault(name, (channel, _Progress()))


_KINDS = {int(kind): kind for kind in Kind}


def encode_control(fields: Mapping[str, Any]) -> bytes:
    """A control message: a flat object of strings, numbers and the like, as JSON."""
    return json.dumps(fields, separators=(",", ":")).encode()


def decode_control(payload: bytes | memoryview) -> dict[str, Any]:
    """The fields of a control message, or ProtocolError."""
    if len(payload) > MAX_CONTROL_BYTES:
        raise ProtocolError(f"a control message of {len(payload)} bytes; the bound is {MAX_CONTROL_BYTES}")
    try:
        fields = json.loads(bytes(payload))
    except (ValueError, RecursionError) as error:
        raise ProtocolError(f"a control message that is not JSON: {error}") from error
    if not isinstance(fields, dict):
        raise ProtocolError("a control message that is not a JSON object")
    return fields


@dataclass(frozen=True)
class Hello:
    """How a party introduces itself to one peer, in both directions."""

    sender: str
    receiver: str
    nonce: bytes
    agreement: Mapping[str, str]

    def encode(self) -> bytes:
        """The hello as a control message."""
        return encode_control(
            {
                "from": self.sender,
                "to": self.receiver,
                "nonce": self.nonce.hex(),
                "agreement": dict(self.agreement),
            }
        )

    @staticmethod
    def decode(payload: bytes) -> Hello:
        """The hello, or ProtocolError where a field is missing or of another type."""
        fields = decode_control(payload)
        agreement = fields.get("agreement")
        texts = [fields.get("from"), fields.get("to"), fields.get("nonce")]
        if not all(isinstance(text, str) for text in texts) or not isinstance(agreement, dict):
            raise ProtocolError("a hello without sender, receiver, nonce and agreement")
        if not all(isinstance(value, str) for value in agreement.values()):
            raise ProtocolError("a hello whose agreement holds something else than texts")
        nonce = fields["nonce"]
        if not re.fullmatch(rf"[0-9a-f]{{{2 * NONCE_BYTES}}}", nonce):
            raise ProtocolError(f"a hello whose nonce is not {NONCE_BYTES} bytes")
        return Hello(fields["from"], fields["to"], bytes.fromhex(nonce), agreement)

    def check_agreement(self, ours: Mapping[str, str]) -> None:
        """ProtocolError naming the first key that differs, and both values."""
        for key in sorted({*ours, *self.agreement}):
            mine, theirs = ours.get(key), self.agreement.get(key)
            if mine != theirs:
                raise ProtocolError(
                    f"the parties do not agree on {key}: this party has {_value(mine)}, "
                    f"{self.sender} has {_value(theirs)}; start all of them from the same scenario and version"
                )


def _value(value: str | None) -> str:
    return "no value" if value is None else repr(value)
