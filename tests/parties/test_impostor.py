"""Whoever runs the authority poses as the dealer: it takes part where names are believed, not where fingerprints are.

The impostor is the program itself with a key of its own, a certificate that the authority has signed for the dealer's
name, and the file that the parties have agreed on; that its own fingerprint is not in there it overlooks.
"""

from __future__ import annotations

from pathlib import Path

import pytest

from secure_fair.parties import identity
from secure_fair.parties.roster import Roster
from secure_fair.scenarios.schema import Scenario
from tests.parties.company import ROSTER, Company, Ended, program, sign_own, tiny

LOST, REFUSED = 5, 4
HONEST = ("developer", "auditor")


def impostor(arguments: list[str]) -> None:
    """The dealer's place taken by whoever has the authority's key."""
    place = arguments.index("--identity") + 1
    identities = Path(arguments[place]).parent
    own = identity.request(identities / "impostor", "dealer")
    sign_own(identities, own, again=True)
    arguments[place] = str(own)
    Roster.check_own = lambda *anything: None  # type: ignore[method-assign, assignment]
    program(arguments)


def another_roster(arguments: list[str]) -> None:
    """A party that has agreed on another dealer than the others have."""
    place = arguments.index("--parties") + 1
    agreed = Path(arguments[place])
    own = identity.request(agreed.parent / "another", "dealer")
    sign_own(agreed.parent, own, again=True)
    elsewhere = [own, *(agreed.parent / name for name in HONEST)]
    arguments[place] = str(agreed.with_name("other.toml"))
    Roster.collect(elsewhere).write(Path(arguments[place]))
    program(arguments)


@pytest.fixture(scope="module")
def scenario(weights: Path) -> Scenario:
    return tiny(weights, train={"epochs": 1}, lora={"last_blocks": 1})


def complaint(end: Ended) -> str:
    """The one line that a party has said in the end."""
    (line,) = (line for line in end.said.splitlines() if line.startswith("error: "))
    assert "Traceback" not in end.said
    return line


@pytest.mark.slow
def test_an_impostor_takes_part_where_the_authority_is_believed(
    scenario: Scenario, stores: Path, tmp_path: Path
) -> None:
    with Company(scenario, stores, tmp_path, entries={"dealer": impostor}) as company:
        company.succeed()
    own = identity.describe(tmp_path / "identities" / "impostor" / "dealer")
    assert own.fingerprint != identity.describe(tmp_path / "identities" / "dealer").fingerprint


def test_an_impostor_of_the_same_authority_is_refused_by_its_fingerprint(
    scenario: Scenario, stores: Path, tmp_path: Path
) -> None:
    with Company(scenario, stores, tmp_path, entries={"dealer": impostor}, simulated=False, timeout=20.0) as company:
        ends = company.wait(60.0)
    shown = identity.describe(tmp_path / "identities" / "impostor" / "dealer").fingerprint
    agreed = Roster.load(tmp_path / "identities" / ROSTER).fingerprints["dealer"]
    for name in HONEST:
        said = complaint(ends[name])
        assert "dealer shows another certificate than the agreed one" in said, (name, said)
        assert shown in said
        assert agreed in said
    # who hears of it from the other before it has looked itself has lost the dealer
    codes = {ends[name].code for name in HONEST}
    assert REFUSED in codes
    assert codes <= {REFUSED, LOST}
    assert ends["dealer"].code in (REFUSED, LOST)
    assert not (company.out("developer") / "predictions.csv").exists()


def test_parties_that_have_agreed_on_different_certificates_stop_at_once(
    scenario: Scenario, stores: Path, tmp_path: Path
) -> None:
    entries = {"auditor": another_roster}
    with Company(scenario, stores, tmp_path, entries=entries, simulated=False, timeout=20.0) as company:
        ends = company.wait(60.0)
    assert all(end.code in (REFUSED, LOST) for end in ends.values()), ends
    said = [complaint(ends[name]) for name in HONEST]
    assert any("fingerprints" in line or "another certificate" in line for line in said), said
