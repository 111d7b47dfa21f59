"""Private set intersection: two sides find out whom both have, and nothing of whom only one of them has but how many.

Diffie-Hellman on P-256 (Meadows, IEEE S&P 1986; Huberman, Franklin and Hogg, ACM EC 1999):

 1. The asker hashes its ids to points, raises them to its secret a, and sends H(x)^a, in an order drawn at random.
 2. An answerer sends its own H(y)^b, sorted, and (H(x)^a)^b in the order in which they came.
 3. The asker raises H(y)^b to a: where that is one of (H(x)^a)^b, x is y. Whom all answerers have gets a new random
    record id, which each of them is sent with the place of its own point, that of nobody else.

Elements are x coordinates, for x(P^a) follows from x(P) alone. Under the decisional Diffie-Hellman assumption, with the
hash as a random oracle, points of ids that a side does not know look random to it. **A side that lies** can try ids of
its choice, as many as it sends: so each refuses sets that are larger than it expects. An asker may also give record ids
to people whom it does not have, and an answerer may answer as if it had no, or other, people: neither learns an id that
it has not tried.
"""

from __future__ import annotations

import hashlib
import random
import secrets
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass

from cryptography.hazmat.primitives.asymmetric import ec

from secure_fair.errors import ProtocolError

CURVE = ec.SECP256R1()
ELEMENT = 32  # bytes of an x coordinate
RECORD_BYTES = 16  # bytes of a record id
_DOMAIN = b"secure-fair match 1"
_EVERY = 1000

Progress = Callable[[int, int], None]


def silent(done: int, total: int) -> None:
    """No progress."""


@dataclass(frozen=True)
class BlindedRequest:
    """An asker's secret, and its ids in the order in which it has sent them."""

    secret: int
    ids: Sequence[str]

    @classmethod
    def of(cls, ids: Iterable[str]) -> BlindedRequest:
        """A new secret and order, from the operating system."""
        order = list(ids)
        random.SystemRandom().shuffle(order)
        return cls(new_secret(), order)

    def request(self, progress: Progress = silent) -> list[bytes]:
        """The points that are sent."""
        return raised(self.secret, map(hashed, self.ids), len(self.ids), progress)


@dataclass(frozen=True)
class BlindedAnswer:
    """An answerer's own points, ascending, and those of the request raised to its secret, in the request's order."""

    own: Sequence[bytes]
    twice: Sequence[bytes]


@dataclass(frozen=True)
class Assigned:
    """Record ids for an answerer: the place of its own point, and the record id of whom that is."""

    places: Sequence[int]
    records: Sequence[str]


def answer(
    request: Sequence[bytes], ids: Sequence[str], progress: Progress = silent
) -> tuple[BlindedAnswer, list[str]]:
    """The answer to a request, and the own ids in the order of their points. ProtocolError for what is no request."""
    if len(set(request)) != len(request):
        raise ProtocolError("the request has a point twice: an id is asked for once")
    secret, total = new_secret(), len(request) + len(ids)
    twice = raised(secret, map(lifted, request), total, progress)
    points = raised(secret, map(hashed, ids), total, lambda done, _: progress(len(request) + done, total))
    ordered = sorted(zip(points, ids, strict=True))
    return BlindedAnswer([point for point, _ in ordered], twice), [name for _, name in ordered]


def assign(
    asked: BlindedRequest, answers: Sequence[BlindedAnswer], progress: Progress = silent
) -> tuple[dict[str, str], list[Assigned]]:
    """A new record id for everybody whom all have, by own id, and for each answerer by its own points' places.

    Both are in an order that is drawn. ProtocolError for an answer that is none.
    """
    found = [places_of(asked, one, progress) for one in answers]
    common = [number for number in range(len(asked.ids)) if all(number in places for places in found)]
    random.SystemRandom().shuffle(common)
    records = [secrets.token_hex(RECORD_BYTES) for _ in common]
    mine = {asked.ids[number]: record for number, record in zip(common, records, strict=True)}
    return mine, [Assigned([places[number] for number in common], records) for places in found]


def places_of(asked: BlindedRequest, given: BlindedAnswer, progress: Progress = silent) -> dict[int, int]:
    """The place in an answerer's points of everybody whom it has, by the number of the asker's id."""
    if len(given.twice) != len(asked.ids):
        raise ProtocolError(f"the answer has {len(given.twice)} points of the request's {len(asked.ids)}")
    if len(set(given.own)) != len(given.own) or len(set(given.twice)) != len(given.twice):
        raise ProtocolError("the answer has a point twice: an id has one")
    number_of = {point: number for number, point in enumerate(given.twice)}
    again = raised(asked.secret, map(lifted, given.own), len(given.own), progress)
    return {number_of[point]: place for place, point in enumerate(again) if point in number_of}


def accept(ids: Sequence[str], assigned: Assigned) -> dict[str, str]:
    """Record ids by own id, from what the asker has assigned; ``ids`` in the order of their points."""
    places, records = assigned.places, assigned.records
    if len(places) != len(records) or len(set(places)) != len(places) or len(set(records)) != len(records):
        raise ProtocolError("a place or a record id is assigned twice: the matching is not in order")
    if any(not 0 <= place < len(ids) for place in places):
        raise ProtocolError(f"a record id is assigned to a place beyond the {len(ids)} of this side")
    return {ids[place]: record for place, record in zip(places, records, strict=True)}


# points


def new_secret() -> int:
    """An exponent, from the operating system's randomness."""
    return ec.generate_private_key(CURVE).private_numbers().private_value


def hashed(name: str) -> ec.EllipticCurvePublicKey:
    """The point of an id: the first of its hashes that is the x coordinate of one."""
    for attempt in range(256):  # each is one with probability 1/2
        x = hashlib.sha256(b"%s %d " % (_DOMAIN, attempt) + name.encode()).digest()
        try:
            return ec.EllipticCurvePublicKey.from_encoded_point(CURVE, b"\2" + x)
        except ValueError:
            continue
    raise AssertionError("no hash is a point")


def lifted(element: bytes) -> ec.EllipticCurvePublicKey:
    """The point of an element that somebody sent; ProtocolError where there is none on the curve."""
    try:
        return ec.EllipticCurvePublicKey.from_encoded_point(CURVE, b"\2" + element)
    except ValueError as error:
        raise ProtocolError("a point of the matching is not on the curve") from error


def raised(
    secret: int, points: Iterable[ec.EllipticCurvePublicKey], total: int, progress: Progress = silent
) -> list[bytes]:
    """The x coordinates of points raised to a secret."""
    key, found = ec.derive_private_key(secret, CURVE), []
    for done, point in enumerate(points, 1):
        found.append(key.exchange(ec.ECDH(), point))
        if done % _EVERY == 0 or done == total:
            progress(done, total)
    return found
