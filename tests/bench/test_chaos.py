"""Accidents at random: runs are planned by number alone, what strikes is judged, the page tells of what was run."""

from __future__ import annotations

import json
import signal
import time
from dataclasses import asdict
from pathlib import Path

import pytest

from secure_fair.bench.chaos import accidents
from secure_fair.bench.chaos.accidents import EARLY, ENDING, KINDS, Event, wrong_end
from secure_fair.bench.chaos.clocks import LIBRARY
from secure_fair.bench.chaos.company import ChaosTerms, Company, PartyEnding
from secure_fair.bench.chaos.page import page
from secure_fair.bench.chaos.runs import Bench, ChaosResult, planned

ROOT = Path(__file__).parents[2]


def test_a_run_is_known_by_its_number_and_every_kind_comes() -> None:
    runs = [planned(number, seed=1) for number in range(1, 200)]
    assert [asdict(one) for one in runs] == [asdict(planned(number, seed=1)) for number in range(1, 200)]
    assert {event.kind for run in runs for event in run.events} == set(KINDS)
    clocks = {
        (run.shape, place) for run in runs for place, event in enumerate(run.events) if KINDS[event.kind].at_start
    }
    assert {place for shape, place in clocks if shape == "mended"} == {0}
    assert 0 not in {place for shape, place in clocks if shape == "ending"}
    assert runs[0].events != planned(1, seed=2).events


def ended(code: int, said: str, at: float = 1.0) -> PartyEnding:
    return PartyEnding(code, at, f"connecting\nerror: {said}\n", came=0.0)


GOOD = {
    "dealer": ended(5, "lost auditor: its connection has ended"),
    "auditor": PartyEnding(-signal.SIGKILL, 0.5, "connecting\n", came=0.0),
    "developer": ended(5, "lost auditor: dealer says: its connection has ended"),
}


@pytest.mark.parametrize(
    ("party", "end", "wrong"),
    [
        ("dealer", GOOD["dealer"], ""),
        ("dealer", PartyEnding(0, 1.0, "done", came=0.0), ""),  # it had no more need of the others
        ("dealer", ended(4, "lost auditor"), "dealer ended with 4"),
        ("dealer", ended(5, "lost developer: silent"), "dealer does not name auditor"),
        ("dealer", ended(5, "lost auditor", at=30.0), "dealer ended 15.0 s too late"),
        ("auditor", ended(5, "lost dealer"), "auditor ended with 5"),
        ("developer", PartyEnding(5, 1.0, "Traceback (most recent call last)", came=0.0), "developer said []"),
    ],
)
def test_how_parties_ended_is_judged(party: str, end: PartyEnding, wrong: str) -> None:
    event = Event("kill", "auditor", 0.1, struck="after 2 epochs", at=0.0)
    found = wrong_end(event, {**GOOD, party: end}, silence=10.0)
    assert (found == []) if not wrong else any(wrong in one for one in found)


@pytest.fixture(scope="module")
def bench(tmp_path_factory: pytest.TempPathFactory) -> Bench:
    return Bench(tmp_path_factory.mktemp("chaos"))


@pytest.mark.slow
def test_a_run_that_is_struck_and_gone_on_with_ends_as_it_should(bench: Bench) -> None:
    events = [Event("kill", "auditor", 0.1), Event("folder gone", "developer", 0.1)]
    result = bench.run(ChaosResult(1, 0, "ending", noised=True, events=events))
    assert result.wrong == []
    assert result.starts == 3
    assert all(event.struck for event in events)
    told = page([json.loads(result.line())])
    assert "**1 of 1 runs were as they should be, with 2 accidents that struck in 3 starts" in told
    assert "| kill | 1 | killed | 5 |" in told


@pytest.mark.slow
@pytest.mark.skipif(LIBRARY is None, reason="libfaketime is not installed")
def test_a_clock_beyond_the_certificates_keeps_a_party_from_going_on_until_it_is_set(bench: Bench) -> None:
    events = [Event("kill", "dealer", 0.1), Event("clock beyond the certificates", "developer", 0.1, days=500.0)]
    result = bench.run(ChaosResult(2, 0, "ending", noised=True, events=events))
    assert result.wrong == []
    assert (result.starts, events[1].struck) == (3, EARLY)


@pytest.mark.slow
def test_what_a_full_disk_does_is_said_by_whose_it_is(tmp_path: Path, bench: Bench) -> None:
    with Company(bench.grounds, tmp_path / "run", ChaosTerms(0, 10.0, 50), noised=False) as company:
        company.start()
        while not company.is_training():
            time.sleep(0.05)
        event = Event("full disk", "auditor", 0.0)
        accidents.strike(company, event)
        while not company.all_ended():
            time.sleep(0.05)
        ends = company.ends()
        assert ends["auditor"].code == 2
        assert "File too large" in ends["auditor"].said
        assert wrong_end(event, ends, silence=10.0) == []


def test_the_page_has_every_kind() -> None:
    text = (ROOT / "docs" / "reliability.md").read_text()
    assert all(f"| {name}" in text for name in ENDING)
