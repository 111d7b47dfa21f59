"""Colours of pictures against numpy's own mean and deviation; what is decoded and kept, and what is not."""

from __future__ import annotations

import io
import os
import stat
import struct
import zlib
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from secure_fair.data import pictures as module
from secure_fair.data.pictures import colours, decode_all


def test_colours_are_those_of_the_rows_alone() -> None:
    pictures = np.random.default_rng(0).integers(0, 256, (600, 8, 8, 3), dtype=np.uint8)
    pictures[300:, :, :, 0] = 255
    rows = np.arange(0, 600, 2)
    mean, deviation = colours(pictures, rows)
    values = pictures[rows].reshape(-1, 3) / 255
    assert mean == pytest.approx(values.mean(axis=0))
    assert deviation == pytest.approx(values.std(axis=0))
    assert mean[0] > colours(pictures, np.arange(300))[0][0] + 0.1


def encoded(form: str, value: int = 0) -> bytes:
    file = io.BytesIO()
    Image.new("RGB", (16, 16), (value, 0, 0)).save(file, form)
    return file.getvalue()


def bomb() -> bytes:
    """A PNG of a few bytes that says it has 60,000 x 60,000 pixels."""

    def chunk(name: bytes, body: bytes) -> bytes:
        return struct.pack(">I", len(body)) + name + body + struct.pack(">I", zlib.crc32(name + body))

    header = struct.pack(">IIBBBBB", 60_000, 60_000, 8, 2, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(b"")) + chunk(b"IEND", b"")


def files_in(folder: Path, contents: dict[str, bytes]) -> list[tuple[str, Path]]:
    folder.mkdir(exist_ok=True)
    for name, content in contents.items():
        (folder / name).write_bytes(content)
    return [(name, folder / name) for name in contents]


def test_formats_that_photographs_do_not_come_in_are_no_pictures(tmp_path: Path) -> None:
    """Each further decoder would be one more that hostile files reach."""
    given = {"a.jpg": encoded("JPEG"), "b.png": encoded("PNG"), "c.webp": encoded("WEBP")}
    refused = {"d.bmp": encoded("BMP"), "e.tiff": encoded("TIFF"), "f.png": encoded("GIF"), "g.png": bomb()}
    found = decode_all(files_in(tmp_path / "p", given | refused), 8, tmp_path / "cache")
    assert sorted(found.failures) == [3, 4, 5, 6]
    assert {kind for kind, _ in found.failures.values()} == {"broken picture"}
    assert "JPEG, PNG, WebP" in found.failures[3][1]


def test_the_cache_is_its_owners_alone_and_bounded(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    cache = tmp_path / "cache"
    lists = [files_in(tmp_path / str(i), {"a.png": encoded("PNG", i)}) for i in range(3)]
    kept = [decode_all(one, 8, cache).key for one in lists[:2]]
    assert stat.S_IMODE(cache.stat().st_mode) == 0o700
    os.utime(cache / f"{kept[1]}.npy", (1, 1))
    size = (cache / f"{kept[0]}.npy").stat().st_size
    monkeypatch.setattr(module, "CACHE_BYTES", 2 * size)
    kept.append(decode_all(lists[2], 8, cache).key)
    assert {file.stem for file in cache.iterdir()} == {kept[0], kept[2]}  # the one used longest ago is gone
    assert decode_all(lists[1], 8, cache).digests  # and is made again


def test_a_folder_that_was_there_keeps_its_mode_and_what_is_in_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine").chmod(0o755)  # whatever the umask is
    (tmp_path / "mine" / "thesis.npy").write_bytes(b"x" * 1000)
    monkeypatch.setattr(module, "CACHE_BYTES", 1)
    decode_all(files_in(tmp_path / "p", {"a.png": encoded("PNG")}), 8, tmp_path / "mine")
    assert stat.S_IMODE((tmp_path / "mine").stat().st_mode) == 0o755
    made = [file for file in (tmp_path / "mine").iterdir() if file.name != "thesis.npy"]
    assert len(made) == 2
    assert {stat.S_IMODE(file.stat().st_mode) for file in made} == {0o600}
    assert (tmp_path / "mine" / "thesis.npy").is_file()
