"""`secure-fair ledger` on states as a party leaves them: what was spent, and what is wrong with a ledger."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner, Result

from secure_fair.privacy.accounting import gaussian_epsilon
from secure_fair.privacy.entries import Charge, Receipt, records_hash
from secure_fair.privacy.ledger import Ledger
from secure_fair.scenarios.cli import main

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


def test_a_torn_line_is_told_from_damage_and_repaired_with_a_word(state: Path) -> None:
    path = state / "ledger" / "ledger.jsonl"
    with path.open("ab") as file:
        file.write(b'{"kind": "opened", ')
    found = invoke("verify", state)
    assert found.exit_code == 0
    assert "a torn line of 19 bytes behind them" in found.stdout
    assert "19 bytes was removed" in invoke("repair", state).stdout
    assert "nothing to repair" in invoke("repair", state).stdout
    assert json.loads(invoke("verify", state, "--format", "json").stdout) == {"intact": True, "entries": 8, "torn": 0}
    path.write_bytes(path.read_bytes().replace(b'"sigma": 5.0', b'"sigma": 9.0'))
    assert invoke("repair", state).exit_code == 4
    assert invoke("verify", state).exit_code == 4


def test_what_opens_nothing_and_is_no_training_is_named(tmp_path: Path) -> None:
    """A charge of nothing for an exact moment would pass for a training's, which the noise does not say."""
    ledger = Ledger(tmp_path / "ledger", "auditor")
    ledger.start("run", auditor="auditor", training=64)
    table, everybody = ledger.enrol(IDS), np.arange(64)
    receipt = Receipt("run", 1, "auditor", "moment", "sex", records_hash(table, everybody), 64, (), None)
    ledger.plan(receipt, Charge(mu2=0.0), table, everybody)
    ledger.close()
    result = invoke("verify", tmp_path)
    assert (result.exit_code, result.stderr.count("\n")) == (4, 1)
    assert "release 1 of run: it opens nothing, as if it were a training, and is a moment" in result.stderr


def test_a_charge_that_is_less_than_the_noise_costs_is_named(tmp_path: Path) -> None:
    ledger = Ledger(tmp_path / "ledger", "auditor")
    ledger.start("run", auditor="auditor", training=64)
    table, everybody = ledger.enrol(IDS), np.arange(64)
    receipt = Receipt("run", 1, "auditor", "moment", "sex", records_hash(table, everybody), 64, (4, 1), 5.0)
    ledger.plan(receipt, Charge(mu2=0.01), table, everybody)
    ledger.close()
    result = invoke("verify", tmp_path)
    assert (result.exit_code, result.stderr.count("\n")) == (4, 1)
    assert "release 1 of run: its charge is less than its noise costs" in result.stderr
