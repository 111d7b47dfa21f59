"""Decoding picture files once: resized, cropped, kept as one uint8 array in a cache folder.

The cache's names and contents come from the files' names: it belongs to whoever may see all of a data set.
"""

from __future__ import annotations

import contextlib
import hashlib
import io
import json
import math
import os
import re
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from PIL import Image, ImageOps

from secure_fair.data.records import File
from secure_fair.files import atomic_write, private_folder, write_bytes

FORMAT = "1"  # a change of what is decoded, or how, must change it: it is part of the cache's key
FORMATS = ("JPEG", "PNG", "WEBP")  # no other decoder meets what comes from outside
_MODES = {"RGB", "RGBA", "RGBX", "L", "LA", "P", "PA", "1", "CMYK", "YCbCr", "HSV"}
CACHE_BYTES = 20_000_000_000  # at most so much is kept decoded
_KEPT = re.compile(r"[0-9a-f]{32}(-[0-9a-f]{16})?\.(npy|json)")
_CHUNK = 256


@dataclass(frozen=True)
class Decoded:
    """``pictures`` uint8 (N, S, S, 3), memory-mapped; ``digests``, SHA-256 of each file in hex; ``failures`` by row.

    A row that failed is black and has an empty digest; its failure is a kind and a text.
    """

    key: str
    pictures: np.ndarray
    digests: list[str]
    failures: dict[int, tuple[str, str]]


def decode(data: bytes, image_size: int) -> np.ndarray:
    """One picture, uint8 (S, S, 3): upright as EXIF says, short side resized to S (bilinear), centre cropped.

    Raises OSError for data that is no picture, is truncated, or has more than 8 bits per channel.
    """
    try:
        with Image.open(io.BytesIO(data), formats=FORMATS) as image:
            image.draft("RGB", (2 * image_size, 2 * image_size))  # large JPEGs need not be decoded in full
            if image.mode not in _MODES:
                raise OSError(f"mode {image.mode} is not 8 bits per channel")
            upright = ImageOps.exif_transpose(image).convert("RGB")
    except (Image.DecompressionBombError, SyntaxError, ValueError, EOFError) as error:
        # what Pillow's readers raise for damaged headers beside OSError
        raise OSError(str(error)) from error
    return np.asarray(ImageOps.fit(upright, (image_size, image_size), Image.Resampling.BILINEAR))


def decode_all(
    files: Sequence[tuple[str, File]], image_size: int, cache: Path, progress: Callable[[int, int], None] | None = None
) -> Decoded:
    """Decode named files, or take them from ``cache`` where the same list was decoded before.

    The key covers names, sizes and modification times of all files in order, and the image size. A file that cannot be
    read or decoded is a failure of its row, never an exception.
    """
    stats = [_stat(file) for _, file in files]
    listing = [[name, *stat] for (name, _), stat in zip(files, stats, strict=True)]
    key = hashlib.sha256(json.dumps([FORMAT, image_size, listing]).encode()).hexdigest()[:32]
    cached = _open(cache, key, len(files), image_size)
    if cached is not None:
        return cached
    digests: list[str] = []
    failures: dict[int, tuple[str, str]] = {}

    def write(array: np.ndarray) -> None:
        with ThreadPoolExecutor(os.cpu_count()) as pool:
            for start in range(0, len(files), _CHUNK):
                chunk = [file for _, file in files[start : start + _CHUNK]]
                for row, result in enumerate(pool.map(lambda file: read_picture(file, image_size), chunk), start):
                    if isinstance(result[1], str):
                        failures[row] = (result[0], result[1])
                        digests.append("")
                    else:
                        digests.append(result[0])
                        array[row] = result[1]
                if progress is not None:
                    progress(start + len(chunk), len(files))

    pictures = _write_array(cache, key, (len(files), image_size, image_size, 3), write)
    record = {"digests": digests, "failures": {str(row): failure for row, failure in failures.items()}}
    write_bytes(cache / f"{key}.json", json.dumps(record).encode())  # last: its presence says that all is there
    return Decoded(key, pictures, digests, failures)


def select(decoded: Decoded, rows: np.ndarray, cache: Path) -> np.ndarray:
    """The pictures of ``rows`` (ascending), memory-mapped: the whole array where all are wanted, else a cached copy."""
    if len(rows) == len(decoded.pictures):
        return decoded.pictures
    key = f"{decoded.key}-{hashlib.sha256(np.asarray(rows, dtype=np.int64).tobytes()).hexdigest()[:16]}"
    shape = (len(rows), *decoded.pictures.shape[1:])
    found = _map_array(cache / f"{key}.npy", shape)
    if found is not None:
        return found

    def write(array: np.ndarray) -> None:
        for start in range(0, len(rows), _CHUNK):
            array[start : start + _CHUNK] = decoded.pictures[rows[start : start + _CHUNK]]

    return _write_array(cache, key, shape, write)


def colours(pictures: np.ndarray, rows: np.ndarray) -> tuple[list[float], list[float]]:
    """Mean and standard deviation of red, green and blue in [0, 1] over these rows of uint8 (N, S, S, 3)."""
    counts = np.zeros((3, 256), dtype=np.int64)
    for start in range(0, len(rows), _CHUNK):
        values = pictures[rows[start : start + _CHUNK]].reshape(-1, 3)
        for channel in range(3):
            counts[channel] += np.bincount(values[:, channel], minlength=256)
    levels, shares = np.arange(256) / 255, counts / counts.sum(axis=1, keepdims=True)
    mean = shares @ levels
    return mean.tolist(), np.sqrt(np.maximum(shares @ levels**2 - mean**2, 0)).tolist()


def _stat(file: File) -> tuple[int, int]:
    try:
        stat = file.stat()
    except OSError:
        return -1, -1  # reading it will fail as well, and say why
    return stat.st_size, stat.st_mtime_ns


def read_picture(file: File, image_size: int) -> tuple[str, np.ndarray | str]:
    """Digest and picture of a file as ``decode`` makes it, or kind and text of the failure."""
    try:
        data = file.read_bytes()
    except FileNotFoundError:
        return "missing picture", f"there is no file {file.name}"
    except OSError as error:
        return "unreadable file", f"cannot read {file.name}: {error.strerror}"
    try:
        return hashlib.sha256(data).hexdigest(), decode(data, image_size)
    except Image.UnidentifiedImageError:
        return "broken picture", f"{file.name} ({len(data)} bytes) is not a picture in a known format (JPEG, PNG, WebP)"
    except OSError as error:
        kind = "truncated picture" if "truncated" in str(error) else "broken picture"
        return kind, f"{file.name} ({len(data)} bytes): {error}"


def _open(cache: Path, key: str, n: int, image_size: int) -> Decoded | None:
    record_file = cache / f"{key}.json"
    pictures = _map_array(cache / f"{key}.npy", (n, image_size, image_size, 3))
    if pictures is None or not record_file.is_file():
        return None
    record = json.loads(record_file.read_bytes())
    failures = {int(row): (kind, text) for row, (kind, text) in record["failures"].items()}
    return Decoded(key, pictures, record["digests"], failures)


def _map_array(file: Path, shape: tuple[int, ...]) -> np.ndarray | None:
    """The array of a cache file, or None where it is not there or not whole: it is then made again."""
    try:
        array = np.load(file, mmap_mode="r", allow_pickle=False)
    except (FileNotFoundError, ValueError):
        return None
    if array.shape != shape or array.dtype != np.uint8:
        return None
    with contextlib.suppress(OSError):  # another process may have made room, and another's cache is only read
        os.utime(file)  # used now: what is used longest ago goes first
    return array


def kept_in(cache: Path) -> list[Path]:
    """The files in a folder that decoding has put there, by their names: the folder may be the user's for more."""
    if not cache.is_dir():
        return []
    return [file for file in cache.iterdir() if _KEPT.fullmatch(file.name) and file.is_file()]


def _make_room(cache: Path, needed: int) -> None:
    """Delete what was used longest ago until so many bytes more stay within ``CACHE_BYTES``; who has a file open keeps
    its content."""
    files = sorted(
        (file.stat().st_mtime, file.stat().st_size, file) for file in kept_in(cache) if file.suffix == ".npy"
    )
    held = sum(size for _, size, _ in files)
    for _, size, file in files:
        if held + needed <= CACHE_BYTES:
            return
        for one in (file.with_suffix(".json"), file):
            one.unlink(missing_ok=True)
        held -= size


def _write_array(cache: Path, key: str, shape: tuple[int, ...], write: Callable[[np.ndarray], None]) -> np.ndarray:
    """Let ``write`` fill an array of zeros in a temporary file, give the file its name, map it read-only."""
    if not cache.exists():  # a folder of the user's keeps its mode; files are private in any case
        private_folder(cache)
    _make_room(cache, math.prod(shape))
    final = cache / f"{key}.npy"
    with atomic_write(final) as temporary:
        if 0 in shape:  # an empty file cannot be mapped
            np.save(temporary.open("wb"), np.zeros(shape, np.uint8))
        else:
            array = np.lib.format.open_memmap(temporary, mode="w+", dtype=np.uint8, shape=shape)
            write(array)
            array.flush()
            del array
    return np.load(final, mmap_mode=None if 0 in shape else "r", allow_pickle=False)
