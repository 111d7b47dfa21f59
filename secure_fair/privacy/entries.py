"""The entries of a ledger: receipts, charges, and the sets of records that they are about."""

from __future__ import annotations

import base64
import hashlib
import math
import zlib
from dataclasses import asdict, dataclass
from types import NoneType
from typing import Any

import numpy as np

from secure_fair.ids import Names, as_ids, lines_by_part
from secure_fair.privacy.tallies import tally

MOST_PACKED = 1 << 21
"""Bytes of a packed set of records, a bit each: more than any table has."""


@dataclass(frozen=True)
class Receipt:
    """One release as both sides write it down; all of it is public between them.

    ``number`` counts the releases of one auditor in one run. ``records`` is the hash of the set of records
    (``records_hash``). ``sigma`` is in units of the opened value: None for an exact release, 0 for one that needs no
    noise. ``of``: the intersection that was asked for, where it was not ``attribute`` alone; older entries have none.
    """

    run: str
    number: int
    auditor: str
    operation: str
    attribute: str
    records: str
    count: int
    shape: tuple[int, ...]
    sigma: float | None
    of: str = ""


@dataclass(frozen=True)
class Charge:
    """The cost of one release to each record in it: ``mu2`` of Gaussian DP (infinite when exact), or (epsilon, delta).

    Only a randomised response and a training on the auditor's own records have the latter.
    """

    mu2: float = 0.0
    epsilon: float = 0.0
    delta: float = 0.0

    @property
    def exact(self) -> bool:
        """True if nothing limits what the release tells."""
        return math.isinf(self.mu2) or math.isinf(self.epsilon)

    def times(self, times: np.ndarray) -> np.ndarray:
        """mu^2, epsilon and delta, float64 (3, n), to persons who have so many records in it, int64 (n,).

        By group privacy of Gaussian DP m records cost m mu (Dong, Roth and Su, J. R. Stat. Soc. B 84, 2022, Theorem 6).
        Whatever else a release may cost, it costs a person once.
        """
        return np.stack([self.mu2 * times.astype(np.float64) ** 2, *np.outer((self.epsilon, self.delta), times > 0)])

    def __add__(self, other: Charge) -> Charge:
        return Charge(self.mu2 + other.mu2, self.epsilon + other.epsilon, self.delta + other.delta)


def table_hash(ids: Names) -> str:
    """The name of an enrolled table: SHA-256 of its ids, in order."""
    digest = hashlib.sha256()
    for part in lines_by_part(as_ids(ids)):
        digest.update(part)
    return digest.hexdigest()


def records_hash(table: str, records: np.ndarray) -> str:
    """SHA-256 of a set of records of one enrolled table; their order does not matter. ``records``: int64 indices."""
    ordered = records if (records[1:] > records[:-1]).all() else np.sort(records)
    return hashlib.sha256(table.encode() + ordered.astype("<i8").tobytes()).hexdigest()


@dataclass(frozen=True)
class Payers:
    """Those who pay for a release: each person by the ``places`` of its first record in the table, int64 (n,),
    ascending, and how many ``times`` it pays, once for each of its records in the release, int64 (n,)."""

    places: np.ndarray
    times: np.ndarray

    @classmethod
    def of(cls, records: np.ndarray, first: np.ndarray) -> Payers:
        """Count those whose ``records`` these are; ``first``: of each record of the table, its person's first one."""
        return cls(*tally(first[records], len(first)))


def planned_entry(
    receipt: Receipt, charge: Charge, *, table: str, size: int, records: np.ndarray, payers: Payers, query: str
) -> dict[str, Any]:
    """The content of an entry for a release that is about to be made, of ``records`` of a ``table`` of ``size``."""
    several = {"multiples": _pack_times(payers.times)} if (payers.times > 1).any() else {}
    return {
        **several,
        "kind": "planned",
        **asdict(receipt),
        "query": query,
        "table": table,
        "members": _pack(records, size),
        "charged": _pack(payers.places, size),
        "charge": {name: ("infinite" if math.isinf(value) else value) for name, value in asdict(charge).items()},
    }


def members(entry: dict[str, Any], size: int | None) -> np.ndarray:
    """The records of a planned release, sorted int64 indices into its table of ``size`` records, which may be
    unknown."""
    return _unpack(entry["members"], size)


def paying(entry: dict[str, Any], size: int | None) -> Payers:
    """Those whom a planned release was charged to; the ``size`` of the table may be unknown."""
    places = _unpack(entry["charged"], size)
    if "multiples" in entry:
        return Payers(places, _unpack_times(entry["multiples"]))
    listed = entry.get("times")  # as it was written before
    times = np.ones(len(places), dtype=np.int64) if listed is None else np.array(listed, dtype=np.int64)
    return Payers(places, times)


def charge_of(entry: dict[str, Any]) -> Charge:
    """The charge of a planned release."""
    return Charge(**{name: math.inf if value == "infinite" else value for name, value in entry["charge"].items()})


_RECEIPT = {
    "number": int,
    "auditor": str,
    "operation": str,
    "attribute": str,
    "records": str,
    "count": int,
    "shape": list,
    "sigma": (int, float, NoneType),
}
_VERDICT = {"number": int, "receiver": str, "operation": str, "attribute": str, "within": (bool, NoneType)}
_FORMS: dict[str, dict[str, Any]] = {
    "start": {},
    "planned": {**_RECEIPT, "query": str, "table": str, "members": str, "charged": str, "charge": dict},
    "opened": {"number": int},
    "received": _RECEIPT,
    "verdict": _VERDICT,
    "disclosed": {"receiver": str, "what": str, "numbers": int},
}


def malformed(entry: dict[str, Any]) -> str:
    """Say what an entry of a run lacks, or has of another type than a party writes; "" where nothing."""
    form = {"entry": int, "kind": str, "run": str, **_FORMS.get(str(entry.get("kind")), {})}
    if entry.get("kind") == "missed":
        form |= {"auditor": str} | ({"numbers": list} if "numbers" in entry else {"number": int})
    wrong = next((key for key, kind in form.items() if not isinstance(entry.get(key, ...), kind)), None)
    if wrong is not None:
        return f"{wrong} is {entry[wrong]!r:.40}" if wrong in entry else f"it has no {wrong}"
    if entry["kind"] == "planned":
        try:
            members(entry, None)
            paying(entry, None)
        except ValueError as error:
            return f"its records or who pays for them: {error}"
    inside = [number for key in ("shape", "numbers") if isinstance(entry.get(key), list) for number in entry[key]]
    return next((f"a list of numbers has {one!r:.40}" for one in inside if not isinstance(one, int)), "")


def missed_numbers(entry: dict[str, Any]) -> list[int]:
    """The releases of an entry about those that never came to the developer."""
    return list(entry["numbers"]) if "numbers" in entry else [entry["number"]]  # as it was written before


def is_training(entry: dict[str, Any]) -> bool:
    """True for a training on the auditor's own records: it alone has no shape. Whether its operation is one is for the
    rule to say (``secure_fair.privacy.soundness``)."""
    return entry["kind"] == "planned" and not entry["shape"]


def _pack(records: np.ndarray, size: int) -> str:
    mask = np.zeros(size, dtype=bool)
    mask[records] = True
    return base64.b64encode(zlib.compress(np.packbits(mask).tobytes(), 1)).decode()


def _pack_times(times: np.ndarray) -> str:
    return base64.b64encode(zlib.compress(times.astype("<u4").tobytes(), 1)).decode()


def _unpack_times(text: str) -> np.ndarray:
    return np.frombuffer(_inflated(text, 32 * MOST_PACKED), dtype="<u4").astype(np.int64)


def _unpack(text: str, size: int | None) -> np.ndarray:
    bits = np.frombuffer(_inflated(text, MOST_PACKED), dtype=np.uint8)
    return np.flatnonzero(np.unpackbits(bits, count=size))


def _inflated(text: str, most: int) -> bytes:
    """The bytes of a packed text; ValueError for one that is none, or of more than so many: few letters are gigabytes
    then, and an entry may be of somebody else's writing."""
    inflating = zlib.decompressobj()
    try:
        content = inflating.decompress(base64.b64decode(text, validate=True), most + 1)
    except zlib.error as error:
        raise ValueError(f"is not packed: {error}") from None
    if len(content) > most or not inflating.eof:
        raise ValueError(f"has more than {most} bytes, or not all")
    return content
