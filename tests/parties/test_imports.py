"""What each party imports: seconds of start-up and hundreds of MB, for the parties that train nothing for nothing."""

from __future__ import annotations

import importlib.util
import subprocess
import sys

PARTIES = (
    "secure_fair.parties.dealer",
    "secure_fair.parties.auditor",
    "secure_fair.parties.audit",
    "secure_fair.scenarios.party_process",
    "secure_fair.scenarios.audit",
)
TRAINING = ("timm", "peft", "transformers", "torchvision", "torch._dynamo", "opacus", "sklearn")
UNUSED = (*TRAINING, "scipy.stats", "matplotlib", "pandas", "rich")


def imported(*modules: str) -> set[str]:
    """Everything that a new process has once it has imported these."""
    text = f"import sys, {', '.join(modules)}; print(*sys.modules)"
    ended = subprocess.run([sys.executable, "-c", text], capture_output=True, text=True, check=True)
    return set(ended.stdout.split())


def test_who_trains_nothing_imports_nothing_to_train_with() -> None:
    assert imported(*PARTIES) & set(UNUSED) == set()


def test_the_names_are_those_of_modules_that_are_there() -> None:
    """Without this nothing might be tested above."""
    assert [name for name in TRAINING if importlib.util.find_spec(name) is None] == []
