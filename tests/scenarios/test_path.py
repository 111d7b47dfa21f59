"""One release, and every strength that it tells of: another head is taken without a further one."""

from __future__ import annotations

import csv
import json
from pathlib import Path

import numpy as np
import pytest

from secure_fair.errors import UsageError
from secure_fair.privacy.chain import read_extract
from secure_fair.report.html import write_report
from secure_fair.scenarios import api
from secure_fair.scenarios.cli.run import result_text
from secure_fair.scenarios.launch import run
from secure_fair.scenarios.progress import LineReporter
from tests.parties.people import plant, scenario_of
from tests.scenarios.album import EQUAL, done, furthest, paths_of, refused, scenario_of_pictures, told
from tests.scenarios.apart import printed, run_apart

TAKEN = 3.0


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return plant(tmp_path_factory.mktemp("people"))


@pytest.fixture(scope="module")
def dialled(root: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run of a table whose head is of strength ``TAKEN``."""
    out = tmp_path_factory.mktemp("dialled")
    method = {"name": "posthoc", "strength": TAKEN}
    scenario = scenario_of(root, secure={"mode": "plain"}, train={"epochs": 3}, method=method)
    run(scenario.model_copy(update={"compare": ("erm",)}), out, LineReporter())
    write_report(out)
    return out


def gap(predictions: dict[str, np.ndarray], root: Path) -> float:
    """Between the groups' mean predictions, by everybody's attributes."""
    with (root / "people.csv").open(newline="") as file:
        sexes = [row["sex"] for row in csv.DictReader(file)]
    seconds = np.array([row[1] for row in predictions.values()])
    means = [seconds[np.array(sexes) == sex].mean() for sex in sorted(set(sexes))]
    return float(max(means) - min(means))


def test_every_strength_predicts_from_the_one_release(dialled: Path, root: Path) -> None:
    steps = json.loads((dialled / "developer" / "result.json").read_text())["path"]
    strengths = [step["strength"] for step in steps]
    assert [step["strength"] for step in steps if step["taken"]] == [TAKEN]
    by = {
        strength: printed(done("predict", dialled, root / "people.csv", "--strength", f"{strength:g}"))
        for strength in (0.0, TAKEN, strengths[-1])
    }
    assert furthest(by[TAKEN], printed(done("predict", dialled, root / "people.csv"))) == 0
    assert furthest(by[0.0], printed(done("predict", dialled / "compare" / "erm", root / "people.csv"))) < EQUAL
    gaps = [gap(found, root) for found in by.values()]
    assert gaps[0] > 1.5 * gaps[1] > 1.5 * gaps[2]
    # whatever strength is used, the attribute's holder has opened one moment, and the priors that go with it
    opened = read_extract(dialled / "auditor-auditor" / "ledger.jsonl")
    assert sum(entry.get("operation") == "moment" for entry in opened) == 1


def test_the_report_and_the_end_of_a_run_show_them(dialled: Path) -> None:
    page, summary = (dialled / "report.html").read_text(), json.loads((dialled / "summary.json").read_text())
    assert "Other strengths, for no further epsilon" in page
    assert "told gap by sex" in page
    assert "told gap by sex" in result_text(summary, dialled)
    # methods without a path have no such table
    assert "Other strengths" not in result_text({**summary, "path": []}, dialled)


def test_an_export_of_another_strength_says_so(dialled: Path, root: Path, tmp_path: Path) -> None:
    done("export", dialled, tmp_path / "ten", "--strength", "10")
    done("export", dialled, tmp_path / "own", "--strength", f"{TAKEN:g}")
    (theirs,) = run_apart([(tmp_path / "ten" / "load.py", [str(root / "people.csv")])])
    assert furthest(theirs, printed(done("predict", dialled, root / "people.csv", "--strength", "10"))) < 1e-5
    card = (tmp_path / "ten" / "README.md").read_text()
    assert "**The head is that of strength 10**" in card
    assert "No audit or certificate of the run is of it" in card
    assert "the last line is the run's own head, not this one" in card
    assert "The head is that of" not in (tmp_path / "own" / "README.md").read_text()
    assert done("export", dialled, "--strength", "20").endswith(f"Export: {dialled / 'export-20'}\n")


def test_strengths_that_are_not_there(dialled: Path, root: Path) -> None:
    said = refused("predict", dialled, root / "people.csv", "--strength", "4")
    assert said.startswith("error: --strength 4: is not on the run's path; name one of 0, 0.1, ")
    assert "--strength 3.0000001: is not on" in refused(
        "predict", dialled, root / "people.csv", "--strength", "3.0000001"
    )
    said = refused("export", dialled / "compare" / "erm", "--strength", "3")
    assert "this run has one head alone; only posthoc leaves a path" in said
    with pytest.raises(UsageError, match="not on the run's path"):
        api.load_model(dialled, strength=4)


def test_a_model_of_pictures_takes_another_head_too(album: Path, tmp_path: Path) -> None:
    out = tmp_path / "run"
    out.mkdir()
    run(scenario_of_pictures(album, method={"name": "posthoc", "strength": TAKEN}), out, LineReporter())
    files = paths_of(out, album)
    own = api.load_model(out, strength=TAKEN).predict(files).rows()
    named = {str(row["record"]): np.array([row["probability_straight"], row["probability_wavy"]]) for row in own}
    assert furthest(named, told(out), album) < EQUAL
    assert furthest(printed(done("predict", out, *files, "--strength", "100")), told(out), album) > 10 * EQUAL
    done("export", out, tmp_path / "other", "--strength", "100")  # compares what it has written with the model
    assert (tmp_path / "other" / "head.safetensors").read_bytes() == (
        out / "developer" / "heads" / "100.0.safetensors"
    ).read_bytes()
