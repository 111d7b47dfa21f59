"""Predictions of own files: what the run said of them, under their own names, or a message that names what is wrong."""

from __future__ import annotations

import csv
import json
import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest

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
