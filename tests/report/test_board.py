"""Curves for TensorBoard: the developer's own numbers, read again, and none that it may not know."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest
from click.testing import CliRunner
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

from secure_fair.report.board import write_board
from secure_fair.scenarios.cli import main


def read(folder: Path) -> dict[str, list[tuple[int, float]]]:
    """Steps and values by tag."""
    events = EventAccumulator(str(folder)).Reload()
    return {tag: [(one.step, one.value) for one in events.Scalars(tag)] for tag in events.Tags()["scalars"]}


@pytest.fixture(scope="module")
def board(world: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder that the command writes for a run."""
    out = tmp_path_factory.mktemp("board") / "new"
    done = CliRunner().invoke(main, ["report", str(world / "album-run"), "--tensorboard", str(out)])
    assert done.exit_code == 0, done.output
    assert f"tensorboard --logdir {out}" in done.stdout
    return out


def test_every_epoch_s_numbers_are_there(world: Path, board: Path) -> None:
    found = read(board / "main")
    (line,) = (world / "album-run" / "developer" / "rounds.jsonl").read_text().splitlines()
    told = json.loads(line)
    for key in ("loss", "accuracy", "balanced_accuracy"):
        assert found[f"train/{key}"] == [(1, pytest.approx(told[key]))]
    assert found["train/gaps/gender"] == [(1, pytest.approx(told["gaps"]["gender"]))]
    result = json.loads((world / "album-run" / "developer" / "result.json").read_text())
    assert found["test/accuracy"] == [(1, pytest.approx(result["utility"]["accuracy"]))]


def test_it_is_made_from_the_developer_s_folder_alone(world: Path, board: Path, tmp_path: Path) -> None:
    """Neither the experimenter's exact rates nor another party's folder is read: without them it is the same."""
    shutil.copytree(world / "album-run" / "developer", tmp_path / "out")
    (folder,) = write_board(tmp_path / "out", tmp_path / "board")
    assert read(folder) == read(board / "main")
    assert not any("fairness/" in tag for tag in read(folder))


def test_it_is_private(board: Path) -> None:
    assert board.stat().st_mode & 0o777 == (board / "main").stat().st_mode & 0o777 == 0o700
