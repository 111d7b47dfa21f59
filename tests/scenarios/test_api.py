"""The interface for Python: the examples of its page run as they stand, and its results are those of the folder."""

from __future__ import annotations

import dataclasses
import json
import re
import subprocess
import sys
import tomllib
from pathlib import Path
from typing import Any

import pytest

import secure_fair
from secure_fair.errors import UsageError
from secure_fair.scenarios import api
from secure_fair.scenarios.schema import Scenario

ROOT = Path(__file__).parents[2]
PAGE = ROOT / "docs" / "python.md"
NAMES = ("audit", "load", "load_model", "plan", "run")


@pytest.fixture(scope="module")
def shown(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, dict[str, Any]]:
    """The folder in which the page's examples have run, and all that they have named."""
    folder = tmp_path_factory.mktemp("python")
    names: dict[str, Any] = {"secure_fair": secure_fair}
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        for number, block in enumerate(blocks()):
            exec(compile(block, f"{PAGE.name}, example {number + 1}", "exec"), names)
    return folder, names


def blocks() -> list[str]:
    """The page's examples, in their order."""
    found = re.findall(r"^```python\n(.*?)^```$", PAGE.read_text(), flags=re.DOTALL | re.MULTILINE)
    assert len(found) == PAGE.read_text().count("```python") >= 6
    return found


def test_the_page_s_examples_run_as_they_stand(shown: tuple[Path, dict[str, Any]]) -> None:
    folder, names = shown
    assert (folder / "album-run" / "report.html").is_file()
    assert (folder / "album-export" / "merged.safetensors").is_file()
    assert all(f"{name}" in PAGE.read_text() for name in NAMES)
    assert isinstance(names["result"], api.Run)


def test_results_are_those_of_the_summary_and_cannot_be_changed(shown: tuple[Path, dict[str, Any]]) -> None:
    result = shown[1]["again"]
    summary = json.loads((shown[0] / "album-run" / "summary.json").read_text())
    exact, released = summary["fairness"]["male"], summary["fairness_released"]["male"]
    assert result.accuracy == summary["utility"]["accuracy"]
    assert result.fairness["male"].demographic_parity == exact["demographic_parity_difference"]
    assert result.released["male"].equalized_odds == released["equalized_odds_difference"]
    assert (result.fairness["male"].sigma, result.released["male"].sigma) == (None, released["sigma"])
    assert [row["method"] for row in result.rows()] == ["erm", "parity"]
    assert len(result.predictions()) == summary["records"]["test"]
    assert any("plain mode" in text for text in result.warnings)
    with pytest.raises(dataclasses.FrozenInstanceError):
        result.accuracy = 1.0


def test_an_audit_s_rows_are_those_of_its_answer(shown: tuple[Path, dict[str, Any]]) -> None:
    audit = shown[1]["audit"]
    assert (audit.folder, audit.summary["records"]["matched"]) == (shown[0] / "album-audit", 400)
    (gap,) = [row for row in audit.rows() if row["metric"] == "selection rate difference"]
    assert gap["low"] <= gap["value"] <= gap["high"]
    assert gap["value"] == pytest.approx(0.5, abs=0.2)
    assert audit.verdicts[0]["claim"] == "impact ratio by sex >= 0.8"


def test_an_audit_that_is_refused_leaves_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "d.csv").write_text("id,decision\n1,1\n")
    (tmp_path / "a.csv").write_text("id,sex\n2,f\n3,m\n")
    with pytest.raises(UsageError, match=r"no id of d\.csv is in a\.csv"):
        secure_fair.audit("d.csv", {"a.csv": ["sex"]})
    assert sorted(path.name for path in tmp_path.iterdir()) == ["a.csv", "d.csv"]


def test_overrides_are_those_of_the_command_line() -> None:
    tree = {"seed": 4, "method": {"name": "odds", "strength": 1.5}, "compare": ["erm"], "privacy": {"delta": 1e-6}}
    given = ["seed=4", "method.name=odds", "method.strength=1.5", "compare=['erm']", "privacy.delta=1e-6"]
    assert api._scenario("quickstart", tree) == Scenario.load("quickstart", given)
    assert api._scenario("quickstart", {"privacy": None}) == Scenario.load("quickstart", ["privacy="])
    whole = Scenario.load("quickstart").model_dump(mode="json", exclude_none=True)
    assert api._scenario(whole, {"data": {"root": None}}) == Scenario.load("quickstart")
    text = 'says "= 3" and [more]'
    assert api._scenario("quickstart", {"description": text}).description == text


def test_folders_without_results(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=r"summary\.json: is missing; name the folder of a run that has ended"):
        secure_fair.load(tmp_path)
    with pytest.raises(UsageError, match="no such folder; name the folder of a run"):
        secure_fair.load_model(tmp_path / "nowhere")


def test_the_package_alone_imports_nothing_of_it() -> None:
    """Whoever uses a part does not wait for all; whoever asks for what there is not is told as of any module."""
    parts = {"torch", "secure_fair.scenarios", "secure_fair.parties"}
    code = f"import secure_fair, sys; assert not {parts} & set(sys.modules)"
    subprocess.run([sys.executable, "-c", code], cwd=ROOT, check=True, timeout=60)
    with pytest.raises(AttributeError, match="has no attribute 'train'"):
        _ = secure_fair.train  # type: ignore[attr-defined]
    assert sorted(secure_fair.__all__) == sorted(NAMES)


def test_types_are_shipped() -> None:
    """Without the mark a user's checker knows none of them."""
    shipped = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["setuptools"]["package-data"]
    assert (ROOT / "secure_fair" / "py.typed").is_file()
    assert "py.typed" in shipped["secure_fair"]
