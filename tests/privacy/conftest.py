"""A gate over a ledger in a folder of its own."""

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from people import TABLE, TESTED, plan_for
from rules import RULES

from secure_fair.privacy.gate import Gate
from secure_fair.privacy.ledger import Ledger
from secure_fair.privacy.noise import SystemNoise
from secure_fair.privacy.plan import Plan
from secure_fair.privacy.policy import Policy


@pytest.fixture
def open_gate(tmp_path: Path) -> Iterator[Callable[..., Gate]]:
    """Opens gates over one state directory, each closing the one before: a new process each time, as it were."""
    ledgers: list[Ledger] = []

    def opener(made: list[Plan] | None = None, *, run: str = "run", **changes: Any) -> Gate:
        for ledger in ledgers:
            ledger.close()
        ledgers[:] = [Ledger(tmp_path / "state", "auditor")]
        settings = {
            "auditor": "auditor",
            "run": run,
            "ids": TABLE,
            "training": sum(name not in TESTED for name in changes.get("ids", TABLE)),
            "known": TABLE,
            "plans": {plan.attribute: plan for plan in made or [plan_for()]},
            "policy": Policy(allow_exact=True),
            "rules": RULES,
            "ledger": ledgers[0],
            "noise": SystemNoise(),
        }
        return Gate(**{**settings, **changes})

    yield opener
    for ledger in ledgers:
        ledger.close()
