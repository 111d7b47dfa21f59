"""Tables: decoding, the cache, duplicates, limits, refusals."""

from __future__ import annotations

import hashlib
import shutil
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from sample_files import Load, write_picture

from secure_fair.data.pictures import decode
from secure_fair.data.table import load_attributes, load_labels, load_table
from secure_fair.errors import UsageError


def encoded(image: Image.Image, tmp_path: Path, name: str, **options: object) -> bytes:
    image.save(tmp_path / name, **options)
    return (tmp_path / name).read_bytes()


def test_short_side_is_resized_and_the_centre_kept(tmp_path: Path) -> None:
    wide = np.zeros((20, 60, 3), np.uint8)
    wide[:, :20], wide[:, 20:40], wide[:, 40:] = (255, 0, 0), (0, 255, 0), (0, 0, 255)
    picture = decode(encoded(Image.fromarray(wide), tmp_path, "wide.png"), 10)
    assert picture.shape == (10, 10, 3)
    assert (picture[:, 2:-2] == (0, 255, 0)).all()


def test_exif_orientation_is_respected(tmp_path: Path) -> None:
    half = np.zeros((32, 32, 3), np.uint8)
    half[:16] = 255
    exif = Image.Exif()
    exif[0x0112] = 3  # upside down
    upright = decode(encoded(Image.fromarray(half), tmp_path, "a.jpg"), 16)
    turned = decode(encoded(Image.fromarray(half), tmp_path, "b.jpg", exif=exif), 16)
    assert upright[:6].min() > 240
    assert turned[:6].max() < 15


@pytest.mark.parametrize("mode", ["L", "P", "RGBA", "CMYK"])
def test_other_modes_become_rgb(tmp_path: Path, mode: str) -> None:
    grey = Image.new("RGB", (20, 20), (200, 200, 200))
    image = grey.quantize() if mode == "P" else grey.convert(mode)
    picture = decode(encoded(image, tmp_path, "x.jpg" if mode == "CMYK" else "x.png"), 16)
    assert np.abs(picture.astype(int) - 200).max() <= 2


def test_deep_pictures_are_refused(tmp_path: Path) -> None:
    deep = Image.fromarray(np.full((20, 20), 40_000, np.uint16))
    with pytest.raises(OSError, match="8 bits"):
        decode(encoded(deep, tmp_path, "deep.png"), 16)


def test_a_side_is_read_without_the_columns_of_the_other(manifest: Path, tmp_path: Path) -> None:
    """The CSV of one need not have them; what both have is the same."""
    how = {"root": manifest, "image_size": 16, "cache": tmp_path / "cache"}
    whole = load_table("manifest", target="hair", sensitive=["band"], **how)
    table = manifest / "manifest.csv"
    lines = [line.split(",") for line in table.read_text().splitlines()]
    for without, load in (("band", load_labels), ("hair", load_attributes)):
        place = lines[0].index(without)
        table.write_text("\n".join(",".join(cells[:place] + cells[place + 1 :]) for cells in lines) + "\n")
        alone = load("manifest", **({"target": "hair"} if without == "band" else {"sensitive": ["band"]}), **how)
        assert alone.digests == whole.digests
        if without == "band":
            assert alone.target.codes.tolist() == whole.target.codes.tolist()
            assert alone.sensitive == {}
        else:
            assert alone.sensitive["band"].codes.tolist() == whole.sensitive["band"].codes.tolist()


def test_digest_is_of_the_file(utkface: Path, load: Load) -> None:
    table = load("utkface", utkface, "gender", ["race"])
    files = sorted(utkface.iterdir())
    assert table.digests == [hashlib.sha256(file.read_bytes()).hexdigest() for file in files]
    np.testing.assert_array_equal(table.inputs[3], decode(files[3].read_bytes(), 16))


def test_bad_pictures_are_refused_or_listed(utkface: Path, load: Load) -> None:
    files = sorted(utkface.iterdir())
    files[0].write_bytes(b"not a picture")
    files[1].write_bytes(files[1].read_bytes()[:-200])
    files[2].write_bytes(b"")
    with pytest.raises(UsageError) as refused:
        load("utkface", utkface, "gender", ["race"])
    assert f"{files[0].name}: broken picture" in str(refused.value)
    assert f"{files[1].name}: truncated picture" in str(refused.value)
    assert "3 bad records: 2 broken picture, 1 truncated picture" in str(refused.value)
    for _ in range(2):  # decoded, then from the cache
        table = load("utkface", utkface, "gender", ["race"], on_bad="skip")
        assert len(table) == len(table.inputs) == len(table.target.codes) == 5
        assert len(table.skipped) == 3
        np.testing.assert_array_equal(table.inputs[0], decode(files[3].read_bytes(), 16))


def test_no_usable_picture_is_an_error_even_when_skipping(utkface: Path, load: Load) -> None:
    for file in utkface.iterdir():
        file.write_bytes(b"x")
    with pytest.raises(UsageError, match="no usable record"):
        load("utkface", utkface, "gender", ["race"], on_bad="skip")


def test_only_the_first_twenty_are_shown_and_all_are_counted(utkface: Path, load: Load) -> None:
    for i in range(30):
        (utkface / f"bad{i:02d}.jpg").write_bytes(b"x")
    with pytest.raises(UsageError) as refused:
        load("utkface", utkface, "gender", ["race"])
    assert sum("wrong name:" in line for line in refused.value.problems) == 20
    assert "... and 10 more" in refused.value.problems
    assert "30 bad records: 30 wrong name" in refused.value.problems


def test_copies_with_equal_labels_are_kept_once(utkface: Path, load: Load) -> None:
    first = sorted(utkface.iterdir())[0]
    copy = utkface / first.name.replace("2017", "2018")
    shutil.copy(first, copy)
    table = load("utkface", utkface, "gender", ["race"])
    assert len(table) == len(set(table.digests)) == 8
    assert [(p.place, p.kind) for p in table.skipped] == [(copy.name, "duplicate picture")]


def test_copies_with_other_labels_are_all_bad(utkface: Path, load: Load) -> None:
    first = sorted(utkface.iterdir())[0]
    shutil.copy(first, utkface / "33_1_4_20180101000000000.jpg")
    with pytest.raises(UsageError, match="2 conflicting duplicate"):
        load("utkface", utkface, "gender", ["race"])
    table = load("utkface", utkface, "gender", ["race"], on_bad="skip")
    assert len(table) == 7
    assert {problem.kind for problem in table.skipped} == {"conflicting duplicate"}


def test_limit_is_reproducible_and_blind_to_labels(tmp_path: Path, load: Load) -> None:
    root = tmp_path / "many"
    for i in range(60):
        write_picture(root / f"{20 + i}_{i // 30}_{i % 5}_201701161745{i:05d}.jpg", i)
    some = load("utkface", root, "gender", ["race"], limit=30)
    again = load("utkface", root, "gender", ["race"], limit=30)
    assert some.digests == again.digests
    assert len(some) == 30
    # the first thirty names are all of one gender
    assert 8 <= some.target.codes.sum() <= 22


def test_pictures_are_decoded_once(utkface: Path, load: Load) -> None:
    calls: list[tuple[str, int, int]] = []
    options = {"progress": lambda *call: calls.append(call)}
    first = load("utkface", utkface, "gender", ["race"], **options)
    assert calls == [("pictures", 8, 8)]
    second = load("utkface", utkface, "age > 30", ["race"], **options)
    assert calls == [("pictures", 8, 8)]
    np.testing.assert_array_equal(first.inputs, second.inputs)
    load("utkface", utkface, "gender", ["race"], image_size=20, **options)
    assert len(calls) == 2
    write_picture(sorted(utkface.iterdir())[0], 77)
    assert not np.array_equal(load("utkface", utkface, "gender", ["race"], **options).inputs[0], first.inputs[0])


def test_a_damaged_cache_is_made_again(utkface: Path, load: Load, tmp_path: Path) -> None:
    pictures = np.array(load("utkface", utkface, "gender", ["race"]).inputs)
    (array,) = (tmp_path / "cache").glob("*.npy")
    array.write_bytes(array.read_bytes()[:-100])
    np.testing.assert_array_equal(load("utkface", utkface, "gender", ["race"]).inputs, pictures)
    assert not [file for file in (tmp_path / "cache").iterdir() if file.name.startswith(".")]


def test_an_interrupted_decoding_leaves_nothing(utkface: Path, load: Load, tmp_path: Path) -> None:
    def interrupt(name: str, done: int, total: int) -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        load("utkface", utkface, "gender", ["race"], progress=interrupt)
    assert list((tmp_path / "cache").iterdir()) == []


def test_faces_as_a_table(tmp_path: Path) -> None:
    settings = {"target": "wavy_hair", "sensitive": ["male", "skin_tone"], "image_size": 32, "cache": tmp_path}
    table = load_table("faces", records=30, correlation=-0.5, seed=4, **settings)
    assert len(table) == len(set(table.digests)) == 30
    assert list(table.sensitive) == ["male", "skin_tone"]
    assert table.sensitive["skin_tone"].groups == ("light", "medium", "dark")
    assert table.digests[0] == hashlib.sha256(table.inputs[0].tobytes()).hexdigest()
    assert load_table("faces", records=30, limit=5, correlation=-0.5, seed=4, **settings).digests == table.digests[:5]


@pytest.mark.parametrize(
    ("dataset", "options", "says"),
    [
        ("imagenet", {}, "unknown data set 'imagenet'"),
        ("faces", {"partition": True}, "faces has no option partition: it has base_rate"),
        ("utkface", {"records": 5}, "utkface has no option records: it has none"),
        ("faces", {"on_bad": "ignore"}, "choose refuse or skip"),
        ("faces", {"limit": 0}, "at least 1"),
    ],
)
def test_wrong_settings(tmp_path: Path, dataset: str, options: dict, says: str) -> None:
    with pytest.raises(UsageError, match=says):
        load_table(dataset, target="smiling", sensitive=["male"], image_size=32, cache=tmp_path, **options)
