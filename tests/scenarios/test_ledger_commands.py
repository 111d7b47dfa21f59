"""`secure-fair ledger` on states as a party leaves them: what was spent, and what is wrong with a ledger."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner, Result

from scenarios.cli import main
from secure_fair.privacy.accounting import gaussian_epsilon
from secure_fair.privacy.entries import Charge, Receipt, records_hash
from secure_fair.privacy.ledger import Ledger

IDS = [f"{number:032x}" for number in range(64)]
SPENT = gaussian_epsilon(0.08**0.5, 1e-5)


def invoke(*arguments: str | Path) -> Result:
    return CliRunner().invoke(main, [str(word) for word in ("ledger", *arguments)])


@pytest.fixture
def state(tmp_path: Path) -> Path:
    """An auditor's, with two releases about everybody at mu 0.2 each."""
    ledger = Ledger(tmp_path / "state" / "ledger", "auditor")
    ledger.start("run", auditor="auditor", training=64)
    table, everybody = ledger.enrol(IDS), np.arange(64)
    for number in (1, 2):
        about = records_hash(table, everybody)
        receipt = Receipt("run", number, "auditor", "moment", "sex", about, 64, (4, 1), 5.0)
        ledger.plan(receipt, Charge(mu2=0.04), table, everybody)
        ledger.opened(receipt)
    ledger.close()
    return tmp_path / "state"


def test_status_says_what_was_spent_and_what_is_left(state: Path, tmp_path: Path) -> None:
    (tmp_path / "policy.toml").write_text("epsilon = 2.0")
    shown = invoke("status", state, "--policy", tmp_path / "policy.toml")
    assert shown.exit_code == 0, shown.stderr
    assert "64 records enrolled" in shown.stdout
    assert f"64 at {SPENT:.3g}" in shown.stdout
    tree = json.loads(invoke("status", state, "--format", "json").stdout)
    assert tree["spent"][0]["most"] == pytest.approx(SPENT)
    assert tree["spent"][0]["left"] is None
    assert tree["runs"][0]["releases"] == 2
    assert tree["openings"][0]["numbers"] == 8


def test_status_of_a_folder_without_a_ledger_is_one_message(tmp_path: Path) -> None:
    result = invoke("status", tmp_path)
    assert (result.exit_code, result.stderr.count("\n")) == (2, 1)
    assert "holds no ledger" in result.stderr
