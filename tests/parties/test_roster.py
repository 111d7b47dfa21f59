"""The file of fingerprints that the parties agree on, and the parties that are refused before they connect."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest
from click.testing import CliRunner

from secure_fair.errors import UsageError
from secure_fair.parties import identity
from secure_fair.parties.roster import Roster
from secure_fair.scenarios.cli.main import main
from tests.parties.company import ROSTER, make_identities, tiny
from tests.parties.handmade import rewrite

NAMES = ["dealer", "auditor", "developer"]


@pytest.fixture(scope="module")
def agreed(tmp_path_factory: pytest.TempPathFactory, weights: Path) -> Path:
    """The identities of three parties, their roster, and their scenario; not to be changed."""
    folder = tmp_path_factory.mktemp("agreed")
    make_identities(folder, NAMES, simulated=False)
    (folder / "scenario.toml").write_text(tiny(weights).to_toml())
    return folder


def start(agreed: Path, identity: Path, *options: str) -> tuple[int, str]:
    """Exit code and message of a dealer that is refused before it connects."""
    line = ["party", "dealer", "--scenario", str(agreed / "scenario.toml"), "--identity", str(identity)]
    line += ["--listen", "127.0.0.1:0", "--peer", "auditor=127.0.0.1:1", "--peer", "developer=127.0.0.1:1"]
    line += ["--timeout", "1", "--out", str(identity.parent / "out"), *options]
    result = CliRunner().invoke(main, line)
    return result.exit_code, result.stderr


def roster_of(folder: Path, fingerprints: dict[str, str]) -> Path:
    Roster("", fingerprints).write(folder / ROSTER)
    return folder / ROSTER


def one_message(refused: tuple[int, str], text: str) -> None:
    """The refusal is a wrong setting, said in one line that has ``text``."""
    code, said = refused
    assert code == 2, said
    assert text in said
    assert said.count("\n") == 1, said


def test_a_roster_is_read_as_it_was_written(agreed: Path, tmp_path: Path) -> None:
    roster = Roster.load(agreed / ROSTER)
    assert dict(roster.fingerprints) == {name: identity.describe(agreed / name).fingerprint for name in NAMES}
    turned = roster_of(tmp_path, dict(reversed(roster.fingerprints.items())))
    assert Roster.load(turned).digest == roster.digest
    other = Roster("", {**roster.fingerprints, "dealer": 64 * "0"})
    assert other.digest != roster.digest
    with pytest.raises(UsageError, match="exists already"):
        roster.write(turned)


def test_a_certificate_alone_is_enough_for_a_roster(agreed: Path) -> None:
    signed = sorted((agreed / "authority" / "signed").iterdir())
    assert Roster.collect(signed).fingerprints == Roster.load(agreed / ROSTER).fingerprints


def test_what_cannot_be_agreed_on_is_listed(agreed: Path, tmp_path: Path) -> None:
    shutil.copytree(agreed / "authority", tmp_path / "authority")
    simulated = identity.issue_for_simulation(tmp_path, "dealer")
    with pytest.raises(UsageError) as refused:
        Roster.collect([agreed / "dealer", simulated, agreed / "authority"])
    said = "\n".join(refused.value.problems)
    assert "its key was made by the authority, for a simulation" in said
    assert "a second certificate of 'dealer'" in said
    assert "party name 'secure_fair authority" in said


def test_a_party_with_all_it_needs_goes_on_to_connect(agreed: Path) -> None:
    code, said = start(agreed, agreed / "dealer", "--parties", str(agreed / ROSTER))
    assert code == 5, said


def test_a_party_needs_a_roster(agreed: Path) -> None:
    one_message(start(agreed, agreed / "dealer"), "--parties FILE: is missing")
    assert start(agreed, agreed / "dealer", "--simulated")[0] == 5


def test_a_key_that_the_authority_has_made_is_for_simulations(agreed: Path, tmp_path: Path) -> None:
    shutil.copytree(agreed / "authority", tmp_path / "authority")
    simulated = identity.issue_for_simulation(tmp_path, "dealer")
    fingerprints = {**Roster.load(agreed / ROSTER).fingerprints, "dealer": identity.describe(simulated).fingerprint}
    refused = start(agreed, simulated, "--parties", str(roster_of(tmp_path, fingerprints)))
    one_message(refused, "its key was made by the authority, for a simulation")


def test_an_expired_certificate_is_refused(agreed: Path, tmp_path: Path) -> None:
    """By the party that has it, and when the parties agree."""
    shutil.copytree(agreed / "dealer", tmp_path / "dealer")
    rewrite(tmp_path / "dealer", agreed / "authority", days=(-2, -1))
    one_message(start(agreed, tmp_path / "dealer", "--parties", str(agreed / ROSTER)), "expired at")
    result = CliRunner().invoke(main, ["identity", "agree", str(tmp_path / "dealer"), "--out", str(tmp_path / ROSTER)])
    one_message((result.exit_code, result.stderr), "expired at")


def test_wrong_requests_are_one_message_each(agreed: Path, tmp_path: Path) -> None:
    shutil.copytree(agreed / "authority", tmp_path / "authority")
    request = tmp_path / "request.pem"
    shutil.copy(agreed / "dealer" / "request.pem", request)

    def sign(name: str) -> tuple[int, str]:
        result = CliRunner().invoke(main, ["identity", "sign", str(tmp_path), name, str(request)])
        return result.exit_code, result.stderr

    one_message(sign("third"), "asks for 'dealer', where 'third' was to be signed")
    one_message(sign("dealer"), "'dealer' has been signed already")
    request.write_bytes(b"-----BEGIN NOTHING-----\n")
    one_message(sign("dealer"), "not a request in PEM")


@pytest.mark.parametrize(
    ("role", "name"), [("developer", "auditor"), ("auditor", "developer"), ("auditor", "dealer"), ("dealer", "auditor")]
)
def test_a_certificate_of_another_role_is_refused(agreed: Path, role: str, name: str) -> None:
    line = ["party", role, "--scenario", str(agreed / "scenario.toml"), "--identity", str(agreed / name)]
    line += ["--parties", str(agreed / ROSTER), "--out", str(agreed / "out"), "--peer", "a=b:1"]
    line += ["--store", str(agreed), "--state", str(agreed / "state")] if role != "dealer" else []
    result = CliRunner().invoke(main, line)
    assert result.exit_code == 2
    assert f"is {name!r}'s, and this is `secure-fair party {role}`" in result.stderr
