"""Exports say what the run said, also where nothing of this project is."""

from __future__ import annotations

import csv
import hashlib
import json
import os
import re
import shlex
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import timm
import torch
from safetensors.torch import load_file, save_file

import secure_fair
from secure_fair.scenarios import export as exports
from secure_fair.scenarios.exported import loaded
from secure_fair.scenarios.launch import run, run_plain
from secure_fair.scenarios.progress import LineReporter
from secure_fair.scenarios.schema import Scenario
from tests.parties.company import write_stores
from tests.parties.people import plant, scenario_of
from tests.scenarios.album import EQUAL, RECORDS, done, furthest, invoke, paths_of, refused, scenario_of_pictures, told
from tests.scenarios.apart import printed, run_apart, table

BESIDE = Path(__file__).resolve().parents[3] / "shared"
WEIGHTS = Path(os.environ.get("SECURE_FAIR_WEIGHTS", BESIDE / "weights")) / "deit_tiny_patch16_224.safetensors"


# --- export -----------------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def exported(album_run: Path) -> Path:
    """The run's export, where it goes by itself."""
    said = done("export", album_run, "--merged")
    assert said.endswith(f"Export: {album_run / 'export'}\n")
    return album_run / "export"


def test_what_lies_in_an_export(album_run: Path, exported: Path) -> None:
    assert sorted(path.name for path in exported.iterdir()) == [
        *("README.md", "adapter", "backbone.safetensors", "head.safetensors", "load.py", "merged.safetensors"),
        "model.json",
    ]
    about = json.loads((exported / "model.json").read_text())
    assert about["classes"] == ["straight", "wavy"]
    assert about["preprocessing"]["size"] == 16
    assert about["preprocessing"]["mean"] == [0.5, 0.5, 0.5]
    assert about["backbone"]["sha256"] == hashlib.sha256((exported / "backbone.safetensors").read_bytes()).hexdigest()
    lines = (exported / "load.py").read_text()
    assert not any(name in lines for name in ("secure_fair", "import parties", "import scenarios"))
    # nothing of the machine that it was made on
    texts = [path.read_bytes() for path in exported.rglob("*") if path.is_file()]
    assert not any(str(album_run.parent).encode() in text for text in texts)


def test_merged_weights_are_a_timm_model_like_any_other(album: Path, album_run: Path, exported: Path) -> None:
    loader = loaded(exported)
    files = paths_of(album_run, album)
    with torch.no_grad():
        probabilities = loader.load_merged()(torch.stack([loader.pixels(file) for file in files])).softmax(1).numpy()
    assert furthest(dict(zip(files, probabilities, strict=True)), told(album_run), album) < EQUAL


def test_the_card_says_what_the_developer_may_know(album_run: Path, exported: Path) -> None:
    card = (exported / "README.md").read_text()
    summary = json.loads((album_run / "summary.json").read_text())
    for said in ("Predicts `hair`", "- 0: straight\n- 1: wavy", "`parity (moments)`", "exact: no privacy", "| erm |"):
        assert said in card
    assert "plain mode: one process saw every attribute" in card
    assert "Releases were exact" in card
    assert f"{summary['utility']['accuracy']:.3f}" in card


def test_the_card_has_no_rate_that_only_the_experimenter_knows(album: Path, album_run: Path, tmp_path: Path) -> None:
    """The exact gap and the released one are told apart by their values, which are put into the summary."""
    shutil.copytree(album_run, tmp_path / "run", ignore=shutil.ignore_patterns("export"))
    file = tmp_path / "run" / "summary.json"
    summary = json.loads(file.read_text())
    for one in (summary, *summary["compare"]):
        one["fairness"]["gender"]["demographic_parity_difference"] = 0.98765
        one["fairness_released"]["gender"]["demographic_parity_difference"] = 0.43219
    file.write_text(json.dumps(summary))
    done("export", tmp_path / "run")
    card = (tmp_path / "run" / "export" / "README.md").read_text()
    assert "0.432" in card
    assert "0.98" not in card
    summary["fairness_released"] = summary["compare"][0]["fairness_released"] = {}
    file.write_text(json.dumps(summary))
    done("export", tmp_path / "run", tmp_path / "another")
    assert "No fairness figures were released" in (tmp_path / "another" / "README.md").read_text()


def test_a_developer_between_machines_exports_what_it_wrote(album_run: Path, tmp_path: Path) -> None:
    """Its own folder alone is enough; what it does not know stands in no card."""
    shutil.copytree(album_run / "developer", tmp_path / "out")
    done("export", tmp_path / "out", tmp_path / "bare")
    card = (tmp_path / "bare" / "README.md").read_text()
    accuracy = json.loads((tmp_path / "out" / "result.json").read_text())["utility"]["accuracy"]
    for said in (
        f"{accuracy:.3f}",
        "Method: not known from this folder",
        "is in their holders' ledgers",
        "60 training",
    ):
        assert said in card
    done("export", tmp_path / "out", tmp_path / "told", "--scenario", album_run / "scenario.toml")
    card = (tmp_path / "told" / "README.md").read_text()
    for said in ("# album", "Predicts `hair`", "`parity (moments)`", "Sensitive attributes: `gender`"):
        assert said in card


def test_an_export_that_would_predict_otherwise_is_not_made(
    album_run: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The check is of the export itself: a head that changes on the way is found out."""
    copied = shutil.copyfile

    def changed(source: Path, target: Path, **how: Any) -> None:
        copied(source, target, **how)
        if Path(target).name == "head.safetensors":
            save_file(
                {name: value + 0.01 * torch.randn_like(value) for name, value in load_file(target).items()}, target
            )

    monkeypatch.setattr(shutil, "copyfile", changed)
    result = invoke("export", album_run, tmp_path / "out")
    assert result.exit_code == 1
    assert "load.py: predicts otherwise than the run's model" in result.stderr
    assert list(tmp_path.iterdir()) == []


def test_exports_that_are_refused(album_run: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "there").mkdir()
    (tmp_path / "there" / "file").touch()
    assert "exists and is not an empty folder" in refused("export", album_run, tmp_path / "there")
    assert "are no file that others could have" in refused("export", album_run, tmp_path / "out", "--no-copy-weights")
    monkeypatch.setattr(exports.importlib.util, "find_spec", lambda name: None if name == "onnxscript" else name)
    said = refused("export", album_run, tmp_path / "out", "--onnx")
    assert "--onnx: needs onnxscript; pip install 'secure-fair[onnx]'" in said
    assert not (tmp_path / "out").exists()


@pytest.mark.slow
def test_onnx(album_run: Path, tmp_path: Path) -> None:
    """What it is compared with, and by what, is the export's own check; here that it is alone in the folder."""
    done("export", album_run, tmp_path / "out", "--onnx")
    assert (tmp_path / "out" / "model.onnx").stat().st_size > 2**20
    assert not (tmp_path / "out" / "merged.safetensors").exists()
    assert "model.onnx" in (tmp_path / "out" / "README.md").read_text()


# --- adapters of other methods ----------------------------------------------------------------------------------------


@pytest.mark.parametrize("method", [{"name": "unl"}, {"name": "orth", "sensitive_scale": 1.0}], ids=["unl", "orth"])
def test_adapters_that_are_joined_are_exported_as_they_predict(
    album: Path, tmp_path: Path, method: dict[str, Any]
) -> None:
    scenario = scenario_of_pictures(album, method=method)
    people = write_stores(scenario, tmp_path / "stores")
    run_plain(scenario, tmp_path / "stores", tmp_path / "run", LineReporter())
    done("export", tmp_path / "run", "--merged")
    names = {record: str(album / file) for _, file, record, _ in people.names()}
    with (tmp_path / "run" / "developer" / "predictions.csv").open(newline="") as file:
        run_s = {names[row["id"]]: np.array([float(row["probability_straight"])]) for row in csv.DictReader(file)}
    loader = loaded(tmp_path / "run" / "export")
    pixels = torch.stack([loader.pixels(file) for file in run_s])
    with torch.no_grad():
        for model in (loader.load(), loader.load_merged()):
            found = dict(zip(run_s, model(pixels).softmax(1).numpy()[:, :1], strict=True))
            assert furthest(found, run_s) < EQUAL
    # for unl the negated adapter is a part of it: without those ranks the predictions are others
    rank = json.loads((tmp_path / "run" / "export" / "adapter" / "adapter_config.json").read_text())["r"]
    assert rank == (8 if method["name"] == "unl" else 4)


# --- another backbone, from a file ------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def deit_file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Random weights of a distilled DeiT-tiny, with its heads and at its own size, as a downloaded file has them."""
    file = tmp_path_factory.mktemp("weights") / "deit.safetensors"
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(1)
        vit = timm.create_model("deit_tiny_distilled_patch16_224")
        state = {name: value + 0.02 * torch.randn_like(value) for name, value in vit.state_dict().items()}
    save_file({name: value.contiguous() for name, value in state.items()}, file)
    return file


@pytest.fixture(scope="module")
def deit_run(album: Path, deit_file: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run on it, at another size than the file's."""
    out = tmp_path_factory.mktemp("deit") / "run"
    out.mkdir()
    run(of_deit(album, "deit_tiny_distilled_patch16_224", deit_file), out, LineReporter())
    return out


def of_deit(album: Path, name: str, file: Path) -> Scenario:
    return scenario_of_pictures(
        album, data={"image_size": 32}, backbone={"name": name, "weights": str(file)}, method={"name": "erm"}
    )


@pytest.fixture(scope="module")
def named(deit_run: Path) -> Path:
    """Its export without the backbone's weights."""
    done("export", deit_run, "--no-copy-weights", "--merged")
    return deit_run / "export"


def test_the_loaders_alone_say_what_the_runs_said(
    album: Path,
    album_run: Path,
    exported: Path,
    deit_file: Path,
    deit_run: Path,
    named: Path,
    tmp_path: Path,
) -> None:
    """In a process without this project, from folders that were moved: all in one, and with weights put beside it."""
    shutil.copytree(exported, tmp_path / "whole")
    shutil.copytree(named, tmp_path / "named")
    shutil.copy(deit_file, tmp_path / "named")
    runs = {"whole": album_run, "named": deit_run}
    calls = [(tmp_path / name / "load.py", paths_of(folder, album)) for name, folder in runs.items()]
    for found, folder in zip(run_apart(calls), runs.values(), strict=True):
        assert furthest(found, told(folder), album) < EQUAL
    assert furthest(told(album_run), told(deit_run)) > 0.01


def test_weights_in_a_file_are_named_and_held_to_their_digest(deit_file: Path, named: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    shutil.copytree(named, out)
    assert not (out / deit_file.name).exists()
    assert "**not in this folder**" in (out / "README.md").read_text()
    with pytest.raises(SystemExit, match=r"deit\.safetensors: is missing"):
        loaded(out).load()
    changed = load_file(deit_file)
    changed["blocks.0.attn.qkv.weight"][0, 0] += 1e-3
    save_file(changed, out / deit_file.name)
    with pytest.raises(SystemExit, match="is another file than the model was trained on"):
        loaded(out).load()


def test_weights_that_were_moved_or_changed(album: Path, deit_file: Path, deit_run: Path, tmp_path: Path) -> None:
    moved = tmp_path / "moved.safetensors"
    deit_file.rename(moved)
    try:
        said = refused("predict", deit_run, album / "pictures")
        assert f"weights {str(deit_file)!r}: are not there" in said
        assert "--weights" in said
        files = paths_of(deit_run, album)
        found = done("predict", deit_run, *files, "--weights", moved)
        assert furthest(printed(found), told(deit_run), album) < EQUAL
        changed = load_file(moved)
        changed["norm.bias"][0] += 1e-3
        save_file(changed, tmp_path / "changed.safetensors")
        for command in (("predict", deit_run, files[0]), ("export", deit_run, tmp_path / "out")):
            said = refused(*command, "--weights", tmp_path / "changed.safetensors")
            assert "are others than the run had" in said
        assert not (tmp_path / "out").exists()
    finally:
        moved.rename(deit_file)


def test_a_distilled_model_merges_too_and_copies_what_is_small(album: Path, deit_run: Path, tmp_path: Path) -> None:
    """Its own check compares the merged model, whose two heads are ours each, with the run's."""
    done("export", deit_run, tmp_path / "out", "--merged")
    assert (tmp_path / "out" / "backbone.safetensors").is_file()
    state = load_file(tmp_path / "out" / "merged.safetensors")
    assert torch.equal(state["head.weight"], state["head_dist.weight"])


def test_weights_as_they_are_downloaded(album: Path, tmp_path: Path) -> None:
    """A pth file with nested weights of a model whose weights timm itself has in another format."""
    name, file = "vit_tiny_patch16_224", tmp_path / "vit.pth"
    torch.save({"model": timm.create_model(name).state_dict()}, file)
    (tmp_path / "run").mkdir()
    run(of_deit(album, name, file), tmp_path / "run", LineReporter())
    done("export", tmp_path / "run", tmp_path / "out", "--no-copy-weights")
    shutil.copy(file, tmp_path / "out")
    loader, files = loaded(tmp_path / "out"), paths_of(tmp_path / "run", album)
    with torch.no_grad():
        found = loader.load()(torch.stack([loader.pixels(one) for one in files])).softmax(1).numpy()
    assert furthest(dict(zip(files, found, strict=True)), told(tmp_path / "run"), album) < EQUAL


@pytest.mark.real
def test_real_weights(album: Path, tmp_path: Path) -> None:
    if not WEIGHTS.is_file():
        pytest.skip(f"needs {WEIGHTS.name} below SECURE_FAIR_WEIGHTS")
    (tmp_path / "run").mkdir()
    run(of_deit(album, "deit_tiny_patch16_224", WEIGHTS), tmp_path / "run", LineReporter())
    files = paths_of(tmp_path / "run", album)
    for folder, option in (("copied", "--copy-weights"), ("named", "--no-copy-weights")):
        out = tmp_path / folder
        done("export", tmp_path / "run", out, "--merged", option)
        if folder == "named":
            shutil.copy(WEIGHTS, out)
        (found,) = run_apart([(out / "load.py", files)])
        assert furthest(found, told(tmp_path / "run"), album) < EQUAL


# --- README -----------------------------------------------------------------------------------------------------------


def test_every_line_of_the_readme_does_what_it_says(
    album: Path, album_run: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    text = (Path(__file__).parents[2] / "README.md").read_text()
    told_there = text[text.index("**Use the model.**") : text.index("**Run between machines.**")]
    predict, by_manifest, export, load, from_python = re.findall("^    (.+)$", told_there, flags=re.MULTILINE)
    shutil.copytree(album, tmp_path / "home")
    (tmp_path / "home" / "pictures").rename(tmp_path / "home" / "photos")
    (tmp_path / "home" / "pictures").symlink_to("photos")
    (tmp_path / "home" / "RUN").symlink_to(album_run)
    monkeypatch.chdir(tmp_path / "home")
    done(*words(predict, "secure-fair"))
    with open("predictions.csv", newline="") as file:
        ours = table(csv.DictReader(file))
    assert len(ours) == RECORDS
    assert len(done(*words(by_manifest, "secure-fair")).splitlines()) == RECORDS + 1
    done(*words(export, "secure-fair"))
    loader, picture = words(load, "python")
    loaded(Path(loader).parent).main([picture])
    (theirs,) = printed(capsys.readouterr().out).values()
    assert np.abs(theirs - ours[picture]).max() < EQUAL
    rows = eval(from_python, {"secure_fair": secure_fair})
    assert {row["record"]: row["probability_wavy"] for row in rows} == pytest.approx(
        {name: row[1] for name, row in ours.items()}, abs=1e-5
    )


def words(line: str, program: str) -> list[str]:
    """The arguments of a command of this program."""
    first, *arguments = shlex.split(line)
    assert first == program
    return arguments


# --- a table ----------------------------------------------------------------------------------------------------------


def test_a_table_s_export_needs_numpy_alone(tmp_path: Path) -> None:
    root = plant(tmp_path / "people")
    (tmp_path / "run").mkdir()
    run(scenario_of(root, secure={"mode": "plain"}, train={"epochs": 1}), tmp_path / "run", LineReporter())
    done("export", tmp_path / "run", tmp_path / "out")
    assert sorted(path.name for path in (tmp_path / "out").iterdir()) == [
        *("README.md", "head.safetensors", "load.py", "table.json")
    ]
    (theirs,) = run_apart([(tmp_path / "out" / "load.py", [str(root / "people.csv")])])
    ours = printed(done("predict", tmp_path / "run", root / "people.csv"))
    assert furthest(theirs, ours) < 1e-5
    # the run names rows by file and line, too
    run_s = {
        f"{root / name.partition(':')[0]}:{name.partition(':')[2]}": row for name, row in told(tmp_path / "run").items()
    }
    assert furthest({name: ours[name] for name in run_s}, run_s) < 1e-5
    said = refused("export", tmp_path / "run", tmp_path / "again", "--merged")
    assert "no use with a model of a table" in said
    assert "a model of a table takes one CSV" in refused("predict", tmp_path / "run", root)
