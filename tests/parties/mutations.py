"""Mutated messages and frames: bytes of every kind that a party takes in, and readers of them as the parties read.

Half of the mutations change bytes, half change the meaning: a value anywhere in a message becomes one of those that no
peer should send. A reader may refuse by the program's own errors; whatever else it raises is a finding.
"""

from __future__ import annotations

import copy
import json
import random
import struct
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np
import torch

from secure_fair.errors import ProtocolError, Refusal
from secure_fair.mpc import menu
from secure_fair.mpc.frames import FrameReader, FrameWriter, Hello, Kind, encode_control
from secure_fair.mpc.link import Link, LinkSettings
from secure_fair.mpc.liveness import find_circle
from secure_fair.mpc.requests import decode, encode
from secure_fair.mpc.transport import Network
from secure_fair.operations import requests
from secure_fair.operations.common.adapters import flatten_adapter, shapes_of
from secure_fair.operations.common.ask import Ask
from secure_fair.operations.common.state import PublicFacts
from secure_fair.parties import messages
from secure_fair.parties.messages import (
    Attributes,
    Begin,
    Bound,
    Committed,
    Ended,
    Enrol,
    Finished,
    Fits,
    Granted,
    Held,
    Known,
    Message,
    Newest,
    Offer,
    Opened,
    Own,
    Proceed,
    Refused,
    Remember,
    Sealed,
    Shown,
    Train,
)
from secure_fair.parties.secure_auditors import check_receipts
from secure_fair.privacy.entries import Receipt, records_hash
from secure_fair.privacy.request import Request
from tests.mpc.harness import credentials

ENROLLED, TABLE, SESSION, NAMES = 24, "0" * 64, b"s" * 16, ("north", "south")
IDS = [f"{number:032x}" for number in range(ENROLLED)]
EVERYBODY = np.arange(ENROLLED, dtype=np.int64)
HEAD = Newest(entries=7, hash="1" * 64)
ADAPTER = {"block": (torch.ones(2, 3), torch.ones(3, 2))}
FACTS = PublicFacts("developer", {"sex": 2, "race": 3}, {}, ENROLLED, False, {"sex": shapes_of(ADAPTER)})
WANTED = Request("moment", "sex", EVERYBODY, "developer", (4, 1), groups=2)
RECEIPT = Receipt("run", 1, "auditor", "moment", "sex", records_hash(TABLE, EVERYBODY), ENROLLED, (4, 1), 5.0)

NASTY: list[Any] = [
    *(-1, 0, 1, 2**31, 2**63, -(2**63), 2**64, 10**40, 1.5, -0.0, 1e308, float("nan"), float("inf"), float("-inf")),
    *("", "x" * 5000, "\x00", "\ud800", "../..", "\u202e", "ask", None, True, False, [], {}, [[]], {"": {}}),
    *([[-1, 3]], [-5], [2**40, 2**40], {"block": [[-1, 3], [3, -1]]}, {"kind": "granted"}, ["north"] * 70),
]


@dataclass(frozen=True)
class Target:
    """A message in order and who reads it."""

    good: bytes
    read: Callable[[bytes], object]


def packed(message: Message, raw: bytes = b"") -> bytes:
    head = message.model_dump_json().encode()
    return struct.pack("<I", len(head)) + head + raw


def read_message(data: bytes) -> None:
    """What a party does with a message, whichever it is, before it computes anything."""
    message, raw = messages.decode("peer", data)
    match message:
        case Enrol():
            messages.unpack_ids(raw, message.training + message.test)
        case Offer():
            messages.unpack_ids(raw, message.count)
        case Known():
            messages.unpack_parts(raw, ["auditor"], ENROLLED)
        case Held() | Attributes():
            parts = messages.unpack_parts(raw, NAMES, ENROLLED)
            messages.check_parts(parts, {"sex": NAMES, "race": ("clinic",)})
        case Ask():
            requests(message, messages.unpack_records(raw), FACTS)
        case Granted():
            check_receipts(message.receipts, [WANTED], run="run", auditor="auditor", table=TABLE)
        case Train():
            messages.unpack_adapter(raw, message.shapes)
        case Opened():
            messages.unpack_numbers(raw, 4)


def good_messages() -> list[bytes]:
    """One of each kind, with its raw part."""
    halves = np.arange(ENROLLED) < 9
    parts = messages.pack_part(halves) + messages.pack_part(~halves)
    adapters = {"sex": shapes_of(ADAPTER)}
    ids, records = messages.pack_ids(IDS), messages.pack_records(EVERYBODY)
    nobody = messages.pack_records(EVERYBODY[:0])
    return [
        packed(Enrol(run="run", training=16, test=8), ids),
        packed(Offer(count=ENROLLED), ids),
        packed(Bound(commitment="1" * 64, model={"adapter/a.b": "2" * 64})),
        packed(Committed(table="1" * 64, coin="2" * 64)),
        packed(Known(others=3), messages.pack_part(halves)),
        packed(Held(attributes={"sex": ["f", "m"]}, adapters=adapters), parts),
        packed(Attributes(groups={"sex": ["f", "m"], "race": ["a", "b", "c"]}, adapters=adapters), parts),
        packed(Ask(operation="moment", attribute="sex", width=4), records),
        packed(Ask(operation="group_counts", attribute="race", width=2, query="q"), records),
        packed(Ask(operation="penalty_rows", attribute="sex", width=1), records),
        packed(Ask(operation="orthogonality", attribute="sex", shapes=[(2, 3)]), nobody),
        packed(Ask(operation="adversary_rows", attribute="sex", width=4), records),
        packed(Granted(receipts=[RECEIPT], check=True, newest=HEAD)),
        packed(Proceed(go=True, checkers=["north"], step_sigma=1.5)),
        packed(Refused(reason="no", budget=True)),
        packed(
            Train(attribute="sex", width=4, shapes=shapes_of(ADAPTER)),
            flatten_adapter(ADAPTER).numpy().astype("<f8").tobytes(),
        ),
        packed(Opened(), np.ones(4).astype("<f8").tobytes()),
        packed(Own(fingerprint="2" * 64)),
        packed(Sealed(certificate="PEM"), b"signature"),
        *(
            packed(made)
            for made in (Fits(newest=HEAD), Begin(newest=HEAD), Finished(newest=HEAD), HEAD, Ended(run="r"))
        ),
        *(packed(made) for made in (Remember(entries=4), Shown(hash=""))),
    ]


def good_requests() -> list[bytes]:
    """Requests to the dealer."""
    fresh = menu.Fresh((3, 4))
    held = menu.Reused(1, (8, 4), (0, 2), False, (0,))
    items: list[menu.Item] = [
        menu.Product("matmul", fresh, menu.Fresh((4, 2))),
        menu.Product("mul", fresh, fresh),
        menu.Product("matmul", held, menu.Fresh((4, 2))),
        menu.And((3,), (3,)),
        menu.Square((5,)),
        menu.Wraps((2, 2)),
        menu.Bit((4,)),
        menu.Digits(4),
        menu.Conjunctions(4, 3, (3, 6, 7)),
        menu.Keys(1, (4,), 0, (1,), True),
    ]
    return [encode(items), *(encode([item]) for item in items)]


def good_frames() -> list[bytes]:
    """First frames on a channel, data and control."""
    writer, control = FrameWriter(SESSION), partial(FrameWriter(SESSION).message, "")
    heartbeat = encode_control({"waits": {"auditor": 0.5}})
    abort = encode_control({"reason": "lost", "culprit": "auditor", "exit_code": 4})
    return [
        *writer.message("control", b"payload"),
        *control(heartbeat, kind=Kind.HEARTBEAT),
        *FrameWriter(SESSION).message("", abort, kind=Kind.ABORT),
        *FrameWriter(SESSION).message("", b"{}", kind=Kind.GOODBYE),
    ]


class Frames:
    """A network that takes in frames of one peer, and connects with nobody."""

    def __init__(self) -> None:
        self.network = Network(credentials()["developer"])

    def read(self, frame: bytes) -> None:
        """What the thread that reads a stream does with a frame."""
        link = Link("auditor", LinkSettings())
        link._reader = FrameReader(SESSION)
        control = link.accept(frame)
        if control is not None:
            self.network._take_control(link, control)
            find_circle("developer", {"developer": {"auditor": 9.0}, "auditor": link.waits}, 1.0)
            self.network._detector._suspicions.clear()
            self.network._detector.failure = None

    def close(self) -> None:
        self.network.close()


def read_hello(data: bytes) -> None:
    hello = Hello.decode(data)
    hello.check_agreement({"scenario": "a", "version": "1"})


def targets(frames: Frames) -> list[Target]:
    """Everything that is read from peers before anything is computed with it."""
    hello = Hello("developer", "auditor", b"n" * 32, {"scenario": "a", "version": "1"}).encode()
    return [
        *(Target(good, read_message) for good in good_messages()),
        *(Target(good, decode) for good in good_requests()),
        *(Target(good, frames.read) for good in good_frames()),
        Target(hello, read_hello),
    ]


# --- mutations --------------------------------------------------------------------------------------------------------


def mutated(good: bytes, chance: random.Random) -> bytes:
    """Another message: changed bytes, or another meaning in the same form."""
    place = good.find(b"{") if b"{" in good[:80] else good.find(b"[")
    if place >= 0 and chance.random() < 0.6:
        made = _other_meaning(good, place, chance)
        if made is not None:
            return made
    return _other_bytes(good, chance)


def _other_meaning(good: bytes, place: int, chance: random.Random) -> bytes | None:
    """The JSON that begins at ``place`` with a value somewhere in it replaced, lengths before it corrected."""
    try:
        tree, end = json.JSONDecoder().raw_decode(good[place:].decode("latin1"))
    except ValueError:
        return None
    text = json.dumps(_changed(tree, chance)).encode("utf-8", "surrogatepass")
    if chance.random() < 0.1:
        digits, deep = b"9" * 5000, b"[" * 3000 + b"]" * 3000
        text = text.replace(b"1", chance.choice([digits, deep]), 1)
    before, after = good[:place], good[place + end :]
    if place == 4:
        before = struct.pack("<I", len(text))
    elif place > 4:  # a frame: total and piece have the length of what they carry
        head = bytearray(before)
        head[26:34] = struct.pack("!Q", len(text))
        head[42:46] = struct.pack("!I", len(text))
        before = bytes(head)
    return before + text + after


def _changed(tree: Any, chance: random.Random) -> Any:
    tree = copy.deepcopy(tree)
    places: list[tuple[Any, Any]] = []

    def collect(node: Any) -> None:
        for key in node if isinstance(node, dict) else range(len(node)) if isinstance(node, list) else ():
            places.append((node, key))
            collect(node[key])

    collect(tree)
    if not places or chance.random() < 0.03:
        return chance.choice(NASTY)
    node, key = chance.choice(places)
    action = chance.random()
    if action < 0.75:
        node[key] = copy.deepcopy(chance.choice(NASTY))
    elif action < 0.85:
        del node[key]
    elif isinstance(node, dict):
        node[chance.choice(["", "kind", "x" * 200, "\ud800", "hash"])] = copy.deepcopy(chance.choice(NASTY))
    else:
        node.extend(copy.deepcopy(node) * chance.randint(1, 20))
    return tree


def _other_bytes(good: bytes, chance: random.Random) -> bytes:
    data = bytearray(good)
    for _ in range(chance.randint(1, 4)):
        at = chance.randrange(len(data) + 1)
        match chance.randrange(5):
            case 0 if at < len(data):
                data[at] ^= chance.randint(1, 255)
            case 1:
                del data[at:]
            case 2:
                data[at:at] = chance.randbytes(chance.randint(1, 16))
            case 3:
                del data[at : at + chance.randint(1, 16)]
            case _:
                data[at : at + 8] = chance.choice([b"\xff" * 8, b"\0" * 8, struct.pack("<d", float("nan"))])
    return bytes(data)


def fuzz(count: int, seed: int) -> tuple[Counter[str], list[str]]:
    """How so many mutations were read, by outcome, and those that raised what is no error of the program's own."""
    chance, found, outcomes = random.Random(seed), list[str](), Counter[str]()
    frames = Frames()
    everything = targets(frames)
    try:
        for target in everything:
            target.read(target.good)
        for number in range(count):
            target = everything[number % len(everything)]
            data = mutated(target.good, chance)
            try:
                target.read(data)
                outcomes["read"] += 1
            except (ProtocolError, Refusal) as error:
                outcomes[type(error).__name__] += 1
            except Exception as error:
                outcomes["not typed"] += 1
                found.append(f"{type(error).__name__}: {error} from {data[:300]!r}")
    finally:
        frames.close()
    return outcomes, found
