"""Hugging Face data sets: what save_to_disk writes and what the hub has give the same records; bad ones are counted."""

from __future__ import annotations

import io
import json
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from click.testing import CliRunner
from PIL import Image
from pyarrow import ipc, parquet

from secure_fair.data.check import check
from secure_fair.data.pictures import decode
from secure_fair.data.shards import find_shards, is_saved
from secure_fair.data.table import Dataset, count_records, load_table
from secure_fair.errors import UsageError
from secure_fair.scenarios.cli import main

RECORDS = 24
RACES = ["White", "Black", "Indian"]
ASKED: dict[str, Any] = {"target": "gender", "sensitive": ["race"]}
PICTURE = pa.struct([("bytes", pa.binary()), ("path", pa.string())])
FEATURES = {
    "image": {"_type": "Image"},
    "age": {"dtype": "int64", "_type": "Value"},
    "gender": {"names": ["Male", "Female"], "_type": "ClassLabel"},
    "race": {"names": RACES, "_type": "ClassLabel"},
}


def picture(number: int, kind: str = "JPEG") -> bytes:
    """A made-up picture of its own."""
    pixels = np.random.default_rng(number).integers(0, 256, (20, 24, 3), dtype=np.uint8)
    file = io.BytesIO()
    Image.fromarray(pixels).save(file, kind)
    return file.getvalue()


def table(first: int = 0, count: int = RECORDS, **changes: Any) -> pa.Table:
    """Made-up people as the hub has FairFace: pictures with a path, an age, and classes as numbers."""
    numbers = range(first, first + count)
    kinds = ("JPEG", "PNG", "WEBP")
    columns = {
        "image": pa.array([{"bytes": picture(n, kinds[n % 3]), "path": f"{n}.jpg"} for n in numbers], PICTURE),
        "age": pa.array([20 + n for n in numbers]),
        "gender": pa.array([n % 2 for n in numbers]),
        "race": pa.array([n % 3 for n in numbers]),
        "embedding": pa.array([[0.0, 1.0]] * count),  # a list is no column that can be asked for
        **changes,
    }
    metadata = {"huggingface": json.dumps({"info": {"features": FEATURES}})}
    return pa.table(columns).replace_schema_metadata(metadata)


def save(folder: Path, held: pa.Table, files: int = 1) -> Path:
    """As ``save_to_disk`` of a data set does."""
    folder.mkdir(parents=True)
    names = [f"data-{place:05}-of-{files:05}.arrow" for place in range(files)]
    size = -(-len(held) // files)
    for place, name in enumerate(names):
        part = held.slice(place * size, size)
        with ipc.new_stream(folder / name, part.schema) as writer:
            writer.write_table(part, max_chunksize=5)
    (folder / "state.json").write_text(json.dumps({"_data_files": [{"filename": name} for name in names]}))
    (folder / "dataset_info.json").write_text(json.dumps({"features": FEATURES}))
    return folder


def loaded(root: Path, cache: Path, **options: Any) -> Dataset:
    return load_table("huggingface", root=root, image_size=16, cache=cache, **ASKED, **options)


def expected(first: int, count: int) -> np.ndarray:
    kinds = ("JPEG", "PNG", "WEBP")
    return np.stack([decode(picture(n, kinds[n % 3]), 16) for n in range(first, first + count)])


def test_what_save_to_disk_writes_is_read(tmp_path: Path) -> None:
    found = loaded(save(tmp_path / "saved", table(), files=2), tmp_path / "cache")
    assert np.array_equal(found.inputs, expected(0, RECORDS))
    assert found.target.groups == ("Female", "Male")  # in natural order, as everywhere
    assert [found.sensitive["race"].groups[code] for code in found.sensitive["race"].codes] == RACES * 8
    assert found.names[12] == "data-00001-of-00002.arrow:0"


def test_parquet_by_links_into_a_cache_is_the_same(tmp_path: Path) -> None:
    """As the hub's client keeps it: files called by their digest, and links that have the names."""
    blobs, shards = tmp_path / "blobs", tmp_path / "snapshot" / "0.25"
    for folder in (blobs, shards):
        folder.mkdir(parents=True)
    for place in range(2):
        parquet.write_table(table(12 * place, 12), blobs / f"{place:x}", row_group_size=5)
        (shards / f"train-{place:05}-of-00002.parquet").symlink_to(blobs / f"{place:x}")
    assert is_saved(tmp_path / "snapshot")
    found = loaded(tmp_path / "snapshot", tmp_path / "cache")
    other = loaded(save(tmp_path / "saved", table()), tmp_path / "cache")
    assert np.array_equal(found.inputs, other.inputs)
    assert found.digests == other.digests
    assert np.array_equal(found.sensitive["race"].codes, other.sensitive["race"].codes)


def splits(root: Path) -> Path:
    """A dictionary of data sets, as save_to_disk writes it."""
    save(root / "train", table(0, 18))
    save(root / "validation", table(18, 6))
    (root / "dataset_dict.json").write_text('{"splits": ["train", "validation"]}')
    return root


def test_splits_say_which_records_are_tested_on(tmp_path: Path) -> None:
    found = loaded(splits(tmp_path / "saved"), tmp_path / "cache", split_column="part")
    assert found.given_split is not None
    assert found.given_split.tolist() == ["developer"] * 18 + ["test"] * 6
    assert len(loaded(tmp_path / "saved", tmp_path / "cache", file="train")) == 18


def test_nothing_but_pictures_is_decoded_and_bad_ones_are_counted(tmp_path: Path) -> None:
    """A GIF, a half of a picture, no picture, and a path that leaves the folder; one that stays in it is read."""
    (tmp_path / "outside.png").write_bytes(picture(0, "PNG"))
    cells = [{"bytes": picture(n, "PNG"), "path": None} for n in range(RECORDS)]
    cells[3]["bytes"] = picture(3, "GIF")
    cells[4]["bytes"] = picture(4, "PNG")[:200]
    cells[5]["bytes"] = b""
    cells[6] = {"bytes": None, "path": "../outside.png"}
    cells[7] = {"bytes": None, "path": "own.png"}
    root = save(tmp_path / "saved", table(image=pa.array([*cells[:8], None, *cells[9:]], PICTURE)))
    (root / "own.png").write_bytes(picture(7, "PNG"))
    report = check("huggingface", root=root, image_size=16, cache=tmp_path / "cache", **ASKED)
    assert sorted(problem.place.rpartition(":")[2] for problem in report.bad) == ["3", "4", "5", "6", "8"]
    assert len(loaded(root, tmp_path / "cache", on_bad="skip")) == RECORDS - 5
    with pytest.raises(UsageError, match=r"data\.on_bad"):
        loaded(root, tmp_path / "cache")


def test_a_class_that_is_not_known_is_an_empty_cell(tmp_path: Path) -> None:
    codes = pa.array([-1, None, *(n % 3 for n in range(2, RECORDS))])
    root = save(tmp_path / "saved", table(race=codes))
    report = check("huggingface", root=root, image_size=16, cache=tmp_path / "cache", **ASKED)
    assert [problem.kind for problem in report.bad] == ["empty value"] * 2


def test_records_are_counted_without_a_picture(tmp_path: Path) -> None:
    root = save(tmp_path / "saved", table(image=pa.array([None] * RECORDS, PICTURE)))
    found = count_records("huggingface", root=root, **ASKED)
    assert (found.records, found.groups["race"]) == (RECORDS, ("Black", "Indian", "White"))


def two_sets(root: Path) -> None:
    for name in ("0.25", "1.25"):
        (root / name).mkdir(parents=True)
        parquet.write_table(table(), root / name / "train-00000-of-00001.parquet")


def two_pictures(root: Path) -> None:
    save(root, table(mask=table().column("image")))


def half_a_file(root: Path) -> None:
    file = save(root, table()) / "data-00000-of-00001.arrow"
    file.write_bytes(file.read_bytes()[:2000])


def no_pictures(root: Path) -> None:
    save(root, table().drop_columns(["image"]))


def odd_state(root: Path) -> None:
    (save(root, table()) / "state.json").write_text("{}")


def other_columns(root: Path) -> None:
    root.mkdir()
    parquet.write_table(table(), root / "train-00000-of-00002.parquet")
    parquet.write_table(table().drop_columns(["age"]), root / "train-00001-of-00002.parquet")


@pytest.mark.parametrize(
    ("make", "said"),
    [
        (two_sets, "of several data sets, in 0.25, 1.25; name one"),
        (two_pictures, "image, mask: name one"),
        (half_a_file, "not a whole Arrow file"),
        (no_pictures, "no column of pictures"),
        (odd_state, "not as save_to_disk writes it"),
        (other_columns, "has other columns than"),
        (lambda root: root.mkdir(), "neither Parquet files nor"),
    ],
)
def test_what_cannot_be_read_is_said(tmp_path: Path, make: Any, said: str) -> None:
    make(tmp_path / "data")
    with pytest.raises(UsageError, match=said):
        loaded(tmp_path / "data", tmp_path / "cache")


def test_names_in_a_saved_folder_do_not_leave_it(tmp_path: Path) -> None:
    root = save(tmp_path / "saved", table())
    (root / "state.json").write_text('{"_data_files": [{"filename": "../../secret.arrow"}]}')
    assert [shard.file for shard in find_shards(root, None)] == [root / "secret.arrow"]


def test_init_writes_a_scenario_for_it(tmp_path: Path) -> None:
    root = splits(tmp_path / "saved")
    command = ["init", str(tmp_path / "mine"), "--pictures", str(root), "--sensitive", "race"]
    listed = CliRunner().invoke(main, command)
    assert listed.exit_code == 2
    assert "race" in listed.stderr
    assert "3 values: Black, Indian, White" in listed.stderr
    done = CliRunner().invoke(main, [*command, "--target", "gender"])
    assert done.exit_code == 0, done.output
    text = (tmp_path / "mine" / "scenario.toml").read_text()
    assert 'dataset = "huggingface"' in text
    assert f'root = "{root}"' in text
