"""Random deviations of a developer, each a function of its seed: one thing that it sends or commits to is another.

Of its messages: changed in a bit or a word, made of NaN, cut, swapped, dropped, repeated, replayed, sent to somebody
else. Of its values: rows too long, entries of the whole ring, strata that are none, a proof of something else.
"""

from __future__ import annotations

import json
import math
import struct
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from random import Random
from typing import Any

import numpy as np
import pytest
from torch import Tensor

from secure_fair.attacks.common.lies import slacks_modulo_p
from secure_fair.mpc import bounds, commitment, field
from secure_fair.mpc.authenticated import AuthenticatedTable, Integers, OwnersCheck
from secure_fair.mpc.field import PRIME
from secure_fair.mpc.transport import Network
from secure_fair.operations.common.operation import Operation
from secure_fair.parties import messages

OPERATIONS = ("moment", "group_counts", "evaluation_counts")
VALUES = "values"  # the place of a deviation that is no single message
PLACES = [
    *(("start", channel, number) for channel, count in (("keys", 2), ("dealer", 2)) for number in range(count)),
    *(("start", "control", number) for number in range(2)),  # Enrol, Attributes
    ("start", "commitment", 0),  # the seed with which memberships are tested
    *(("ask", "control", number) for number in (0, 0, 1, 1)),  # Ask, Proceed
    *(("ask", "commitment", number) for number in (0, 0, 1, 2, 3)),  # differences, slacks, digits, answer
    ("ask", "dealer", 0),
    ("end", "control", 0),
    *(3 * [(VALUES, "", 0)] + 5 * [(VALUES, "", 1)]),
]
"""When (before, within or after a request), on which channel, and which message there; some more often than others."""

Sent = list[tuple[str, str, bytes]]  # to whom, on which channel, what


@dataclass(frozen=True)
class Deviation:
    """What the developer asks for, and what it does otherwise in each request: place, kind of change, its seed."""

    seed: int
    operation: str
    place: tuple[str, str, int]
    change: str

    @classmethod
    def of(cls, seed: int) -> Deviation:
        """The deviation of this seed."""
        rng = Random(seed)
        operation, place = rng.choice(OPERATIONS), rng.choice(PLACES)
        if place[:2] == ("ask", "commitment") and operation != "moment":  # differences and an answer, nothing else
            place = (*place[:2], place[2] % 2)
        if place[0] == VALUES:
            steps = [name for name in STEPS if name != "another digit" or operation == "moment"]
            change = rng.choice([*INPUTS] if place[2] else steps)
        elif place[1] == "control" and rng.random() < 0.6:
            change = "another field"
        else:
            change = rng.choice([*CONTENT, *ORDER])
        return cls(seed, operation, place, change)

    def __str__(self) -> str:
        where = "" if self.place[0] == VALUES else f" {self.place[0]} {self.place[1]} {self.place[2]}"
        return f"{self.seed}: {self.operation},{where} {self.change}"


# --- the content of a message -----------------------------------------------------------------------------------------


def _words(change: Callable[[Random, np.ndarray], None]) -> Callable[[Random, bytes], bytes]:
    """A change of the message read as words of 64 bits; what is left over stays."""

    def changed(rng: Random, message: bytes) -> bytes:
        words = np.frombuffer(message[: len(message) // 8 * 8], dtype="<u8").copy()
        if len(words):
            with np.errstate(over="ignore"):
                change(rng, words)
        return words.tobytes() + message[len(words) * 8 :]

    return changed


def _flip(rng: Random, message: bytes) -> bytes:
    flipped = bytearray(message)
    for _ in range(rng.choice([1, 1, 2, 16])):
        at = rng.randrange(len(flipped))
        flipped[at] ^= 1 << rng.randrange(8)
    return bytes(flipped)


def _add(amount: Callable[[Random], int], everywhere: bool) -> Callable[[Random, bytes], bytes]:
    def change(rng: Random, words: np.ndarray) -> None:
        for at in range(len(words)) if everywhere else [rng.randrange(len(words))]:
            words[at] += np.uint64(amount(rng) % 2**64)

    return _words(change)


def _fill(numbers: Sequence[float | int]) -> Callable[[Random, bytes], bytes]:
    def change(rng: Random, words: np.ndarray) -> None:
        number = rng.choice(numbers)
        words[rng.randrange(len(words)) :] = np.array([number]).view(np.uint64)[0]

    return _words(change)


def _permute(rng: Random, words: np.ndarray) -> None:
    words[:] = words[rng.sample(range(len(words)), len(words))]


def _element(rng: Random) -> int:
    return rng.randrange(2**64)


def _power(rng: Random) -> int:
    return 1 << rng.randrange(64)


CONTENT: dict[str, Callable[[Random, bytes], bytes]] = {
    "bits the other way": _flip,
    "a ring element more in one word": _add(_element, False),
    "a ring element more in every word": _add(_element, True),
    "one more in one word": _add(lambda rng: 1, False),
    "a power of two more in one word": _add(_power, False),
    "p more in one word": _add(lambda rng: rng.choice([PRIME, -PRIME]), False),
    "zeros": lambda rng, message: bytes(len(message)),
    "random bytes": lambda rng, message: rng.randbytes(len(message)),
    "floats that are none": _fill([math.nan, math.inf, -math.inf]),
    "numbers out of range": _fill([2**63 - 1, -(2**63), PRIME, 1 << 60, -(1 << 60)]),
    "words in another order": _words(_permute),
    "too short": lambda rng, message: message[: -rng.choice([1, 8, len(message) // 2 + 1])],
    "too long": lambda rng, message: message + rng.randbytes(rng.choice([1, 8, 4096])),
    "nothing": lambda rng, message: b"",
}

FIELDS = [0, -1, 1, 2, 4, 2**31, 2**63, 10**30, 1e308, math.nan, None, "", "x" * 500, [], {}, True, False]
FIELDS += ["moment", "group_counts", "evaluation_counts", "penalty_rows", "adversary_rows", "male", "young"]
FIELDS += [["auditor"], ["nobody"], ["developer", "dealer"], [[3, 3]], {"male": ["no", "yes", "perhaps"]}]


def another_field(rng: Random, message: bytes) -> bytes:
    """A control message with a field changed, added or left out, or another raw part."""
    try:
        (length,) = struct.unpack_from("<I", message)
        fields, raw = json.loads(message[4 : 4 + length]), message[4 + length :]
    except (struct.error, ValueError):
        return _flip(rng, message)
    if raw and rng.random() < 0.4:
        raw = CONTENT[rng.choice([*CONTENT])](rng, raw)
    else:
        name = rng.choice([*fields, "more"])
        if rng.random() < 0.1:
            fields.pop(name, None)
        else:
            fields[name] = rng.choice(FIELDS)
    head = json.dumps(fields).encode()
    return struct.pack("<I", len(head)) + head + raw


# --- the order of messages --------------------------------------------------------------------------------------------

ORDER = ("dropped", "twice", "after the next", "an earlier one instead", "on another channel", "to somebody else")


class Tampering:
    """What stands between a deviating developer and its network; ``done`` counts the messages that it has changed."""

    def __init__(self, deviation: Deviation) -> None:
        self.deviation = deviation
        self.done = 0
        self._earlier: dict[str, list[bytes]] = {}
        self._held: Sent = []
        self.begin("start")

    def begin(self, phase: str) -> None:
        """Another request begins: the same is done in it again."""
        self._phase = phase
        self._counts: dict[str, int] = {}
        self._rng = Random(self.deviation.seed + 1)

    def install(self, patch: pytest.MonkeyPatch) -> None:
        """Have all that this process sends pass through here."""
        plainly = Network.send

        def send(network: Network, peer: str, channel: str, *parts: Any) -> None:
            message = b"".join(memoryview(part).tobytes() for part in parts)
            for whom, where, what in self._sent(peer, channel, message):
                plainly(network, whom, where, what)

        patch.setattr(Network, "send", send)

    def _sent(self, peer: str, channel: str, message: bytes) -> Sent:
        number = self._counts.get(channel, 0)
        self._counts[channel] = number + 1
        held, self._held = self._held, []
        honest = (peer, channel, message)
        if (self._phase, channel, number) == self.deviation.place:
            self.done += 1
            sent = self._deviating(honest)
        else:
            sent = [honest]
        self._earlier.setdefault(channel, []).append(message)
        return sent + held

    def _deviating(self, honest: tuple[str, str, bytes]) -> Sent:
        peer, channel, message = honest
        match self.deviation.change:
            case "dropped":
                return []
            case "twice":
                return [honest, honest]
            case "after the next":
                self._held = [honest]
                return []
            case "an earlier one instead":
                return [(peer, channel, self._rng.choice(self._earlier.get(channel, [b"\0" * len(message)])))]
            case "on another channel":
                return [(peer, self._rng.choice(["control", "commitment", "compute", "opening", "new"]), message)]
            case "to somebody else":
                return [("dealer" if peer == "auditor" else "auditor", channel, message)]
            case "another field":
                return [(peer, channel, another_field(self._rng, message))]
            case change:
                return [(peer, channel, CONTENT[change](self._rng, message))]


# --- what it commits to -----------------------------------------------------------------------------------------------

# changes of the integers (n, c) that the developer is committed to; ``unit`` is 1.0 in them, and row 0 is of the person
# whose attribute is looked for


def _long_rows(rng: Random, x: Integers, unit: int) -> None:
    x *= rng.choice([2, 4, 16, 256])


def _one_long_row(rng: Random, x: Integers, unit: int) -> None:
    x[0] = 0
    x[0, rng.randrange(x.shape[1])] = unit << rng.randrange(1, 40)


def _one_unit_too_long(rng: Random, x: Integers, unit: int) -> None:
    x[0] = 0
    x[0, :2] = unit, 1


def _negated_row(rng: Random, x: Integers, unit: int) -> None:
    x[0] *= -1


def _other_order(rng: Random, x: Integers, unit: int) -> None:
    x[:] = x[rng.sample(range(len(x)), len(x))]


def _nobody_else(rng: Random, x: Integers, unit: int) -> None:
    x[1:] = 0


def _small_numbers(rng: Random, x: Integers, unit: int) -> None:
    for _ in range(rng.choice([1, 5, 50])):
        x[rng.randrange(len(x)), rng.randrange(x.shape[1])] += rng.choice([-2, -1, 1, 2])


def _ring_elements(rng: Random, x: Integers, unit: int) -> None:
    for row in [0] if rng.random() < 0.5 else range(len(x)):
        x[row, rng.randrange(x.shape[1])] = rng.randrange(-(2**63), 2**63)


def _powers_of_two(rng: Random, x: Integers, unit: int) -> None:
    x[:, 0] = unit << (np.arange(len(x)) % 50)


def _nothing_at_all(rng: Random, x: Integers, unit: int) -> None:
    x[:] = 0


def _no_number(rng: Random, x: Integers, unit: int) -> None:
    x[0, 0] = -(2**63)  # what NaN is as an integer


def _two_rows_in_one(rng: Random, x: Integers, unit: int) -> None:
    x[0] += x[rng.randrange(1, len(x))]


INPUTS: dict[str, Callable[[Random, Integers, int], None]] = {
    "rows too long": _long_rows,
    "one row too long": _one_long_row,
    "one row a 256th too long": _one_unit_too_long,
    "a row negated": _negated_row,
    "rows in another order": _other_order,
    "a row for nobody else": _nobody_else,
    "small numbers more": _small_numbers,
    "ring elements for entries": _ring_elements,
    "powers of two": _powers_of_two,
    "no query at all": _nothing_at_all,
    "an entry that is no number": _no_number,
    "two rows in one": _two_rows_in_one,
}


def honest_slacks(rows: Integers) -> Integers:
    """Slacks as far as there are any: of rows too long, those of a row of norm 1."""
    with np.errstate(over="ignore"):
        left = bounds.LIMIT - np.square(rows.astype(np.float64)).sum(1)
    return bounds._three_squares()[np.clip(left, 0, bounds.LIMIT).astype(np.int64)]


def commit_to(patch: pytest.MonkeyPatch, deviation: Deviation) -> None:
    """Have the developer commit to something else, its own checks switched off."""
    change = INPUTS[deviation.change]
    rng = Random(deviation.seed + 2)

    def changed(integers: Integers, unit: int) -> Integers:
        with np.errstate(over="ignore"):
            change(Random(deviation.seed + 1), integers, unit)
        return integers

    def rows(values: Tensor, shape: tuple[int, int]) -> Integers:
        return changed(np.rint(values.numpy() * bounds.SCALE).astype(np.int64), bounds.SCALE)

    patch.setattr(bounds, "encode_rows", rows)
    patch.setattr(bounds, "encode_bits", lambda values, *rest: changed(values.long().numpy(), 1))
    patch.setattr(bounds, "find_slacks", rng.choice([honest_slacks, slacks_modulo_p]))


# --- what it does otherwise -------------------------------------------------------------------------------------------


def _other_answer(rng: Random, patch: pytest.MonkeyPatch) -> None:
    honest = OwnersCheck.answer
    more = np.array([rng.choice([0, 1, rng.randrange(PRIME)]), rng.choice([1, rng.randrange(PRIME)])], dtype=np.uint64)

    def answer(self: OwnersCheck, blind: AuthenticatedTable) -> field.Field:
        return field.add(honest(self, blind), more)

    patch.setattr(OwnersCheck, "answer", answer)


def _other_digits(rng: Random, patch: pytest.MonkeyPatch) -> None:
    honest, where = bounds.digits_of, (rng.randrange(64), rng.randrange(8))

    def digits(sums: Integers, count: int) -> Integers:
        found = honest(sums, count)
        found[where] ^= 1
        return found

    patch.setattr(bounds, "digits_of", digits)


def _no_proof(rng: Random, patch: pytest.MonkeyPatch) -> None:
    patch.setattr(commitment, "_prove_rows", lambda *_: None)
    patch.setattr(commitment, "_prove_bits", lambda *_: None)


def _no_commitment(rng: Random, patch: pytest.MonkeyPatch) -> None:
    honest = Operation.share
    patch.setattr(
        Operation, "share", lambda self, state, ask, rows, private, _: honest(self, state, ask, rows, private, [])
    )


def _other_records(rng: Random, patch: pytest.MonkeyPatch) -> None:
    """Ask about some records and compute with others."""
    honest, kind = messages.pack_records, rng.randrange(6)

    def pack(records: np.ndarray) -> bytes:
        told = records.copy()
        match kind:
            case 0:
                told = told[::-1]
            case 1:
                told = told[:-1]
            case 2:
                told[1] = told[0]
            case 3:
                told += 1
            case 4:
                told[0] = -1
            case 5:
                told[0] = 2**62
        return honest(told)

    patch.setattr(messages, "pack_records", pack)


def _deaf(rng: Random, patch: pytest.MonkeyPatch) -> None:
    """Go on without hearing the verdict."""
    honest = messages.expect

    def expect(network: Network, peer: str, kind: Any) -> Any:
        return (messages.Proceed(go=True), b"") if kind is messages.Proceed else honest(network, peer, kind)

    patch.setattr(messages, "expect", expect)


STEPS: dict[str, Callable[[Random, pytest.MonkeyPatch], None]] = {
    "another answer to the challenge": _other_answer,
    "another digit": _other_digits,
    "no proof": _no_proof,
    "shares in place of a commitment": _no_commitment,
    "records other than those asked for": _other_records,
    "no ear for the verdict": _deaf,
}


def deviate(deviation: Deviation, patch: pytest.MonkeyPatch) -> Tampering:
    """Make this process deviate, until the patch is undone."""
    tampering = Tampering(deviation)
    if deviation.place[0] != VALUES:
        tampering.install(patch)
    elif deviation.place[2]:
        commit_to(patch, deviation)
    else:
        STEPS[deviation.change](Random(deviation.seed + 1), patch)
    return tampering
