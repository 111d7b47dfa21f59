"""Several runs side by side: every run and method has its row, and the page leads to the reports."""

from __future__ import annotations

import copy
import json
import stat
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner

from secure_fair.errors import UsageError
from secure_fair.report import figures
from secure_fair.report.html import write_report
from secure_fair.report.index import runs_below, side_by_side, write_index
from secure_fair.scenarios.cli import main

Summary = dict[str, Any]


@pytest.fixture
def runs(summary: Summary, tmp_path: Path) -> list[Path]:
    """Two runs of one task and one of another."""
    other = copy.deepcopy(summary)
    other["task"]["target"] = "tall"
    for name, one in (("a", summary), ("b run", summary), ("c", other)):
        (tmp_path / "runs" / name).mkdir(parents=True)
        (tmp_path / "runs" / name / "summary.json").write_text(json.dumps(one))
    (tmp_path / "runs" / "unfinished").mkdir()
    return [tmp_path / "runs" / name for name in ("a", "b run", "c")]


def test_runs_are_found_in_a_folder_of_them(runs: list[Path]) -> None:
    assert runs_below([runs[0].parent]) == runs
    assert runs_below([runs[1], runs[0], runs[1]]) == [runs[1], runs[0]]


def test_each_task_has_a_table_with_a_row_for_every_run_and_method(runs: list[Path], summary: Summary) -> None:
    tables = side_by_side(runs)
    assert list(tables) == [f"{task} (faces) by {name}" for task in ("old <50", "tall") for name in ("gender", "race")]
    rows = tables["old <50 (faces) by gender"].rows
    assert [row[:3] for row in rows] == [
        (run, method, epsilon)
        for run in ("a", "b run")
        for method, epsilon in (("erm", "-"), ("parity (moments)", "0.987"))
    ]
    gap = summary["fairness"]["gender"]["demographic_parity_difference"]
    assert rows[1][4].startswith(f"{gap:.3f} [")


def test_the_page_leads_to_reports_that_are_there(runs: list[Path]) -> None:
    page = write_index(runs, runs[0].parent / "index.html").read_text()
    assert "old &lt;50 (faces) by gender" in page
    for link in ("a/report.html", "b%20run/report.html", "c/report.html"):
        assert f'href="{link}"' in page
    assert all((run / "report.html").is_file() for run in runs)
    assert stat.S_IMODE((runs[0].parent / "index.html").stat().st_mode) == 0o600


def test_the_command_takes_one_run_several_or_a_folder_of_them(runs: list[Path]) -> None:
    folder = runs[0].parent
    one = CliRunner().invoke(main, ["report", str(runs[0])])
    assert (one.exit_code, one.stdout.strip()) == (0, str(runs[0] / "report.html"))
    several = CliRunner().invoke(main, ["report", str(folder), "--format", "json"])
    assert several.exit_code == 0, several.output
    assert json.loads(several.stdout)["index"] == str(folder / "index.html")
    nothing = CliRunner().invoke(main, ["report", str(folder / "unfinished")])
    assert nothing.exit_code == 2
    assert "no finished run" in nothing.stderr


@pytest.mark.parametrize(
    ("content", "said"),
    [(b"{}", "no run's summary; it lacks method, mode"), (b"[]", "no run's summary"), (b"\xff", "not JSON")],
)
def test_a_broken_summary_is_one_message(tmp_path: Path, content: bytes, said: str) -> None:
    (tmp_path / "summary.json").write_bytes(content)
    with pytest.raises(UsageError, match=said):
        side_by_side([tmp_path])


def test_training_is_drawn_from_what_the_developer_wrote(summary: Summary, tmp_path: Path) -> None:
    (tmp_path / "summary.json").write_text(json.dumps(summary))
    assert "Epoch by epoch" not in write_report(tmp_path).read_text()
    for folder in (tmp_path, tmp_path / "compare" / "erm"):
        (folder / "developer").mkdir(parents=True)
        lines = [{"epoch": e, "loss": 1 / e, "accuracy": 0.5 + e / 10, "gaps": {"gender": 0.3 / e}} for e in (1, 2, 3)]
        (folder / "developer" / "rounds.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
    assert "Epoch by epoch" in write_report(tmp_path).read_text()
    drawn = figures.training({"erm": lines[:1], "parity": lines})
    assert list(drawn) == ["training loss", "training accuracy", "widest released gap"]
    assert all(len(figure.axes) == 1 for figure in drawn.values())
    assert figures.training({"erm": lines[:1]}) == {}  # one epoch is no line
    (tmp_path / "developer" / "rounds.jsonl").write_text("{")
    with pytest.raises(UsageError, match="is damaged"):
        write_report(tmp_path)
