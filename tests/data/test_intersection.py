"""Private set intersection: it finds whom both have, what is sent tells no other id, lies are noticed or bounded."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from secure_fair.data import intersection
from secure_fair.data.decisions import digest_of
from secure_fair.data.intersection import (
    Assigned,
    BlindedAnswer,
    BlindedRequest,
    accept,
    answer,
    assign,
    hashed,
    raised,
)
from secure_fair.data.links import read_matched
from secure_fair.data.matched import names_of, write_matched
from secure_fair.data.store import record_ids
from secure_fair.errors import ProtocolError, UsageError

PEOPLE = [f"person {number}" for number in range(60)]
DEVELOPER, CITY, CLINIC = PEOPLE[:40], PEOPLE[20:55], PEOPLE[30:]


def match(ids: list[str], *held: list[str]) -> tuple[dict[str, str], list[dict[str, str]]]:
    """Record ids by own id of the asker, and of each answerer."""
    asked = BlindedRequest.of(ids)
    answered = [answer(asked.request(), theirs) for theirs in held]
    mine, assigned = assign(asked, [found for found, _ in answered])
    return mine, [accept(ordered, one) for (_, ordered), one in zip(answered, assigned, strict=True)]


@pytest.mark.parametrize(
    ("mine", "theirs"),
    [
        (["1", "01", "1.0", "é", "e\u0301"], ["01", "é", "E"]),  # written otherwise, so another's
        (["a"], ["a"]),
        (["a b", "a  b", '"', "x" * 300], ['"', "a b", "x" * 301]),
    ],
)
def test_it_is_the_intersection_whatever_ids_are_like(mine: list[str], theirs: list[str]) -> None:
    found, (others,) = match(mine, theirs)
    assert found == others
    assert set(found) == set(mine) & set(theirs)


def test_everybody_has_the_same_record_ids_of_whom_all_have() -> None:
    mine, (city, clinic) = match(DEVELOPER, CITY, CLINIC)
    assert set(mine) == set(PEOPLE[30:40])
    assert mine == city == clinic
    assert len(set(mine.values())) == 10
    again, _ = match(DEVELOPER, CITY, CLINIC)
    assert set(mine.values()).isdisjoint(again.values())  # drawn, and not made from the ids


# --- what is sent -----------------------------------------------------------------------------------------------------


def guessed(points: list[bytes], secret: int) -> list[str]:
    """The people whose points are among these, to who can guess every name and tries this secret."""
    tried = dict(zip(raised(secret, map(hashed, PEOPLE), len(PEOPLE)), PEOPLE, strict=True))
    return sorted(tried[point] for point in points if point in tried)


def test_an_auditor_that_guesses_every_id_finds_nobody_in_the_request() -> None:
    """It knows all names. Under a key that both have it finds everybody, and so it does without the asker's secret."""
    asked = BlindedRequest.of(DEVELOPER)
    key = b"k" * 32
    by_key = dict(zip(record_ids(key, map(digest_of, PEOPLE)), PEOPLE, strict=True))
    assert sorted(by_key[name] for name in record_ids(key, map(digest_of, DEVELOPER))) == sorted(DEVELOPER)
    assert guessed(replace(asked, secret=1).request(), 1) == sorted(DEVELOPER)
    assert guessed(asked.request(), 1) == []
    assert guessed(asked.request(), intersection.new_secret()) == []


def test_a_developer_that_guesses_every_id_finds_whom_it_asked_about_and_nobody_else() -> None:
    asked = BlindedRequest.of(DEVELOPER)
    found, _ = answer(asked.request(), CITY)
    again = raised(asked.secret, map(intersection.lifted, found.own), len(CITY))
    assert guessed(found.own, 1) == guessed(again, asked.secret) == []
    assert {asked.ids[number] for number in intersection.places_of(asked, found)} == set(DEVELOPER) & set(CITY)


def test_no_order_tells_of_ids(monkeypatch: pytest.MonkeyPatch) -> None:
    """Sorted files would tell who is between whom; the twin keeps the order."""
    asked = BlindedRequest.of(PEOPLE)
    assert asked.ids != PEOPLE
    _, ordered = answer(asked.request(), PEOPLE)
    assert ordered not in (PEOPLE, asked.ids)
    monkeypatch.setattr(intersection.random.SystemRandom, "shuffle", lambda self, order: None)
    assert BlindedRequest.of(PEOPLE).ids == PEOPLE


# --- who lies ---------------------------------------------------------------------------------------------------------


def test_what_is_out_of_order_is_refused() -> None:
    asked = BlindedRequest.of(DEVELOPER)
    request = asked.request()
    found, ordered = answer(request, CITY)
    with pytest.raises(ProtocolError, match="a point twice"):
        answer([*request, request[0]], CITY)
    with pytest.raises(ProtocolError, match="not on the curve"):
        answer([b"\xff" * 32], CITY)
    for wrong in (
        BlindedAnswer(found.own, found.twice[1:]),
        BlindedAnswer(found.own, [found.twice[1], *found.twice[1:]]),
    ):
        with pytest.raises(ProtocolError, match="the answer has"):
            assign(asked, [wrong])
    _, (assigned,) = assign(asked, [found])
    places, records = list(assigned.places), list(assigned.records)
    for wrong in (
        Assigned([places[1], *places[1:]], records),
        Assigned(places, [records[1], *records[1:]]),
        Assigned([len(CITY), *places[1:]], records),
        Assigned(places[1:], records),
    ):
        with pytest.raises(ProtocolError):
            accept(ordered, wrong)


def test_a_matched_file_reads_as_it_was_written_and_nothing_else_does(tmp_path: Path) -> None:
    mine, _ = match(DEVELOPER, CITY)
    file = tmp_path / "matched.csv"
    write_matched(file, mine)
    assert read_matched(file) == mine
    assert file.stat().st_mode & 0o777 == 0o600
    names = names_of(PEOPLE, mine, file)
    assert len(set(names)) == len(PEOPLE)
    assert [name == mine.get(person) for name, person in zip(names, PEOPLE, strict=True)].count(True) == len(mine)
    with pytest.raises(UsageError, match="no id of this side"):
        names_of(["nobody"], mine, file)
    text = file.read_text()
    lines = text.splitlines()
    for wrong in (text.replace("record", "recrod"), text + lines[1] + "\n", text + "x,\n", text + f"x{lines[1]}\n"):
        file.write_text(wrong)
        with pytest.raises(UsageError, match=r"matched\.csv"):
            read_matched(file)
