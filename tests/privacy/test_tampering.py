"""Every byte and every line of a small ledger: a change is damage, or a torn line that is cut off and written down."""

from __future__ import annotations

import hashlib
import json
import os
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from people import IDS, ask, plan_for, value
from rules import RULES

from secure_fair.errors import DamagedFile, UsageError
from secure_fair.privacy import ledger as ledgers
from secure_fair.privacy.chain import verify
from secure_fair.privacy.entries import Charge, Receipt
from secure_fair.privacy.gate import Gate
from secure_fair.privacy.ledger import Ledger, repair
from secure_fair.privacy.plan import PlannedRelease
from secure_fair.privacy.policy import Policy
from secure_fair.privacy.soundness import unsound
from secure_fair.privacy.standing import standing

PEOPLE = [f"person {number}" for number in range(12)]
LINES = "ledger.jsonl"
FILES = (LINES, "ledger.head", "table")


def receipt(number: int) -> Receipt:
    return Receipt("run", number, "auditor", "moment", "sex", "0" * 64, 12, (2, 1), 5.25)


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A ledger of one release that was opened, closed in good order."""
    return filled(tmp_path_factory.mktemp("whole") / "ledger", crash=False)


@pytest.fixture(scope="module")
def crashed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The same, of a process that was killed right after the opening: its note is not on disk for certain."""
    return filled(tmp_path_factory.mktemp("crashed") / "ledger", crash=True)


def filled(folder: Path, *, crash: bool) -> Path:
    ledger = Ledger(folder, "auditor")
    ledger.start("run")
    ledger.plan(receipt(1), Charge(mu2=0.25), ledger.enrol(PEOPLE), np.arange(12))
    ledger.opened(receipt(1))
    if crash:
        os.close(ledger._descriptor)
    else:
        ledger.close()
    return folder


def place_of(folder: Path, file: str) -> Path:
    return next((folder / "tables").iterdir()) if file == "table" else folder / file


def outcome(folder: Path) -> str:
    """How a ledger looks to who checks it: damaged, torn or intact."""
    try:
        return "torn" if verify(folder).torn else "intact"
    except DamagedFile:
        return "damaged"


def outcomes(folder: Path, file: str, contents: Iterator[bytes]) -> set[str]:
    path = place_of(folder, file)
    before, found = path.read_bytes(), set()
    for content in contents:
        path.write_bytes(content)
        found.add(outcome(folder))
    path.write_bytes(before)
    return found


def flipped(content: bytes) -> Iterator[bytes]:
    """Every byte changed, in turns in one bit, into a line's end, into a digit; and every blank into a tab."""
    for place, byte in enumerate(content):
        other = (byte ^ 1 << place % 8, ord("\n"), ord("7"))[place % 3]
        other = ord("\t") if byte == ord(" ") else byte ^ 1 if other == byte else other
        yield content[:place] + bytes([other]) + content[place + 1 :]


def cut_off(content: bytes) -> Iterator[bytes]:
    """Everything from a byte on, whichever, taken away."""
    return (content[:place] for place in range(len(content)))


def moved(content: bytes) -> Iterator[bytes]:
    """Lines removed, doubled, swapped with any other."""
    lines = content.splitlines(keepends=True)
    for first in range(len(lines)):
        yield b"".join(lines[:first] + lines[first + 1 :])
        yield b"".join(lines[: first + 1] + lines[first:])
        for second in range(first):
            swapped = list(lines)
            swapped[first], swapped[second] = lines[second], lines[first]
            yield b"".join(swapped)


@pytest.mark.parametrize("file", FILES)
@pytest.mark.parametrize("change", [flipped, cut_off])
def test_every_byte_counts(whole: Path, file: str, change: Callable[[bytes], Iterator[bytes]]) -> None:
    assert outcomes(whole, file, change(place_of(whole, file).read_bytes())) == {"damaged"}
    assert outcome(whole) == "intact"


def test_every_line_has_its_place(whole: Path) -> None:
    assert outcomes(whole, LINES, moved((whole / LINES).read_bytes())) == {"damaged"}


def test_after_a_crash_all_but_the_last_note_counts(crashed: Path, tmp_path: Path) -> None:
    """What nothing was waited for may be torn; then it is cut off and written down, and all that is spent stays so."""
    content = (crashed / LINES).read_bytes()
    last = content[:-1].rfind(b"\n") + 1
    before = outcomes(crashed, LINES, (content[:place] for place in range(last - 1)))
    assert before == {"damaged"}
    assert outcomes(crashed, LINES, (content[:place] for place in range(last + 1, len(content)))) == {"torn"}
    assert outcomes(crashed, LINES, (content[:last],)) == {"intact"}
    end_of_line = content[:-1] + b"\t"
    assert outcomes(crashed, LINES, (content[:last] + other for other in flipped(content[last:]))) == {
        "damaged",
        "torn",
    }
    assert outcomes(crashed, LINES, (end_of_line,)) == {"torn"}
    assert outcomes(crashed, LINES, (other for other in moved(content) if other != content[:last])) == {"damaged"}
    copy = tmp_path / "copy"
    shutil.copytree(crashed, copy)
    (copy / LINES).write_bytes(content[:-9])
    torn = content[last:-9]
    assert repair(copy) == len(torn)
    assert repair(copy) == 0
    assert verify(copy).torn == b""
    *_, entry = [json.loads(line) for line in (copy / LINES).read_text().splitlines()]
    assert (entry["kind"], entry["torn"], entry["sha256"]) == ("repaired", len(torn), hashlib.sha256(torn).hexdigest())
    assert standing(copy, RULES).spent[0].people == 12


def test_a_run_goes_on_behind_a_torn_line_and_says_so(whole: Path, tmp_path: Path) -> None:
    shutil.copytree(whole, tmp_path / "ledger")
    with (tmp_path / "ledger" / LINES).open("ab") as file:
        file.write(b'{"kind": "planned", "numb')
    assert outcome(tmp_path / "ledger") == "torn"
    ledger = Ledger(tmp_path / "ledger", "auditor")
    assert [entry["torn"] for entry in ledger.entries() if entry["kind"] == "repaired"] == [25]
    ledger.close()


def test_damage_is_not_repaired(whole: Path, tmp_path: Path) -> None:
    shutil.copytree(whole, tmp_path / "ledger")
    path = tmp_path / "ledger" / LINES
    damaged = path.read_bytes().replace(b"5.25", b"9.25") + b"torn"
    path.write_bytes(damaged)
    with pytest.raises(DamagedFile, match="was changed"):
        repair(tmp_path / "ledger")
    assert path.read_bytes() == damaged


def test_a_full_disk_leaves_no_half_entry_and_opens_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    ledger = Ledger(tmp_path / "ledger", "auditor")
    table, before = ledger.enrol(PEOPLE), (tmp_path / "ledger" / LINES).read_bytes()

    def full(descriptor: int, content: bytes) -> None:
        os.write(descriptor, content[:40])
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr(ledgers, "_write_all", full)
        with pytest.raises(UsageError, match="No space left on device"):
            ledger.plan(receipt(1), Charge(mu2=0.25), table, np.arange(12))
    assert (tmp_path / "ledger" / LINES).read_bytes() == before
    ledger.plan(receipt(1), Charge(mu2=0.25), table, np.arange(12))
    ledger.close()
    assert outcome(tmp_path / "ledger") == "intact"


# --- entries that do not add up, in a chain that holds ----------------------------------------------------------------


@pytest.fixture
def gate(open_gate: Callable[..., Gate]) -> Gate:
    """One that has released two moments under a limit for life."""
    made = open_gate([plan_for(releases=[PlannedRelease("moment", 2, 2, 1.0)])], policy=Policy(epsilon=1.5))
    for records in (np.arange(len(IDS)), np.arange(40)):
        made.release(made.admit(ask(records=records)), value(4, 1))
    return made


def rewritten(folder: Path, change: Callable[[list[dict[str, Any]]], None]) -> None:
    """Change the entries of a ledger, and make the chain and the head anew, as its owner can."""
    entries = [json.loads(line) for line in (folder / LINES).read_text().splitlines()]
    change(entries)
    previous, lines = "0" * 64, []
    for number, entry in enumerate(entries, 1):
        content = {**entry, "entry": number, "previous": previous}
        del content["hash"]
        previous = hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()
        lines.append(json.dumps({**content, "hash": previous}, sort_keys=True) + "\n")
    (folder / LINES).write_text("".join(lines))
    (folder / "ledger.head").write_text(json.dumps({"entries": len(lines), "hash": previous}))


def of_kind(entries: list[dict[str, Any]], kind: str) -> dict[str, Any]:
    return next(entry for entry in entries if entry["kind"] == kind)


def cheaper(entries: list[dict[str, Any]]) -> None:
    of_kind(entries, "planned")["charge"]["mu2"] /= 4


def other_records(entries: list[dict[str, Any]]) -> None:
    first, second = (entry for entry in entries if entry["kind"] == "planned")
    first["members"] = second["members"]


def other_payers(entries: list[dict[str, Any]]) -> None:
    first, second = (entry for entry in entries if entry["kind"] == "planned")
    second["charged"] = first["charged"]


def fewer_times(entries: list[dict[str, Any]]) -> None:
    of_kind(entries, "planned")["times"] = [2] * len(IDS)


def no_start(entries: list[dict[str, Any]]) -> None:
    entries.remove(of_kind(entries, "start"))


def no_table(entries: list[dict[str, Any]]) -> None:
    entries.remove(of_kind(entries, "table"))


def doubled(entries: list[dict[str, Any]]) -> None:
    entries.append(dict(of_kind(entries, "planned")))


def never_planned(entries: list[dict[str, Any]]) -> None:
    entries.remove(of_kind(entries, "planned"))


def stricter(entries: list[dict[str, Any]]) -> None:
    of_kind(entries, "start")["policy"]["epsilon"] = 0.5


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (cheaper, "its charge is less than its noise costs"),
        (other_records, "its records are not those of its digest"),
        (other_payers, "somebody pays whose records it is not about"),
        (fewer_times, "somebody does not pay for each record"),
        (no_start, "its run has no start line"),
        (no_table, "its table of records was never enrolled"),
        (doubled, "was planned twice"),
        (never_planned, "was opened unplanned"),
        (stricter, "of somebody is at epsilon"),
    ],
)
def test_what_does_not_add_up_is_named(
    gate: Gate, tmp_path: Path, change: Callable[[list[dict[str, Any]]], None], said: str
) -> None:
    gate._ledger.settled()
    folder = tmp_path / "copy"
    shutil.copytree(tmp_path / "state", folder)
    assert unsound(folder, RULES) == []
    rewritten(folder, change)
    assert outcome(folder) == "intact"  # to who looks at the chain alone
    assert any(said in problem for problem in unsound(folder, RULES))
