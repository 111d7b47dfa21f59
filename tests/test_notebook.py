"""The notebook: its cells run one after the other and say what they are there for; it holds no outputs."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import matplotlib as mpl
import pytest

FILE = Path(__file__).parent.parent / "docs" / "notebooks" / "quickstart.ipynb"
CELLS: list[dict[str, Any]] = json.loads(FILE.read_text())["cells"]


def test_its_cells_run_in_their_order(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    mpl.use("Agg")
    names: dict[str, Any] = {}
    for number, cell in enumerate(CELLS):
        if cell["cell_type"] == "code":
            exec(compile("".join(cell["source"]), f"{FILE.name}, cell {number}", "exec"), names)
    said = capsys.readouterr().out
    assert "moment" in said
    assert "warning: plain mode" in said
    assert said.count("accuracy") >= 2
    assert (tmp_path / "notebook-run" / "report.html").is_file()


def test_it_is_kept_without_outputs() -> None:
    code = [cell for cell in CELLS if cell["cell_type"] == "code"]
    assert len(code) >= 5
    assert [cell for cell in code if cell["outputs"] or cell["execution_count"]] == []


def test_its_links_are_there() -> None:
    text = "".join("".join(cell["source"]) for cell in CELLS)
    places = [part.partition(")")[0] for part in text.split("](")[1:]]
    assert places
    assert [place for place in places if not (FILE.parent / place).is_file()] == []
