"""Bounds on what a peer's words make a party write, keep or make room for."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from pydantic import ValidationError

from secure_fair.errors import ProtocolError, Refusal
from secure_fair.operations.common.ask import Ask
from secure_fair.parties.checkpoints import Checkpoints
from secure_fair.parties.messages import Attributes, Enrol, Granted, Proceed, Resumed, Train
from secure_fair.parties.plans import most_releases
from secure_fair.parties.resuming import check_epoch, check_opened, note_missed
from secure_fair.parties.secure_auditors import check_noise
from secure_fair.privacy.entries import Receipt
from secure_fair.privacy.ledger import Ledger
from secure_fair.scenarios.assemble import run_config
from tests.parties.company import tiny

HUGE = {"layer": ((10**6, 10**6), (10**6, 10**6))}


@pytest.mark.parametrize("number", [0, -5, 10**12])
def test_the_number_of_a_release_has_an_end(number: int) -> None:
    with pytest.raises(ValidationError, match=r"opened\.0"):
        Resumed(opened=[number], epochs={})


def test_an_auditor_cannot_have_let_out_more_than_was_asked_of_it(tmp_path: Path, weights: Path) -> None:
    """Each would be an entry of the developer's ledger, for ever; and so many as there may be are one."""
    most = most_releases(run_config(tiny(weights)), "auditor", 80)
    assert 0 < most < 100
    ledger = Ledger(tmp_path / "ledger", "developer")
    kept = Checkpoints.begin(tmp_path, "run", {}, ledger)
    for processes in (1, 2):
        ledger.start("run")
        said = list(range(1, processes * most + 1))
        check_opened(kept, "auditor", said, most)
        with pytest.raises(ProtocolError, match=f"let out {len(said) + 1} releases of run run: by the plan it was"):
            check_opened(kept, "auditor", [*said, len(said) + 1], most)
        for _ in range(2):
            note_missed(ledger, "run", {"auditor": said}, [])
    lines = [entry["numbers"] for entry in ledger.entries("run") if entry["kind"] == "missed"]
    assert lines == [said[:most], said[most:]]
    ledger.close()


def test_a_run_that_is_not_gone_on_with_begins_at_its_beginning() -> None:
    check_epoch(Enrol(run="run", training=1, test=1), None)
    with pytest.raises(Refusal, match="run run from epoch 3: it is not gone on with"):
        check_epoch(Enrol(run="run", epoch=3, training=1, test=1), None)


@pytest.mark.parametrize("sigma", [1.0, 1e308])
def test_noise_that_is_infinite_together_is_refused(sigma: float) -> None:
    """Each auditor's is finite; what is passed on of all could not be sent."""
    granted = {
        name: Granted(receipts=[Receipt("run", 1, name, "moment", "male", "0" * 64, 4, (4, 1), sigma)] * 2)
        for name in ("registry", "clinic")
    }
    if sigma == 1.0:
        check_noise(granted)
        return
    with pytest.raises(ProtocolError, match="have noise of sigma inf together"):
        check_noise(granted)
    with pytest.raises(ValidationError):  # what it would come to at the developer
        Proceed(go=True, step_sigma=float("inf"))


@pytest.mark.parametrize(
    "say",
    [
        lambda: Attributes(groups={}, adapters={"male": HUGE}),
        lambda: Train(attribute="male", width=1, shapes=HUGE),
        lambda: Ask(operation="orthogonality", attribute="male", shapes=list(HUGE["layer"])),
    ],
    ids=["attributes", "train", "ask"],
)
def test_nobody_makes_room_for_matrices_without_end(say: Any) -> None:
    with pytest.raises(ValidationError, match="numbers; at most"):
        say()
