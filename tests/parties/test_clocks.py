"""A party whose clock is wrong: its own certificate's days are all that looks at it, and the times in its own ledger.

The clock is that of the whole process, set by libfaketime (https://github.com/wolfcw/libfaketime); without the package
of that name these are not run.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from datetime import UTC, datetime, timedelta
from functools import partial
from pathlib import Path

import pytest

from secure_fair.bench.chaos.clocks import LIBRARY, environment
from secure_fair.privacy.chain import verify
from tests.parties.company import Company
from tests.parties.test_resume import few, short  # noqa: F401

pytestmark = [pytest.mark.slow, pytest.mark.skipif(LIBRARY is None, reason="libfaketime is not installed")]


def with_clock(offset: str) -> dict[str, str]:
    """The environment of a process whose clock is wrong by so much."""
    return {**os.environ, **environment(offset)}


def elsewhen(offset: str, arguments: list[str]) -> None:
    """The program with such a clock, in place of this process."""
    os.execve(sys.executable, [sys.executable, "-m", "secure_fair", *arguments], with_clock(offset))


@pytest.mark.parametrize(
    ("offset", "said"),
    [
        ("-1d", "set the clock"),
        ("+3d", "expired at"),
        ("-10y", "set the clock"),
        ("+10y", "expired at"),
    ],
)
def test_whose_clock_is_wrong_is_told_so_before_anything_begins(
    tmp_path: Path,
    weights: Path,
    few: Path,  # noqa: F811
    offset: str,
    said: str,
) -> None:
    with Company(short(weights), few, tmp_path, simulated=False) as company:
        line = company.command_line("auditor")
    command = [sys.executable, "-m", "secure_fair", *line]
    ended = subprocess.run(command, env=with_clock(offset), capture_output=True, text=True, timeout=60)
    assert ended.returncode == 2, ended.stderr
    assert "and this machine's clock says" in ended.stderr
    assert said in ended.stderr
    assert "certificate.pem" in ended.stderr or "authority.pem" in ended.stderr


@pytest.mark.parametrize("party", ["auditor", "developer"])
def test_within_the_certificates_days_a_wrong_clock_changes_nothing_but_the_times_in_its_ledger(
    tmp_path: Path,
    weights: Path,
    few: Path,  # noqa: F811
    party: str,
) -> None:
    scenario = short(weights, method={"name": "parity"}, privacy={"epsilon": 3.0})
    states = tmp_path / "states"
    with Company(scenario, few, tmp_path / "run", entries={party: partial(elsewhen, "+30h")}, states=states) as company:
        company.succeed()
    times = {}
    for name in ("auditor", "developer"):
        lines = (states / name / "ledger" / "ledger.jsonl").read_text().splitlines()
        times[name] = datetime.fromisoformat(json.loads(lines[-1])["time"])
        assert verify(states / name / "ledger").entries == len(lines)
    assert timedelta(hours=29) < times[party] - datetime.now(UTC) < timedelta(hours=31)
