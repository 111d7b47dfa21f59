"""Several auditors behind one developer, as processes: what each gets to know, and what stops all of them."""

from __future__ import annotations

import json
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import secure_fair.parties.auditor
import secure_fair.parties.secure_auditors
from secure_fair.attacks.common import lies
from secure_fair.data.store import AuditorStore
from secure_fair.errors import ProtocolError
from secure_fair.mpc.authenticated import VerifiersCheck
from secure_fair.operations.common import state as states
from secure_fair.parties import messages
from secure_fair.parties.messages import Attributes
from secure_fair.scenarios.people import People, load
from secure_fair.scenarios.progress import LineReporter
from secure_fair.scenarios.schema import Scenario
from tests.parties.company import (
    APART,
    BOTH,
    Company,
    Entry,
    ended_company,
    program,
    tiny,
    with_policy,
    write_stores,
)
from tests.parties.planted import found_in
from tests.parties.test_knowledge import Watch, outside, talking_auditor
from tests.parties.test_row_bound import stretching_developer

HALVES = [{"name": name, "attributes": ["male"], "records": 0.5} for name in ("north", "south")]
TRUSTING = {"developer": "follows the protocol", "auditors": "follow the protocol"}  # intersections ask for it
WORDS = "".join(f"{key} = {word!r}\n" for key, word in TRUSTING.items())
PRIVACY = {"epsilon": 2.0, "evaluation_epsilon": 1.0}


def planned(company: Company, name: str) -> list[tuple[str, str, str]]:
    """Operation, attribute and intersection of all that an auditor has paid for."""
    ledger = company.folder / "states" / name / "ledger" / "ledger.jsonl"
    entries = [json.loads(line) for line in ledger.read_text().splitlines()]
    return [(entry["operation"], entry["attribute"], entry["of"]) for entry in entries if entry["kind"] == "planned"]


HELD_APART: dict[str, Any] = {"data": BOTH, "secure": {"auditors": APART}, "privacy": PRIVACY, "policy": TRUSTING}


# --- who knows what ---------------------------------------------------------------------------------------------------


def lines_of(stores: Path, holder: str, *others: str) -> list[str]:
    """Lines "id,group" that this holder has and none of the others, who may have one that looks alike by chance."""
    held = (stores / holder / "attributes.csv").read_text().splitlines()[1:]
    seen = "".join(
        (stores / other / file).read_text()
        for other, file in ((name, "records.csv" if name == "developer" else "attributes.csv") for name in others)
    )
    telling = [line for line in held if line not in seen]
    assert len(telling) > len(held) / 8
    return telling


def known_to(watcher: str, folder: Path, scenario: Scenario, clinic: Entry = program) -> list[str]:
    """Everything of the clinic's people that one other party opened, received or kept, in a whole run."""
    stores = folder / "stores"
    watch = Watch(folder / "watch")
    watch.strace = None  # the way of watching that every machine has
    entries = {watcher: watch.entry(), "clinic": clinic}
    company, _ = ended_company(scenario, folder, entries)
    own = [stores / watcher, company.out(watcher), company.folder / "states" / watcher]
    own += [company.folder / "identities" / watcher, watch.folder, company.folder / "scenario.toml"]
    found = [f"opened {path}" for path in outside(watch.opened(), own=[*own, Path(scenario.backbone.weights)])]
    kept = [*own[:3], company.log(watcher), watch.folder / "own", watch.folder / "received"]
    assert b'"kind":"' in (watch.folder / "received").read_bytes()
    return found + found_in(lines_of(stores, "clinic", watcher), *kept)


@pytest.mark.parametrize("watcher", ["developer", "registry"])
def test_neither_developer_nor_the_other_auditor_gets_an_attribute(tmp_path: Path, weights: Path, watcher: str) -> None:
    scenario = tiny(
        weights, data=BOTH, secure={"auditors": APART}, privacy=PRIVACY, policy=TRUSTING, train={"epochs": 1}
    )
    assert known_to(watcher, tmp_path, scenario) == []


@pytest.mark.parametrize("watcher", [pytest.param("developer", marks=pytest.mark.long), "registry"])
def test_a_holder_that_talks_is_noticed_at_both(tmp_path: Path, weights: Path, watcher: str) -> None:
    scenario = tiny(
        weights, data=BOTH, secure={"auditors": APART}, privacy=PRIVACY, policy=TRUSTING, train={"epochs": 1}
    )
    assert any("received" in place for place in known_to(watcher, tmp_path, scenario, clinic=talking_auditor))


def test_each_store_has_its_own_people_and_attributes_alone(tmp_path: Path, weights: Path) -> None:
    scenario = tiny(weights, data=BOTH, secure={"auditors": [*HALVES, {"name": "clinic", "attributes": ["young"]}]})
    people = write_stores(scenario, tmp_path)
    stores = {name: AuditorStore.open(tmp_path / name) for name in ("north", "south", "clinic")}
    halves = [set(stores[name].ids) for name in ("north", "south")]
    assert not halves[0] & halves[1]
    assert halves[0] | halves[1] == set(stores["clinic"].ids)
    assert [len(half) for half in halves] == [150, 150]
    own = [set(stores[name].own().ids) for name in ("north", "south")]
    assert not own[0] & own[1]
    assert stores["north"].attributes == ("male",)
    assert stores["clinic"].attributes == ("young",)
    test = set(people.positions())
    assert [len(half & test) for half in halves] == [50, 50]


# --- what stops all of them -------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("method", "stingy", "generous"),
    [
        ({"name": "parity", "attributes": ["male x young"]}, "registry", "clinic"),
        ({"name": "orth"}, "clinic", "registry"),  # which trains, and pays, before the first request
    ],
    ids=["moments", "adapters"],
)
def test_a_budget_that_ends_at_one_auditor_stops_all_before_anything_is_spent(
    tmp_path: Path, weights: Path, method: dict[str, Any], stingy: str, generous: str
) -> None:
    data = BOTH if method["name"] == "parity" else {"sensitive": ["male", "young"]}
    scenario = tiny(weights, method=method, data=data, secure={"auditors": APART}, privacy=PRIVACY, policy=TRUSTING)
    entries = {stingy: partial(with_policy, f"epsilon = 0.1\n{WORDS}")}
    company, ended = ended_company(scenario, tmp_path, entries)
    assert {name: end.code for name, end in ended.items()} == dict.fromkeys(ended, 3), ended
    said = ended["developer"].said  # by its refusal or by its farewell, whichever is read first
    assert f"{stingy} refused" in said or f"{stingy}: it has stopped" in said
    assert planned(company, stingy) == planned(company, generous) == []


@pytest.mark.parametrize("trusting", ["neither", "registry"])
def test_whoever_checks_the_rows_learns_of_long_ones_before_it_releases(
    tmp_path: Path, weights: Path, trusting: str
) -> None:
    method = {"name": "parity", "attributes": ["male x young"]}
    scenario = tiny(weights, method=method, data=BOTH, secure={"auditors": APART}, privacy=PRIVACY, policy=TRUSTING)
    entries: dict[str, Entry] = {"developer": stretching_developer}
    if trusting == "registry":
        entries["registry"] = partial(with_policy, f'epsilon = 50\nrow_bounds = "trust"\n{WORDS}')
    company, ended = ended_company(scenario, tmp_path, entries)
    # where both check, either may be the first to see it, and the other hears of it from the first
    checking = ["clinic"] if trusting == "registry" else ["clinic", "registry"]
    assert 4 in {ended[name].code for name in checking}
    assert all("has not proved" in ended[name].said for name in checking)
    assert ended["developer"].code in (4, 5)
    assert "moment" not in {operation for operation, _, _ in planned(company, "clinic")}
    moments = [of for operation, _, of in planned(company, "registry") if operation == "moment"]
    # who trusts may have released its share before it heard of it, and that alone opens nothing
    assert moments == [] or (trusting == "registry" and moments == ["male x young"])


def other_halves(scenario: Scenario, folder: Path, records: float) -> None:
    """Stores in which the north's part is another fraction of the same people than the scenario says."""
    table = load(scenario, LineReporter())
    agreed = People(scenario, table)
    agreed.write_stores(folder)
    parts = [HALVES[0] | {"records": records}, HALVES[1] | {"records": 1 - records}]
    another = People(tiny(Path(scenario.backbone.weights), secure={"auditors": parts}), table)
    another.join_key = agreed.join_key
    another.write_stores(folder / "another")
    (folder / "north").rename(folder / "agreed")
    (folder / "another" / "north").rename(folder / "north")


@pytest.mark.parametrize(
    ("records", "said"),
    [(0.4, "male: no auditor holds 30 of 300"), (0.6, "male: more than one auditor holds 30 of 300")],
)
def test_parts_that_leave_somebody_out_or_overlap_are_refused_at_the_start(
    tmp_path: Path, weights: Path, records: float, said: str
) -> None:
    scenario = tiny(weights, secure={"auditors": HALVES})
    other_halves(scenario, tmp_path / "stores", records)
    company, ended = ended_company(scenario, tmp_path, seconds=100)
    assert ended["developer"].code == 4
    assert said in ended["developer"].said
    assert ended["north"].code in (4, 5)
    assert planned(company, "north") == planned(company, "south") == []


def holder_with_a_two(arguments: list[str]) -> None:
    """Commits itself to twice the memberships of its own people."""
    honest = states.membership_matrix
    lies.lie_about_bits()
    states.membership_matrix = lambda *rest: 2 * honest(*rest)
    program(arguments)


def believing(arguments: list[str]) -> None:
    """Takes every proof for good."""
    VerifiersCheck.holds = lambda *_: True  # type: ignore[method-assign]
    program(arguments)


@pytest.mark.parametrize("checked", [True, False], ids=["checked", "believed"])
def test_a_part_of_memberships_that_are_none_is_refused_by_all_and_its_holder_named(
    tmp_path: Path, weights: Path, checked: bool
) -> None:
    scenario = tiny(weights, secure={"auditors": HALVES}, train={"epochs": 1})
    write_stores(scenario, tmp_path / "stores")
    entries: dict[str, Entry] = {"north": holder_with_a_two}
    if not checked:
        entries |= {"south": believing, "developer": believing}
    company, ended = ended_company(scenario, tmp_path, entries)
    if not checked:
        assert {name: end.code for name, end in ended.items()} == dict.fromkeys(ended, 0), ended
        assert planned(company, "south")
        return
    assert 4 in (ended["developer"].code, ended["south"].code)
    assert "north has not proved that its input keeps to its bound" in ended["developer"].said + ended["south"].said
    assert planned(company, "north") == planned(company, "south") == []


def developer_that_moves_people(arguments: list[str]) -> None:
    """Tells the auditors of other parts than they have: consistent ones, with two people exchanged."""
    send = messages.send

    def tell(network: Any, peer: str, message: Any, raw: bytes = b"") -> None:
        if isinstance(message, Attributes):
            bits = np.frombuffer(raw, dtype=np.uint8).reshape(2, -1).copy()
            bits[:, 0] = bits[::-1, 0].copy()
            raw = bits.tobytes()
        send(network, peer, message, raw)

    secure_fair.parties.secure_auditors.messages.send = tell  # type: ignore[attr-defined]
    program(arguments)


def test_every_auditor_checks_the_parts_that_it_is_told(tmp_path: Path, weights: Path) -> None:
    scenario = tiny(weights, secure={"auditors": HALVES})
    entries = {"developer": developer_that_moves_people}
    _, ended = ended_company(scenario, tmp_path, entries, 100)
    assert 4 in (ended["north"].code, ended["south"].code)
    assert "announced another part" in ended["north"].said + ended["south"].said


def test_people_of_nobody_are_still_refused_where_all_are_held_by_one(tmp_path: Path, weights: Path) -> None:
    """Unknown ids are another's only where the scenario says that there is another."""
    scenario = tiny(weights, data=BOTH, secure={"auditors": APART})
    parted = tiny(weights, secure={"auditors": HALVES})
    table = load(parted, LineReporter())
    people = People(parted, table)
    people.write_stores(tmp_path / "parts")
    agreed = People(scenario, load(scenario, LineReporter()))
    agreed.join_key = people.join_key
    agreed.write_stores(tmp_path / "stores")
    (tmp_path / "stores" / "registry").rename(tmp_path / "whole")
    (tmp_path / "parts" / "north").rename(tmp_path / "stores" / "registry")
    _, ended = ended_company(scenario, tmp_path, seconds=100)
    assert ended["registry"].code == 4
    assert "record ids are unknown" in ended["registry"].said


# --- the parts as a message -------------------------------------------------------------------------------------------


@pytest.mark.parametrize("enrolled", [1, 7, 8, 9, 300])
def test_parts_come_back_as_they_were_sent(enrolled: int) -> None:
    chance = np.random.default_rng(enrolled)
    held = {name: chance.random(enrolled) < 0.5 for name in ("a", "b", "c")}
    raw = b"".join(messages.pack_part(part) for part in held.values())
    found = messages.unpack_parts(raw, list(held), enrolled)
    assert all(np.array_equal(found[name], part) for name, part in held.items())
    with pytest.raises(ProtocolError, match="bytes came"):
        messages.unpack_parts(raw[:-1], list(held), enrolled)


def test_parts_must_be_a_partition_for_every_attribute() -> None:
    first = np.arange(10) < 4
    check: Callable[..., None] = messages.check_parts
    check({"a": first, "b": ~first}, {"x": ("a", "b"), "y": ("whole",)})
    with pytest.raises(ProtocolError, match="y: no auditor holds 6 of 10 enrolled records, number 4 first"):
        check({"a": first, "b": ~first}, {"x": ("a", "b"), "y": ("a",)})
    with pytest.raises(ProtocolError, match="x: more than one auditor holds 4 of 10 enrolled records, number 0 first"):
        check({"a": first, "b": np.ones(10, dtype=bool)}, {"x": ("a", "b")})
