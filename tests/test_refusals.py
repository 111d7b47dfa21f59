"""Whatever is wrong with what a user gives: one clear message, the right exit code, and nothing is left behind."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest

from tests.refusals import audits, conflicts, data, files, models, parties, values, wizard
from tests.refusals.case import Case, inside

AREAS = (conflicts, values, files, data, models, wizard, parties, audits)
CASES = {f"{area.__name__.rpartition('.')[2]}: {name}": one for area in AREAS for name, one in area.CASES.items()}


@pytest.fixture(autouse=True)
def no_process(monkeypatch: pytest.MonkeyPatch) -> None:
    """What is wrong is said before a party is started."""
    monkeypatch.setattr(subprocess, "Popen", lambda *_, **__: pytest.fail("a process was started"))


@pytest.mark.parametrize("name", CASES)
def test_it_is_refused_with_one_clear_message(
    name: str, world: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    one: Case = CASES[name]
    one.set_up(tmp_path, world)
    monkeypatch.chdir(tmp_path)
    before = inside(tmp_path)
    one.check(one.invoke(world))
    assert inside(tmp_path) == before


def test_there_are_as_many_kinds_as_are_promised() -> None:
    assert len(CASES) >= 600
    assert len({(one.words, str(one.files), one.copies, one.change) for one in CASES.values()}) == len(CASES)
