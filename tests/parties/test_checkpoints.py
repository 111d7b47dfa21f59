"""A party whose ledger is older than anything that it keeps of a run notices that by itself, whatever a peer says."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from secure_fair.errors import DamagedFile, UsageError
from secure_fair.parties.checkpoints import Checkpoints, check_ledger
from secure_fair.privacy.chain import ids_of, verify
from secure_fair.privacy.ledger import Ledger

AGREEMENT = {"scenario": "tiny"}
WHEN = ("before the run", "before epoch 1", "before epoch 2", "before it ended")


def opened(state: Path) -> Ledger:
    return Ledger(state / "ledger", "auditor")


def backup(ledger: Ledger, folder: Path) -> None:
    ledger.settled()
    shutil.copytree(ledger.directory, folder)


@pytest.fixture
def state(tmp_path: Path) -> Path:
    """A run that has kept two epochs and was left behind, with a backup of the ledger from each of ``WHEN``."""
    ledger = opened(tmp_path / "state")
    ledger.start("another")
    backup(ledger, tmp_path / WHEN[0])
    ledger.start("still another")
    kept = Checkpoints.begin(tmp_path / "state", "run", AGREEMENT, ledger)
    ledger.start("run")
    for epoch in (1, 2):
        backup(ledger, tmp_path / WHEN[epoch])
        ledger.refused("run", "moment", "sex", "whatever was spent in this epoch")
        kept.keep(epoch, {})
        kept.agree(epoch, {})
    backup(ledger, tmp_path / WHEN[3])
    ledger.refused("run", "moment", "sex", "whatever was spent since")
    ledger.close()
    kept.note_ledger()
    return tmp_path / "state"


@pytest.mark.parametrize("when", WHEN)
def test_a_ledger_that_is_older_than_a_kept_run_is_noticed(state: Path, tmp_path: Path, when: str) -> None:
    """Its chain and head hold, and the run could be gone on with, from both epochs and from the beginning."""
    shutil.rmtree(state / "ledger")
    shutil.copytree(tmp_path / when, state / "ledger")
    verify(state / "ledger")
    ledger = opened(state)
    assert set(Checkpoints.reopen(state, "run", AGREEMENT, ledger).offers()) == {1, 2}
    with pytest.raises(UsageError, match=r"is older than run run, which is kept beside it: it lacks entry"):
        check_ledger(state, ledger)
    ledger.close()


def test_the_newest_ledger_is_content_and_goes_on_growing(state: Path) -> None:
    ledger = opened(state)
    check_ledger(state, ledger)
    ledger.start("run")
    check_ledger(state, ledger)
    ledger.close()


def test_a_run_whose_note_is_missing_is_not_taken_for_one_without(state: Path) -> None:
    (state / "runs" / "run" / "ledger.json").unlink()
    ledger = opened(state)
    with pytest.raises(DamagedFile, match=r"ledger\.json: is missing or damaged"):
        check_ledger(state, ledger)
    ledger.close()


def test_a_name_is_of_one_run(state: Path) -> None:
    """Its releases would be taken for those of the run that has ended: what is kept of it alone does not tell."""
    ledger = opened(state)
    Checkpoints.reopen(state, "run", AGREEMENT, ledger).remove()
    with pytest.raises(UsageError, match="run run was begun here before, and has ended"):
        Checkpoints.begin(state, "run", AGREEMENT, ledger)
    ledger.close()


def test_a_folder_that_is_away_is_no_damage(tmp_path: Path) -> None:
    """A file of it that is missing while the folder is there is; each remedy is for its own case."""
    state = tmp_path / "state"
    ledger = opened(state)
    kept = Checkpoints.begin(state, "run", AGREEMENT, ledger)
    kept.keep(1, {})
    looks = (
        lambda: kept.digest(1),
        lambda: kept.value("training", "0" * 64),
        lambda: ids_of(ledger.directory, "0" * 64),
    )
    assert looks[0]()
    assert looks[1]() is None
    with pytest.raises(DamagedFile, match="is missing; restore it"):
        kept.digest(2)
    with pytest.raises(DamagedFile, match="is missing; restore it"):
        looks[2]()
    state.rename(tmp_path / "away")
    state.touch()  # as where a share is not mounted
    for look in looks:
        with pytest.raises(NotADirectoryError):
            look()
