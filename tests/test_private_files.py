"""Files and folders that hold answers and attributes are their owner's alone, however careless the umask."""

from __future__ import annotations

import os
import stat
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import torch

from secure_fair.files import atomic_write, private_folder
from secure_fair.privacy.ledger import Ledger
from secure_fair.privacy.randomised_response import Responses
from secure_fair.privacy.release_cache import Question, ReleaseCache
from secure_fair.randomness import PRG, KeySource
from secure_fair.scenarios.launch import run_method
from secure_fair.scenarios.progress import LineReporter
from tests.parties.company import tiny, write_stores


@pytest.fixture(autouse=True)
def umask() -> Iterator[None]:
    """The usual setting, which lets everybody read."""
    before = os.umask(0o022)
    yield
    os.umask(before)


def open_to_others(folder: Path) -> list[str]:
    """Everything in a folder, and it itself, that others may read, write or enter."""
    return [str(path) for path in (folder, *folder.rglob("*")) if stat.S_IMODE(path.stat().st_mode) & 0o077]


def test_ledgers(tmp_path: Path) -> None:
    ledger = Ledger(tmp_path / "state" / "ledger", "auditor")
    ledger.start("run")
    ledger.enrol(["somebody"])
    ledger.extract("run", tmp_path / "state" / "extract.jsonl")
    ledger.close()
    assert open_to_others(tmp_path / "state") == []


def test_answers_at_random(tmp_path: Path) -> None:
    loose = tmp_path / "state"
    loose.mkdir(mode=0o755)
    (loose / "gender.jsonl").touch(mode=0o644)  # from before
    drawn = Responses(loose, PRG(KeySource.fresh().derive("answers")))
    drawn.draw("gender", ["somebody"], np.zeros(1, dtype=np.int64), 2, 1.0)
    drawn.draw("race", ["somebody"], np.zeros(1, dtype=np.int64), 2, 1.0)
    assert open_to_others(loose) == []


def test_the_developer_s_memory_of_answers(tmp_path: Path) -> None:
    cache = ReleaseCache(tmp_path / "state" / "answers", terms="")
    question = Question("counts", "gender", "auditor", ["somebody"], torch.zeros(1, dtype=torch.int64), 1)
    cache.recall(question, lambda name: (torch.zeros(1), 0.0))
    assert len(list((tmp_path / "state" / "answers").iterdir())) == 3
    assert open_to_others(tmp_path / "state") == []


def test_stores(tmp_path: Path, random_weights: Path) -> None:
    write_stores(tiny(random_weights), tmp_path)
    assert {path.name for path in tmp_path.iterdir()} == {"auditor", "developer"}
    assert [open_to_others(tmp_path / name) for name in ("auditor", "developer")] == [[], []]


def test_what_appears_whole(tmp_path: Path) -> None:
    for name, place in (("file", ""), ("folder", "in it"), ("folder", "below/in it")):
        with atomic_write(tmp_path / name) as partial:
            (partial / place).parent.mkdir(parents=True, exist_ok=True)
            (partial / place).write_text("private")
        assert open_to_others(tmp_path / name) == []


@pytest.mark.slow
@pytest.mark.parametrize("mode", ["secure", "plain"])
def test_what_every_party_leaves_of_a_run(tmp_path: Path, random_weights: Path, mode: str) -> None:
    scenario = tiny(random_weights, train={"epochs": 1}, secure={"mode": mode})
    people = write_stores(scenario, tmp_path / "stores")
    run_method(scenario, tmp_path / "stores", tmp_path / "run", people, LineReporter())
    folders = [folder for folder in (tmp_path / "run").iterdir() if folder.is_dir()]
    assert {folder.name for folder in folders} >= {"developer", "auditor-auditor"}
    assert [open_to_others(folder) for folder in folders] == [[]] * len(folders)


def test_a_folder_of_somebody_s_own_is_left_to_them(tmp_path: Path) -> None:
    """Folders above that were there already stay as they are."""
    above = tmp_path / "shared"
    above.mkdir(mode=0o755)
    private_folder(above / "one" / "two")
    assert open_to_others(above) == [str(above)]
