"""Matching by files that two or more sides send each other, over any channel: who asks, who answers, who has what.

A developer asks, every auditor answers, the developer assigns record ids to whom all have, every auditor accepts them.
What a side has to remember in between is in a folder of its own that nobody else may read.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import json
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from secure_fair.data import intersection
from secure_fair.data.intersection import ELEMENT, Assigned, BlindedAnswer, BlindedRequest, silent
from secure_fair.errors import ProtocolError, Refusal, UsageError
from secure_fair.files import private_folder, write_bytes

FORMAT = "secure-fair match 1"
REQUEST, ANSWER, RECORDS = "request", "answer", "records"
_NEXT = {REQUEST: "match answer", ANSWER: "match assign", RECORDS: "match accept"}
Progress = Callable[[int, int], None]


# the asker


def ask(ids: Sequence[str], keep: Path, progress: Progress = silent) -> bytes:
    """A request about these ids; the secret with which its answers are read is kept in ``keep``."""
    asked = BlindedRequest.of(ids)
    content = _packed(REQUEST, elements=_joined(asked.request(progress)))
    private_folder(keep)
    tree = {"secret": f"{asked.secret:x}", "ids": list(asked.ids)}
    write_bytes(keep / f"asked-{_digest(content)}.json", json.dumps(tree).encode())
    return content


def assign(
    answers: Mapping[str, bytes], keep: Path, at_most: int | None, progress: Progress = silent
) -> tuple[dict[str, str], dict[str, bytes]]:
    """Record ids by own id of whom all have, and what to send to each who answered; the secret is then forgotten.

    ``at_most``: ids that an answer may be of; None: as many as the request. Refusal beyond, and where nobody is common.
    """
    read = {name: _unpacked(content, ANSWER, name) for name, content in answers.items()}
    requests = {tree["request"] for tree in read.values()}
    if len(requests) != 1:
        raise UsageError(f"{', '.join(answers)}: answers to {len(requests)} different requests; assign those of one")
    file = keep / f"asked-{requests.pop()}.json"
    if not file.is_file():
        raise UsageError(f"--keep {keep}: nothing is kept there of the request that was answered, or it was assigned")
    kept = json.loads(file.read_bytes())
    asked = BlindedRequest(int(kept["secret"], 16), kept["ids"])
    given = [BlindedAnswer(_split(tree["own"], name), _split(tree["twice"], name)) for name, tree in read.items()]
    for name, one in zip(answers, given, strict=True):
        _check_size(f"{name}: the answer is of", len(one.own), at_most, len(asked.ids))
    mine, assigned = intersection.assign(asked, given, progress)
    if not mine:
        raise Refusal("nobody is known to all sides: compare how ids are written, leading zeros and upper case too")
    told = {
        name: _packed(RECORDS, answer=_digest(content), places=list(one.places), records=list(one.records))
        for (name, content), one in zip(answers.items(), assigned, strict=True)
    }
    return mine, told


def forget(answers: Mapping[str, bytes], keep: Path) -> None:
    """Forget the secret of a request whose records are assigned."""
    for name, content in answers.items():
        (keep / f"asked-{_unpacked(content, ANSWER, name)['request']}.json").unlink(missing_ok=True)


# those who answer


def answer(request: bytes, ids: Sequence[str], keep: Path, at_most: int | None, progress: Progress = silent) -> bytes:
    """The answer to a request; which id is where in it is kept in ``keep``, and how many were asked about.

    ``at_most``: ids that all requests which were answered from ``keep`` may be about, this one included; None: as many
    as there are here. Refusal beyond.
    """
    elements = _split(_unpacked(request, REQUEST, "the request")["elements"], "the request")
    private_folder(keep)
    earlier = [json.loads(file.read_bytes()) for file in sorted(keep.glob("answered-*.json"))]
    if any(one["request"] == _digest(request) for one in earlier):
        raise Refusal("this request was answered before: send that answer again, or have it asked anew")
    before = sum(one["asked"] for one in earlier)
    also = f", beside {before} of earlier requests, is" if before else " is"
    _check_size(f"the request{also} about", before + len(elements), at_most, len(ids))
    given, ordered = intersection.answer(elements, ids, progress)
    content = _packed(ANSWER, request=_digest(request), own=_joined(given.own), twice=_joined(given.twice))
    tree = {"request": _digest(request), "asked": len(elements), "ids": ordered}
    write_bytes(keep / f"answered-{_digest(content)}.json", json.dumps(tree).encode())
    return content


def accept(records: bytes, keep: Path) -> dict[str, str]:
    """Record ids by own id, from what the asker has sent."""
    tree = _unpacked(records, RECORDS, "the records")
    file = keep / f"answered-{tree['answer']}.json"
    if not file.is_file():
        raise UsageError(f"--keep {keep}: nothing is kept there of the answer to which these records belong")
    kept = json.loads(file.read_bytes())
    if len(tree["places"]) > kept["asked"]:
        raise ProtocolError(f"{len(tree['places'])} records are assigned, and {kept['asked']} were asked for")
    return intersection.accept(kept["ids"], Assigned(tree["places"], tree["records"]))


# both, on one machine


def simulate(
    ids: Sequence[str], held: Mapping[str, Sequence[str]], progress: Progress = silent
) -> tuple[dict[str, str], dict[str, dict[str, str]]]:
    """Record ids of whom all have: the asker's by its own id, and by each answerer's name its own."""
    asked = BlindedRequest.of(ids)
    request = asked.request(progress)
    answered = {name: intersection.answer(request, theirs, progress) for name, theirs in held.items()}
    mine, assigned = intersection.assign(asked, [given for given, _ in answered.values()], progress)
    if not mine:
        raise Refusal("nobody is known to all sides: compare how ids are written, leading zeros and upper case too")
    pairs = zip(answered.items(), assigned, strict=True)
    return mine, {name: intersection.accept(ordered, one) for (name, (_, ordered)), one in pairs}


# files


def _check_size(what: str, number: int, at_most: int | None, here: int) -> None:
    limit = here if at_most is None else at_most
    if number > limit:
        known = f", as many as are here: with --at-most {number} it is taken" if at_most is None else " by --at-most"
        raise Refusal(
            f"{what} {number} ids, and {limit} are expected{known}. Who sends ids that it has guessed learns which of "
            "them the other side has"
        )


def _packed(kind: str, **fields: Any) -> bytes:
    return (json.dumps({"format": FORMAT, "kind": kind, **fields}) + "\n").encode()


_FIELDS: dict[str, dict[str, type]] = {
    REQUEST: {"elements": str},
    ANSWER: {"request": str, "own": str, "twice": str},
    RECORDS: {"answer": str, "places": list, "records": list},
}


def _unpacked(content: bytes, kind: str, what: str) -> dict[str, Any]:
    """The fields of a file of this kind; UsageError for another."""
    try:
        tree = json.loads(content)
    except (ValueError, RecursionError) as error:
        raise UsageError(f"{what}: no file of a matching: {error}") from error
    found = tree.get("kind") if isinstance(tree, dict) and tree.get("format") == FORMAT else None
    if found != kind:
        remedy = f"; it is for secure-fair {_NEXT[found]}" if found in _NEXT else ""
        raise UsageError(f"{what}: is {f'the {found}' if found in _NEXT else 'no file'} of a matching{remedy}")
    fields = {name: tree.get(name) for name in _FIELDS[kind]}
    if set(tree) != {"format", "kind", *fields} or not all(
        isinstance(fields[name], wanted) for name, wanted in _FIELDS[kind].items()
    ):
        raise UsageError(f"{what}: not as a matching writes it: have it sent again")
    digests = [fields[name] for name in (REQUEST, ANSWER) if name in fields]
    places, records = fields.get("places") or [], fields.get("records") or []
    if not (
        all(len(one) == 64 and not set(one) - set("0123456789abcdef") for one in digests)
        and all(type(place) is int for place in places)
        and all(isinstance(one, str) and len(one) == 32 and not set(one) - set("0123456789abcdef") for one in records)
    ):
        raise UsageError(f"{what}: not as a matching writes it: have it sent again")
    return fields


def _joined(elements: Sequence[bytes]) -> str:
    return base64.b64encode(b"".join(elements)).decode()


def _split(text: str, what: str) -> list[bytes]:
    try:
        raw = base64.b64decode(text, validate=True)
    except (binascii.Error, ValueError) as error:
        raise UsageError(f"{what}: not as a matching writes it: {error}: have it sent again") from error
    if len(raw) % ELEMENT or not raw:
        raise UsageError(f"{what}: not as a matching writes it: {len(raw)} bytes of points: have it sent again")
    return [raw[start : start + ELEMENT] for start in range(0, len(raw), ELEMENT)]


def _digest(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()
