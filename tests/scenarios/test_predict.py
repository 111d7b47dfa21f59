"""Predictions of own files: what the run said of them, under their own names, or a message that names what is wrong."""

from __future__ import annotations

import csv
import json
import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file

from tests.scenarios.album import EQUAL, RECORDS, done, furthest, paths_of, refused, scenario_of_pictures, told
from tests.scenarios.apart import printed, table

# --- names ------------------------------------------------------------------------------------------------------------


def test_predictions_are_told_by_the_data_set_s_names_and_by_no_party(album: Path, album_run: Path) -> None:
    with (album / "people.csv").open(newline="") as file:
        hair = {row["picture"]: row["hair"] for row in csv.DictReader(file)}
    with (album_run / "predictions.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert len(rows) == round(0.3 * RECORDS)
    assert {row["record"]: row["label"] for row in rows} == {row["record"]: hair[row["record"]] for row in rows}
    assert {row["split"] for row in rows} == {"test"}
    likelier = [max(("straight", "wavy"), key=lambda name: float(row[f"probability_{name}"])) for row in rows]
    assert [row["prediction"] for row in rows] == likelier
    with (album_run / "developer" / "predictions.csv").open(newline="") as file:
        assert [row["id"] for row in csv.DictReader(file)] == [row["id"] for row in rows]
    # a name may tell an attribute, as UTKFace's do: it is the experimenter's, and in no party's folder
    parties = [folder for folder in album_run.iterdir() if folder.is_dir() and folder.name != "compare"]
    texts = [file.read_bytes() for folder in parties for file in folder.rglob("*") if file.is_file()]
    assert len(texts) > 5
    assert not any(row["record"].encode() in text for row in rows for text in texts)


def test_who_prepares_stores_is_told_which_id_is_whose(album: Path, tmp_path: Path) -> None:
    (tmp_path / "s.toml").write_text(scenario_of_pictures(album).to_toml())
    said = done("data", "prepare", "together", tmp_path / "s.toml", "--out", tmp_path / "stores")
    assert f"names: {tmp_path / 'stores' / 'records.csv'}" in said
    with (tmp_path / "stores" / "records.csv").open(newline="") as file:
        names = {row["record"]: (row["file"], row["split"]) for row in csv.DictReader(file)}
    with (tmp_path / "stores" / "developer" / "records.csv").open(newline="") as file:
        held = list(csv.DictReader(file))
    assert {row["id"]: row["split"] for row in held} == {record: part for record, (_, part) in names.items()}
    with (album / "people.csv").open(newline="") as file:
        hair = {row["picture"]: row["hair"] for row in csv.DictReader(file)}
    assert [hair[names[row["id"]][0]] == "wavy" for row in held] == [row["label"] == "1" for row in held]


# --- predict ----------------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def manifest(album: Path, album_run: Path) -> Iterator[Path]:
    """A CSV with the test records' paths, in a column of its own name."""
    file = album / "new.csv"
    file.write_text("".join(f"{name}\n" for name in ("photo", *told(album_run))))
    yield file
    file.unlink()


def test_predict_says_what_the_run_said(album: Path, album_run: Path, manifest: Path, tmp_path: Path) -> None:
    found = printed(done("predict", album_run, manifest, "--path-column", "photo"))
    assert furthest(found, told(album_run)) < EQUAL
    # the model is not the one that it began as: another method's differs
    other = done("predict", album_run / "compare" / "erm", manifest, "--path-column", "photo")
    assert furthest(printed(other), told(album_run)) > EQUAL
    # a folder, in a file, has everybody
    said = done("predict", album_run / "developer", album / "pictures", "--output", tmp_path / "all.csv")
    assert said == f"{tmp_path / 'all.csv'}: {RECORDS} predictions\n"
    with (tmp_path / "all.csv").open(newline="") as file:
        everybody = table(csv.DictReader(file))
    assert len(everybody) == RECORDS
    assert furthest({name: everybody[name] for name in paths_of(album_run, album)}, told(album_run), album) < EQUAL


def test_predictions_as_json_name_the_class(album: Path, album_run: Path) -> None:
    file = paths_of(album_run, album)[0]
    row, again = json.loads(done("predict", album_run, file, file, "--format", "json"))
    assert row == again
    assert row["record"] == file
    assert row["prediction"] == max(("straight", "wavy"), key=lambda name: row[f"probability_{name}"])


def test_every_broken_picture_is_named_and_nothing_is_predicted(album: Path, album_run: Path, tmp_path: Path) -> None:
    whole = Path(paths_of(album_run, album)[0])
    shutil.copy(whole, tmp_path / "a.png")
    (tmp_path / "b.png").write_bytes(whole.read_bytes()[:600])
    (tmp_path / "c.jpg").write_text("no picture")
    said = refused("predict", album_run, tmp_path, "--output", tmp_path / "out.csv")
    assert "b.png" in said
    assert "c.jpg: broken picture: c.jpg (10 bytes) is not a picture in a known format" in said
    assert "nothing was predicted" in said
    assert not (tmp_path / "out.csv").exists()


def test_places_that_cannot_be_predicted(album: Path, album_run: Path, tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    (tmp_path / "new.csv").write_text("file\na.png\n")
    (tmp_path / "none.csv").write_text("path\n")
    assert "nowhere: no such file or folder" in refused("predict", album_run, tmp_path / "nowhere")
    assert "holds no file that is called like a picture" in refused("predict", album_run, tmp_path / "empty")
    said = refused("predict", album_run, tmp_path / "new.csv")
    assert "no single column 'path'; it has file" in said
    assert "--path-column" in said
    assert "no picture to predict" in refused("predict", album_run, tmp_path / "none.csv")
    said = refused("predict", album_run, album / "people.csv", "--path-column", "picture", "--id-column", "x")
    assert "--id-column: is for the rows of a table" in said
    said = refused("predict", album_run, tmp_path / "empty", "--output", tmp_path / "new.csv")
    assert "exists already" in said
    said = refused("predict", album_run, album / "pictures", "--output", tmp_path / "nowhere" / "new.csv")
    assert "is no folder; make it first" in said
    said = refused("predict", album_run, album / "pictures", "--path-column", "picture")
    assert "--path-column: is of a CSV with the pictures' paths, and none is named" in said


def test_folders_without_a_model(album_run: Path, tmp_path: Path) -> None:
    failed = tmp_path / "failed"
    failed.mkdir()
    shutil.copy(album_run / "scenario.toml", failed)
    for command in (("predict", tmp_path / "nowhere", "x.png"), ("export", tmp_path / "nowhere")):
        assert "nowhere: no such folder; name the folder of a run" in refused(*command)
    for command in (("predict", failed, "x.png"), ("export", failed)):
        assert "failed: holds no model, for the run has not ended well" in refused(*command)
    assert "it is no run's folder" in refused("export", tmp_path)
    assert not (failed / "export").exists()


def test_a_model_that_was_tampered_with_is_refused(album_run: Path, tmp_path: Path) -> None:
    shutil.copytree(album_run / "developer", tmp_path / "developer")
    about = tmp_path / "developer" / "pictures.json"
    tree = json.loads(about.read_text())
    about.write_text(json.dumps({**tree, "digest": "0" * 64}))
    assert "are others than the run had" in refused("predict", tmp_path, tmp_path)
    about.write_text(json.dumps({key: value for key, value in tree.items() if key != "mean"}))
    assert "does not describe a model: KeyError('mean')" in refused("predict", tmp_path, tmp_path)
    about.write_text(json.dumps(tree))
    head = tmp_path / "developer" / "head.safetensors"
    save_file({"weight": torch.zeros(2, 3), "bias": torch.zeros(2)}, head)
    assert "is not this model's head" in refused("predict", tmp_path, tmp_path)
    shutil.copy(album_run / "developer" / "head.safetensors", head)
    adapter = tmp_path / "developer" / "adapter" / "adapter_model.safetensors"
    state = load_file(adapter)
    gone = sorted(state)[0]
    save_file({name: value for name, value in state.items() if name != gone}, adapter)
    assert f"1 tensors are not the adapter's, first '{gone}'" in refused("predict", tmp_path, tmp_path)
    adapter.write_bytes(b"")
    assert "holds no adapter of this backbone" in refused("predict", tmp_path, tmp_path)
