"""Frames of a link that are replayed, dropped, swapped, cut, taken from another session or altered in their header.

Payloads are guarded by TLS, which a test of the transport tampers with; what is tried here is what a peer can do, or
whoever is between the ends of two connections.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator

import numpy as np

from secure_fair.attacks.common.attack import Attack, Context, Outcome
from secure_fair.errors import ProtocolError
from secure_fair.mpc.frames import SESSION_BYTES, FrameReader, FrameWriter

MESSAGES = 12
HEADER = struct.Struct("!16sBBQQQI")
FLIPS = 120
CHANNELS = ("control", "compute")
Stream = list[bytes]


class AlteredFrames(Attack):
    """A change is won where a reader takes in other messages than were sent, in whole and without a complaint."""

    claim = "no frame can be replayed, left out, reordered, cut or moved to another session or channel"
    view = "outsider"
    needs = "a place on the way, inside the encryption"
    twin = "a reader that takes a frame's word for what it is"

    def run(self, context: Context) -> Outcome:
        """Each change to a stream of its own."""
        generator = context.generator("altered_frames")
        session, other = (generator.bytes(SESSION_BYTES) for _ in range(2))
        stream, foreign = _stream(session, generator), _stream(other, generator)
        changed = list(_changes(stream, foreign, generator))
        told = _believed(stream)
        ours = sum(_checked(session, one) not in (None, told[: len(one)]) for one in changed)
        twin = sum(_believed(one) != told[: len(one)] for one in changed)
        return Outcome.counted(ours, twin, len(changed), most=0.0)


def _stream(session: bytes, generator: np.random.Generator) -> Stream:
    writer = FrameWriter(session)
    return [
        frame
        for number in range(MESSAGES)
        for frame in writer.message(CHANNELS[number % 2], generator.bytes(int(generator.integers(8, 64))))
    ]


def _changes(stream: Stream, foreign: Stream, generator: np.random.Generator) -> Iterator[Stream]:
    """Every change; a stream that is merely cut off at its end is a loss that the link notices by itself."""
    for place, frame in enumerate(stream):
        before, after = stream[:place], stream[place + 1 :]
        yield [*before, frame, frame, *after]
        yield [*before, foreign[place], *after]
        yield [*before, frame[:-1], *after]
        if len(after) > 1:
            yield [*before, *after]
            yield [*before, after[1], after[0], frame, *after[2:]]
    for _ in range(FLIPS):
        place, at = int(generator.integers(len(stream))), int(generator.integers(HEADER.size))
        yield [*stream[:place], _flipped(stream[place], at, int(generator.integers(8))), *stream[place + 1 :]]


def _flipped(frame: bytes, place: int, bit: int) -> bytes:
    changed = bytearray(frame)
    changed[place] ^= 1 << bit
    return bytes(changed)


def _checked(session: bytes, stream: Stream) -> list[tuple[str, bytes]] | None:
    """The messages that the program takes in; None where it complains."""
    reader, taken = FrameReader(session), []
    try:
        for frame in stream:
            found = reader.accept(frame)
            taken.append((found.channel, bytes(found.payload)))
    except ProtocolError:
        return None
    return taken


def _believed(stream: Stream) -> list[tuple[str, bytes]]:
    """The messages by what the frames say of themselves."""
    taken = []
    for frame in stream:
        _, _, length, *_ = HEADER.unpack_from(frame)
        name = frame[HEADER.size : HEADER.size + length]
        taken.append((name.decode("ascii", errors="replace"), frame[HEADER.size + length :]))
    return taken


ATTACK = AlteredFrames()
