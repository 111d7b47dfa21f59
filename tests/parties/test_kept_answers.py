"""The answers that a run keeps: which are given again, from which place, and which are gone; steps of adversaries."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from secure_fair.errors import DamagedFile
from secure_fair.operations.common.ask import Release
from secure_fair.parties.checkpoints import Checkpoints, Place
from secure_fair.parties.kept_answers import KeptAnswers, last_step
from secure_fair.privacy.ledger import Ledger


def shares(number: int) -> dict[str, torch.Tensor]:
    return {"male": torch.full((2, 1), number, dtype=torch.int64)}


def answer(number: int) -> Release:
    return Release(torch.full((3, 2), float(number)), 0.5)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A moment and three steps in each of three epochs, and two steps of the fourth."""
    kept = KeptAnswers(tmp_path / "answers")
    for epoch in range(4):
        kept.keep(f"moment{epoch}", answer(100 + epoch), [])
        for step in range(1, 4 if epoch < 3 else 3):
            kept.keep(f"rows{epoch}{step}", answer(10 * epoch + step), [], shares(10 * epoch + step))
        if epoch < 3:
            kept.whole(epoch + 1)
    return tmp_path / "answers"


def given(kept: KeptAnswers, question: str) -> float | None:
    release = kept.recall(question)
    return None if release is None else float(release.values[0, 0])


def test_steps_up_to_the_place_are_given_again_once_each(folder: Path) -> None:
    assert last_step(folder, 3) == Place(3, 2)
    kept = KeptAnswers(folder, Place(3, 2))
    assert torch.equal(kept.shares["male"], shares(32)["male"])
    assert [given(kept, question) for question in ("moment3", "rows31", "rows32", "rows31", "rows21")] == [
        103.0,
        31.0,
        32.0,
        None,
        None,
    ]
    kept.keep("rows33", answer(33), [], shares(33))
    assert last_step(folder, 3) == Place(3, 3)


def test_where_others_are_not_as_far_later_steps_are_asked_for_anew(folder: Path) -> None:
    """Given again they would leave the adversary behind."""
    kept = KeptAnswers(folder, Place(3))
    assert kept.shares == {}
    assert [given(kept, question) for question in ("moment3", "rows31", "rows32")] == [103.0, None, None]
    assert last_step(folder, 3) == Place(3)
    kept.keep("rows31", answer(7), [], shares(7))
    assert given(KeptAnswers(folder, Place(3, 1)), "rows31") == 7.0


def test_steps_of_the_last_two_epochs_are_kept_and_no_older_ones(folder: Path) -> None:
    assert [last_step(folder, epoch).step for epoch in range(4)] == [0, 0, 3, 2]
    kept = KeptAnswers(folder, Place(2, 3))  # where a party has lost its state of epoch 3
    assert [given(kept, question) for question in ("rows23", "rows31", "moment0", "moment1")] == [
        23.0,
        None,
        100.0,
        None,
    ]


def test_an_auditor_keeps_the_newest_two_steps_and_finds_a_changed_one(tmp_path: Path) -> None:
    kept = Checkpoints.begin(tmp_path, "run", {}, Ledger(tmp_path / "ledger", "auditor"))
    for place in (Place(0, 4), Place(0, 5), Place(1, 1)):
        kept.keep_step(place, shares(place.step))
    assert kept.steps() == [Place(0, 5), Place(1, 1)]
    assert torch.equal(kept.load_step(Place(1, 1))["male"], shares(1)["male"])
    file = kept.folder / "step-1-1.pt"
    (kept.folder / "step-0-5.pt").write_bytes(file.read_bytes())  # of another place
    file.write_bytes(file.read_bytes()[:-1] + b"?")
    for place in (Place(0, 5), Place(1, 1)):
        with pytest.raises(DamagedFile, match="was changed since it was written"):
            kept.load_step(place)
