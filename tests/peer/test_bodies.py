"""CrypTen's own tests on this engine: every body passes, but for what is refused on purpose (``refused.toml``).

A body that ends in a wrong value, in any other error, or that passes where a refusal is written down fails here. Not
part of ``make test``: ``make test-peer`` takes some ten minutes.
"""

from __future__ import annotations

import tomllib
from pathlib import Path

import pytest

from tests.mpc.harness import Failed, Settings, World
from tests.peer.bodies import MODULES, Body, Played, bodies, play

pytestmark = [pytest.mark.peer, pytest.mark.timeout(3000)]
REFUSED = tomllib.loads((Path(__file__).parent / "refused.toml").read_text())


def expected_refusals() -> dict[str, str]:
    """What the message of each refused body names, by the body."""
    return {body: what for what, entry in REFUSED["refused"].items() for body in entry["bodies"]}


def outcome_of(played: list[Played | Failed]) -> Played:
    """The same at all parties; a party's error is raised."""
    for one in played:
        if isinstance(one, Failed):
            raise one
    assert len({(one.outcome, one.text) for one in played}) == 1, f"parties ended in different ways: {played}"
    return played[0]


def problem(body: Body, played: list[Played | Failed], refusals: dict[str, str]) -> str:
    """What is wrong with how a body ended, or nothing."""
    due = refusals.get(str(body))
    try:
        found = outcome_of(played)
    except (Failed, AssertionError) as error:
        return f"{body}: {error}"
    if found.outcome == "refused":
        return "" if due is not None and found.text.startswith(f"{due} is not offered") else f"{body}: {found.text}"
    return f"{body}: is to be refused ({due}) and {found.outcome}" if due is not None else ""


@pytest.mark.parametrize("parties", [2, 3])
@pytest.mark.parametrize("module", MODULES)
def test_bodies(module: str, parties: int) -> None:
    refusals, found, world = expected_refusals(), [], None
    skipped = REFUSED["two_parties"] if parties != 2 else {}
    for body in (body for body in bodies(module) if str(body) not in skipped):
        world = world or World(Settings(parties, timeout=120.0))
        played = world.call(play, (body.module, body.case, body.name))
        found.append(problem(body, played, refusals))
        if any(isinstance(one, Failed) for one in played):
            world.end()
            world = None
    if world:
        world.end()
    assert [text for text in found if text] == []


def test_every_body_that_is_written_down_is_there() -> None:
    named = {str(body) for module in MODULES for body in bodies(module)}
    written = [body for entry in REFUSED["refused"].values() for body in entry["bodies"]]
    assert len(written) == len(set(written))
    assert set(written) | set(REFUSED["two_parties"]) <= named
