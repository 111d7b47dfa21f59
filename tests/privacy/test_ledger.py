"""A ledger that was changed, cut, reordered or torn is noticed, and both sides' ledgers tell the same story."""

import base64
import dataclasses
import json
import subprocess
import sys
import zlib
from pathlib import Path

import numpy as np
import pytest

from secure_fair.errors import DamagedFile, ProtocolError, UsageError
from secure_fair.privacy.chain import entry_hash, line_of, read_extract, verify
from secure_fair.privacy.comparison import compare, missed
from secure_fair.privacy.entries import Charge, Receipt, members, records_hash
from secure_fair.privacy.ledger import Ledger

BOMB = base64.b64encode(zlib.compress(bytes(1 << 24), 9)).decode()  # 22 thousand letters, 16 million bytes
IDS = [f"person {number}" for number in range(100)]


def receipt(number: int, **changes: object) -> Receipt:
    fields = {
        "run": "run",
        "number": number,
        "auditor": "auditor",
        "operation": "moment",
        "attribute": "gender",
        "records": "0" * 64,
        "count": 40,
        "shape": (4, 1),
        "sigma": 5.25,
    }
    return Receipt(**{**fields, **changes})  # type: ignore[arg-type]


def fill(directory: Path, releases: int = 3) -> Path:
    ledger = Ledger(directory, "auditor")
    ledger.start("run")
    table = ledger.enrol(IDS)
    for number in range(1, releases + 1):
        ledger.plan(receipt(number), Charge(mu2=0.25), table, np.arange(number, number + 40))
        ledger.opened(receipt(number))
    ledger.close()
    return directory / "ledger.jsonl"


def test_what_is_written_is_read_back(tmp_path: Path) -> None:
    fill(tmp_path)
    assert verify(tmp_path).entries == 3 + 2 * 3
    ledger = Ledger(tmp_path, "auditor")
    planned = [entry for entry in ledger.entries("run") if entry["kind"] == "planned"]
    assert [entry["number"] for entry in planned] == [1, 2, 3]
    assert np.array_equal(members(planned[1], len(IDS)), np.arange(2, 42))
    mu2, epsilon, delta = ledger.spending.of("gender", ledger.spending.rows(IDS))
    expected = np.zeros(100)
    for number in (1, 2, 3):
        expected[number : number + 40] += 0.25
    assert np.array_equal(mu2, expected)
    assert not epsilon.any()
    assert not delta.any()
    assert ledger.next_number("run") == 4
    ledger.close()


@pytest.mark.parametrize("kept", range(9))
def test_truncation_is_noticed(tmp_path: Path, kept: int) -> None:
    path = fill(tmp_path)
    lines = path.read_bytes().splitlines(keepends=True)
    assert len(lines) == 9
    path.write_bytes(b"".join(lines[:kept]))
    with pytest.raises(ProtocolError):
        verify(tmp_path)
    with pytest.raises(ProtocolError):
        Ledger(tmp_path, "auditor")


@pytest.mark.parametrize("first", range(8))
def test_reordering_and_removal_are_noticed(tmp_path: Path, first: int) -> None:
    path = fill(tmp_path)
    lines = path.read_bytes().splitlines(keepends=True)
    swapped = [*lines[:first], lines[first + 1], lines[first], *lines[first + 2 :]]
    path.write_bytes(b"".join(swapped))
    with pytest.raises(ProtocolError, match=f"entry {first + 1} "):
        verify(tmp_path)
    path.write_bytes(b"".join([*lines[:first], *lines[first + 1 :]]))
    with pytest.raises(ProtocolError, match=f"entry {first + 1} "):
        verify(tmp_path)


def test_an_entry_with_a_new_hash_breaks_the_chain(tmp_path: Path) -> None:
    import hashlib

    path = fill(tmp_path)
    lines = path.read_text().splitlines()
    entry = json.loads(lines[3])
    entry["sigma"] = 0.001
    del entry["hash"]
    entry["hash"] = hashlib.sha256(json.dumps(entry, sort_keys=True).encode()).hexdigest()
    lines[3] = json.dumps(entry, sort_keys=True)
    path.write_text("\n".join(lines) + "\n")
    with pytest.raises(ProtocolError, match="entry 5 does not follow"):
        verify(tmp_path)


def test_a_lost_head_or_table_is_noticed(tmp_path: Path) -> None:
    fill(tmp_path / "a")
    (tmp_path / "a" / "ledger.head").unlink()
    with pytest.raises(ProtocolError, match="head"):
        verify(tmp_path / "a")
    fill(tmp_path / "b")
    next((tmp_path / "b" / "tables").iterdir()).write_text("somebody\nelse")
    with pytest.raises(ProtocolError, match="table"):
        verify(tmp_path / "b")


def test_an_entry_ahead_of_the_head_counts(tmp_path: Path) -> None:
    """A crash between the entry and the head: the entry is spent."""
    path = fill(tmp_path, 1)
    head = (tmp_path / "ledger.head").read_bytes()
    ledger = Ledger(tmp_path, "auditor")
    ledger.plan(receipt(2), Charge(mu2=0.25), ledger.enrol(IDS), np.arange(40))
    ledger.close()
    (tmp_path / "ledger.head").write_bytes(head)
    again = Ledger(tmp_path, "auditor")
    assert again.spending.of("gender", again.spending.rows(["person 1"]))[0].tolist() == [0.5]
    again.close()
    assert path.exists()


def test_closing_writes_nothing_that_is_on_disk_already(tmp_path: Path) -> None:
    """So nothing is left that a full disk could refuse once a run has said that it is done."""
    ledger, head = Ledger(tmp_path, "auditor"), tmp_path / "ledger.head"
    ledger.start("run")
    ledger.settled()
    before = head.stat()
    ledger.close()
    assert (head.stat().st_ino, head.stat().st_mtime_ns) == (before.st_ino, before.st_mtime_ns)
    again = Ledger(tmp_path, "auditor")
    again.opened(receipt(1))
    assert again.end.entries == 2  # the newest may still be lost
    again.close()
    assert json.loads(head.read_bytes())["entries"] == 3


def test_only_one_process_has_it_open(tmp_path: Path) -> None:
    ledger = Ledger(tmp_path, "auditor")
    code = (
        "from pathlib import Path; from secure_fair.privacy.ledger import Ledger; "
        f"Ledger(Path({str(tmp_path)!r}), 'auditor')"
    )
    other = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert "another process has this ledger open" in other.stderr
    ledger.close()
    subprocess.run([sys.executable, "-c", code], check=True)


def test_a_simulated_ledger_never_becomes_a_real_one(tmp_path: Path) -> None:
    Ledger(tmp_path, "auditor", simulated=True).close()
    with pytest.raises(UsageError, match="simulated = True, not False"):
        Ledger(tmp_path, "auditor")
    Ledger(tmp_path, "auditor", simulated=True).close()


def test_an_extract_holds_one_run_and_is_checked(tmp_path: Path) -> None:
    fill(tmp_path / "state")
    ledger = Ledger(tmp_path / "state", "auditor")
    ledger.start("other")
    ledger.extract("run", tmp_path / "extract.jsonl")
    ledger.close()
    lines = [json.loads(line) for line in (tmp_path / "extract.jsonl").read_text().splitlines()]
    assert lines[0] == {"kind": "extract", "owner": "auditor", "run": "run", "simulated": False, "entries": 7}
    entries = read_extract(tmp_path / "extract.jsonl")
    assert [entry["kind"] for entry in entries] == ["start", *["planned", "opened"] * 3]
    assert {entry["run"] for entry in entries} == {"run"}
    whole = (tmp_path / "extract.jsonl").read_text()
    rows = whole.splitlines(keepends=True)
    for damaged in (rows[1:], rows[:-1], [*rows[:2], rows[3], rows[2], *rows[4:]], [whole.replace("5.25", "9.25")]):
        (tmp_path / "damaged.jsonl").write_text("".join(damaged))
        with pytest.raises(ProtocolError, match="from the ledger"):
            read_extract(tmp_path / "damaged.jsonl")


def test_records_hash_ignores_order_and_nothing_else() -> None:
    table = "t" * 64
    assert records_hash(table, np.array([3, 1, 2])) == records_hash(table, np.array([1, 2, 3]))
    assert records_hash(table, np.array([1, 2, 4])) != records_hash(table, np.array([1, 2, 3]))
    assert records_hash("u" * 64, np.array([1, 2, 3])) != records_hash(table, np.array([1, 2, 3]))


# -- two sides --


def both(tmp_path: Path, received: list[Receipt], opened: list[int] = [1, 2, 3]) -> list[str]:  # noqa: B006
    auditor, developer = Ledger(tmp_path / "a", "auditor"), Ledger(tmp_path / "d", "developer")
    table = auditor.enrol(IDS)
    for number in (1, 2, 3):
        auditor.plan(receipt(number), Charge(mu2=0.25), table, np.arange(40))
        if number in opened:
            auditor.opened(receipt(number))
    for item in received:
        developer.received(item)
    problems = compare(list(developer.entries("run")), list(auditor.entries("run")))
    auditor.close()
    developer.close()
    return problems


def test_ledgers_that_agree(tmp_path: Path) -> None:
    assert both(tmp_path, [receipt(1), receipt(2), receipt(3)]) == []


def test_entries_from_before_there_were_intersections_agree(tmp_path: Path) -> None:
    """They say nothing of one; an entry that names one differs from another that does not."""
    receipt = Receipt("run", 1, "auditor", "moment", "gender", "0" * 64, 3, (4, 1), 1.5)
    entry = dataclasses.asdict(receipt)
    old = {key: value for key, value in entry.items() if key != "of"}
    assert compare([{"kind": "received", **old}], [{"kind": "planned", **entry}]) == []
    assert compare([{"kind": "received", **old}], [{"kind": "planned", **old}]) == []
    (problem,) = compare([{"kind": "received", **entry, "of": "gender x race"}], [{"kind": "planned", **old}])
    assert problem == "release 1: of is '' at the auditor, 'gender x race' at the developer"


def test_an_interrupted_release_is_no_difference(tmp_path: Path) -> None:
    assert both(tmp_path / "before", [receipt(1), receipt(3)], opened=[1, 3]) == []
    assert both(tmp_path / "after", [receipt(1), receipt(2), receipt(3)], opened=[1, 3]) == []


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("sigma", 0.5),
        ("sigma", None),
        ("operation", "penalty_rows"),
        ("attribute", "race"),
        ("records", "1"),
        ("shape", (9,)),
    ],
)
def test_a_difference_is_named(tmp_path: Path, key: str, value: object) -> None:
    problems = both(tmp_path, [receipt(1), dataclasses.replace(receipt(2), **{key: value}), receipt(3)])
    assert len(problems) == 1
    assert problems[0].startswith(f"release 2: {key} is ")


def test_missing_unknown_and_doubled_releases_are_named(tmp_path: Path) -> None:
    problems = both(tmp_path, [receipt(1), receipt(1), receipt(9), receipt(3)])
    assert problems == [
        "release 1: the developer wrote it down twice",
        "release 9: received by the developer, unknown to the auditor",
        "release 2: opened by the auditor, not in the developer's ledger",
    ]


# -- what a developer says it missed --


def denied(tmp_path: Path, *, stopped: bool, numbers: list[int]) -> tuple[list[str], int]:
    """The differences, and how many were missed, where the developer says that none of three releases ever came;
    ``stopped``: the auditor began the run again after the second."""
    auditor, developer = Ledger(tmp_path / "a", "auditor"), Ledger(tmp_path / "d", "developer")
    auditor.start("run", auditor="auditor")
    developer.start("run")
    table = auditor.enrol(IDS)
    for number in (1, 2, 3):
        if stopped and number == 3:
            auditor.start("run", auditor="auditor")
        auditor.plan(receipt(number), Charge(mu2=0.25), table, np.arange(40))
        auditor.opened(receipt(number))
    developer.missed("run", "auditor", numbers)
    sides = [list(ledger.entries("run")) for ledger in (developer, auditor)]
    for ledger in (auditor, developer):
        ledger.close()
    return compare(*sides), missed(sides[0])


def test_nothing_is_missed_in_a_run_that_never_stopped(tmp_path: Path) -> None:
    """All that a developer would have to do to deny what it was told is to write one line."""
    problems, lost = denied(tmp_path, stopped=False, numbers=[1, 2, 3])
    assert problems == [
        f"release {number}: opened by the auditor, missed by the developer in a run that went on"
        for number in (1, 2, 3)
    ]
    assert lost == 3


def test_what_came_before_a_stop_may_be_missed_and_is_counted(tmp_path: Path) -> None:
    problems, lost = denied(tmp_path, stopped=True, numbers=[1, 2, 3])
    assert problems == ["release 3: opened by the auditor, missed by the developer in a run that went on"]
    assert lost == 3
    problems, _ = denied(tmp_path / "unknown", stopped=True, numbers=[1, 2, 9])
    assert "release 9: missed by the developer, unknown to the auditor" in problems


@pytest.mark.parametrize(
    ("key", "value", "problem"),
    [
        ("number", None, "it has no number"),
        ("kind", None, "it has no kind"),
        ("entry", None, "it has no entry"),
        ("number", [1], r"number is \[1\]"),
        ("shape", ["4"], "a list of numbers has '4'"),
        ("members", BOMB, "its records or who pays for them: has more than 2097152 bytes"),
        ("charged", BOMB, "its records or who pays for them: has more than 2097152 bytes"),
        ("charged", "!!!", "its records or who pays for them: Only base64 data"),
        ("charged", "AAAA", "its records or who pays for them: is not packed"),
    ],
)
def test_an_extract_made_by_hand_is_one_clear_message(tmp_path: Path, key: str, value: object, problem: str) -> None:
    fill(tmp_path / "state")
    ledger = Ledger(tmp_path / "state", "auditor")
    ledger.extract("run", tmp_path / "extract.jsonl")
    ledger.close()
    header, *rows = [json.loads(line) for line in (tmp_path / "extract.jsonl").read_text().splitlines()]
    row = next(row for row in rows if row["kind"] == "planned")
    row.pop(key)
    if value is not None:
        row[key] = value
    row["hash"] = entry_hash(row)
    (tmp_path / "made.jsonl").write_bytes(b"".join(map(line_of, [header, *rows])))
    with pytest.raises(DamagedFile, match=rf"made.jsonl: line 3: {problem}"):
        read_extract(tmp_path / "made.jsonl")


# -- what auditors are told and given --

VERDICT = {"number": 1, "receiver": "auditor", "operation": "moment", "attribute": "gender"}
GIVEN = {"receiver": "auditor", "what": "adapter", "numbers": 64}


def beside(
    tmp_path: Path, developer: list[tuple[str, dict[str, object]]], auditor: list[tuple[str, dict[str, object]]]
) -> list[str]:
    """The differences of two ledgers with these entries, by kind, beside no release."""
    sides = []
    for owner, entries in (("developer", developer), ("auditor", auditor)):
        ledger = Ledger(tmp_path / owner, owner)
        ledger.start("run")
        for kind, fields in entries:
            getattr(ledger, kind)(run="run", **fields)
        sides.append(list(ledger.entries("run")))
        ledger.close()
        verify(tmp_path / owner)
    return compare(*sides)


def test_verdicts_and_disclosures_that_agree(tmp_path: Path) -> None:
    entries = [("verdict", {**VERDICT, "within": True}), ("disclosed", GIVEN)]
    assert beside(tmp_path / "whole", entries, entries) == []
    on_its_way = [("verdict", {**VERDICT, "within": None}), ("disclosed", GIVEN)]
    assert beside(tmp_path / "lost", on_its_way, []) == []
    assert beside(tmp_path / "learned", on_its_way, [("verdict", {**VERDICT, "within": False})]) == []


@pytest.mark.parametrize(
    ("developer", "auditor", "problem"),
    [
        ([], [("verdict", {**VERDICT, "within": True})], "verdict on release 1: learned by the auditor, not in"),
        ([("verdict", {**VERDICT, "within": True})], [], "verdict on release 1: told to the developer, not in"),
        (
            [("verdict", {**VERDICT, "within": True})],
            [("verdict", {**VERDICT, "within": False})],
            "verdict on release 1: within is False at the auditor, True at the developer",
        ),
        (
            [("verdict", {**VERDICT, "within": None})],
            [("verdict", {**VERDICT, "attribute": "race", "within": True})],
            "verdict on release 1: attribute is 'race' at the auditor, 'gender' at the developer",
        ),
        ([], [("disclosed", GIVEN)], "disclosure 1: arrived at the auditor, not in the developer's"),
        ([("disclosed", GIVEN)] * 2, [], "disclosure 1: given by the developer, not in the auditor's"),
        ([("disclosed", GIVEN)], [("disclosed", {**GIVEN, "numbers": 65})], "disclosure 1: ('auditor', 'adapter', 65)"),
    ],
)
def test_verdicts_and_disclosures_that_differ_are_named(
    tmp_path: Path,
    developer: list[tuple[str, dict[str, object]]],
    auditor: list[tuple[str, dict[str, object]]],
    problem: str,
) -> None:
    (found,) = beside(tmp_path, developer, auditor)
    assert found.startswith(problem)


def test_ledgers_from_before_verdicts_were_written_down_agree() -> None:
    """Their starts do not say that they would be, and a developer's disclosure had no line at the auditor."""
    given = [{"kind": "disclosed", "run": "run", **GIVEN}] * 3
    start = {"kind": "start", "run": "run"}
    assert compare([start, *given], [start]) == []
    assert len(compare([{**start, "notes": ["disclosed"]}, *given], [start])) == 1


def test_the_number_of_a_refused_verdict_is_not_given_again(tmp_path: Path) -> None:
    ledger = Ledger(tmp_path, "auditor")
    ledger.verdict("run", 3, "auditor", "moment", "gender", within=False)
    ledger.close()
    again = Ledger(tmp_path, "auditor")
    assert again.next_number("run") == 4
    again.close()
