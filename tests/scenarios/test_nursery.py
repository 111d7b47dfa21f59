"""Parties that are forked from one process: each is one of its own, with nothing of another's."""

from __future__ import annotations

import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from secure_fair.errors import ProcessFailed
from secure_fair.scenarios.nursery import Forked, Nursery
from tests.parties.company import make_identities

DEALER = ("party", "dealer", "--scenario", "quickstart", "--simulated", "--listen", "127.0.0.1:0")


@pytest.fixture(scope="module")
def nursery() -> Iterator[Nursery]:
    with Nursery(["secure_fair.scenarios.cli.identity", "secure_fair.scenarios.party_process"]) as held:
        yield held


def ended(party: Forked) -> tuple[int, str]:
    """Its exit code, and all that it said."""
    said = party.stderr.read()
    code = party.wait(60)
    party.close()
    return code, said


def waiting_dealer(nursery: Nursery, folder: Path) -> Forked:
    """A dealer that waits for the others, who never come."""
    make_identities(folder / "identities", ["dealer", "developer", "auditor"], simulated=True)
    given = [*DEALER, "--identity", str(folder / "identities" / "dealer"), "--out", str(folder / "out")]
    given += ["--peer", "developer=127.0.0.1:1", "--peer", "auditor=127.0.0.1:2"]
    party = nursery.start(given, "dealer")
    while "connecting" not in party.stderr.readline():
        assert party.poll() is None
    return party


def test_a_fork_ends_as_the_program_does_by_itself(nursery: Nursery, tmp_path: Path) -> None:
    assert ended(nursery.start(["identity", "init", str(tmp_path / "one")], "one"))[0] == 0
    code, said = ended(nursery.start(["identity", "show", str(tmp_path / "none")], "two"))
    alone = subprocess.run(
        [sys.executable, "-m", "secure_fair", "identity", "show", str(tmp_path / "none")],
        capture_output=True,
        text=True,
    )
    assert (code, said) == (alone.returncode, alone.stderr)
    assert code == 2


def test_forks_draw_keys_of_their_own(nursery: Nursery, tmp_path: Path) -> None:
    """They begin with one memory; a key comes from the system."""
    parties = [nursery.start(["identity", "init", str(tmp_path / name)], name) for name in ("one", "two", "three")]
    assert [ended(party)[0] for party in parties] == [0, 0, 0]
    keys = {(tmp_path / name / "authority" / "key.pem").read_bytes() for name in ("one", "two", "three")}
    assert len(keys) == 3


def test_a_signal_is_told_as_the_system_tells_it_and_a_stop_is_heeded(nursery: Nursery, tmp_path: Path) -> None:
    killed = waiting_dealer(nursery, tmp_path / "killed")
    stopped = waiting_dealer(nursery, tmp_path / "stopped")
    killed.kill()
    assert killed.wait(20) == -signal.SIGKILL
    assert stopped.poll() is None
    stopped.terminate()
    assert stopped.wait(20) == 130
    for party in (killed, stopped):
        party.stderr.close()
        party.close()


def test_a_party_ends_with_its_launcher(tmp_path: Path) -> None:
    """It notices that nobody holds the other end of its stdin any more; the process that it came from is gone, too."""
    with Nursery(["secure_fair.scenarios.party_process"]) as held:
        party = waiting_dealer(held, tmp_path)
    assert party.poll() is None
    party.close()
    deadline = time.monotonic() + 30
    while party.poll() is None:
        assert time.monotonic() < deadline
        time.sleep(0.05)
    party.stderr.close()


def test_who_cannot_import_says_why_and_starts_nobody(capfd: pytest.CaptureFixture[str]) -> None:
    with (
        Nursery(["secure_fair.no_such_module"]) as held,
        pytest.raises(ProcessFailed, match="dealer: no process could"),
    ):
        held.start(["--version"], "dealer")
    assert "No module named 'secure_fair.no_such_module'" in capfd.readouterr().err
