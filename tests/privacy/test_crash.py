"""A process killed at any moment of a release may waste budget, and never loses any."""

import os
import signal
import time
import traceback
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from people import SCALE, ask, plan_for, value

from secure_fair.errors import BudgetExceeded
from secure_fair.privacy import ledger as ledgers
from secure_fair.privacy.chain import verify
from secure_fair.privacy.gate import Gate
from secure_fair.privacy.ledger import Ledger
from secure_fair.privacy.plan import PlannedRelease


def start(action: Callable[[], object]) -> int:
    """Run something in a process of its own; its id."""
    child = os.fork()
    if child:
        return child
    try:
        action()
    except BaseException:
        traceback.print_exc()
        os._exit(1)
    os._exit(0)


def die() -> None:
    os.kill(os.getpid(), signal.SIGKILL)


class Opening:
    """An opening to a far receiver, which notes in a file that the value is out, and may die before or after."""

    scale, shape = SCALE, (4, 1)

    def __init__(self, note: Path, moment: str = "") -> None:
        self.note, self.moment = note, moment

    def open_to(self, receiver: str, noise: torch.Tensor | None) -> None:
        if self.moment == "before the opening":
            die()
        with self.note.open("a") as file:
            file.write("x")
        if self.moment == "after the opening":
            die()


def release_and_die(gate: Gate, note: Path, moment: str) -> None:
    """One whole release, then one that is cut short at the given moment."""
    gate.release(gate.admit(ask()), Opening(note))
    grant = gate.admit(ask())
    if moment == "inside the entry":

        def half(descriptor: int, content: bytes) -> None:
            os.write(descriptor, content[: len(content) // 2])
            die()

        ledgers._write_all = half
    if moment == "between entry and head":
        Ledger._write_head = lambda self: die()  # type: ignore[method-assign]
    if moment == "before the note":
        Ledger.opened = lambda self, receipt: die()  # type: ignore[method-assign]
    gate.release(grant, Opening(note, moment))


@pytest.mark.parametrize(
    ("moment", "spent", "opened"),
    [
        ("inside the entry", 1, 1),
        ("between entry and head", 2, 1),
        ("before the opening", 2, 1),
        ("after the opening", 2, 2),
        ("before the note", 2, 2),
        ("never", 2, 2),
    ],
)
def test_a_killed_auditor_keeps_its_budgets(
    open_gate: Callable[..., Gate], tmp_path: Path, moment: str, spent: int, opened: int
) -> None:
    note = tmp_path / "note"
    _, status = os.waitpid(start(lambda: release_and_die(open_gate(), note, moment)), 0)
    assert status == (0 if moment == "never" else signal.SIGKILL)
    assert len(note.read_text()) == opened
    gate = open_gate()  # the same run, resumed
    verify(tmp_path / "state")
    for _ in range(3 - spent):
        gate.release(gate.admit(ask()), value(4, 1))
    with pytest.raises(BudgetExceeded):
        gate.admit(ask())
    assert gate.summary()["gender"]["epsilon"] <= 1.0
    numbers = [entry["number"] for entry in gate._ledger.entries("run") if entry["kind"] == "planned"]
    assert len(set(numbers)) == len(numbers) == 3


def opened(note: Path) -> int:
    return note.stat().st_size if note.exists() else 0


def test_random_kills_never_give_more_than_the_plan(open_gate: Callable[..., Gate], tmp_path: Path) -> None:
    """Killed at random times and resumed, again and again: what was opened in all stays within the plan."""
    note, planned = tmp_path / "note", 120
    plan = plan_for(releases=[PlannedRelease("moment", planned, planned, 1.0)])

    def run() -> None:
        gate = open_gate([plan])
        try:
            while True:
                gate.release(gate.admit(ask()), Opening(note))
        except BudgetExceeded:
            pass

    generator, kills, status = np.random.default_rng(5), 0, signal.SIGKILL
    while status:
        child = start(run)
        enough = opened(note) + generator.integers(1, 20)
        while os.waitid(os.P_PID, child, os.WEXITED | os.WNOHANG | os.WNOWAIT) is None and opened(note) < enough:
            time.sleep(0.001)
        time.sleep(float(generator.uniform(0, 0.005)))
        os.kill(child, signal.SIGKILL)
        _, status = os.waitpid(child, 0)
        kills += status == signal.SIGKILL
        verify(tmp_path / "state")
    assert kills >= 3
    ledger = Ledger(tmp_path / "state", "auditor")
    numbers = [entry["number"] for entry in ledger.entries("run") if entry["kind"] == "planned"]
    ledger.close()
    assert len(set(numbers)) == len(numbers) == planned
    assert planned - kills <= opened(note) <= planned
