"""Files from somebody else that run code, or are taken for what they are not: weights, tables, policies, pictures."""

from __future__ import annotations

import csv
import pickle
import struct
import tomllib
import zlib
from collections.abc import Callable
from pathlib import Path
from tempfile import TemporaryDirectory

import torch
from PIL import Image

from secure_fair.attacks.common.attack import Attack, Context, Outcome
from secure_fair.data.csv_rows import read_csv
from secure_fair.data.pictures import decode
from secure_fair.errors import UsageError
from secure_fair.learning.backbone import read_weights
from secure_fair.operations import RULES
from secure_fair.privacy.policy import Policy

Reader = Callable[[Path], object]


class Bomb:
    """An object whose unpickling makes a file."""

    def __init__(self, marker: Path) -> None:
        self.marker = marker

    def __reduce__(self) -> tuple[Callable[[Path], None], tuple[Path]]:
        return Path.touch, (self.marker,)


class HostileFiles(Attack):
    """A file is won where its code ran, where it is taken in, or where the reader ends in an error of its own."""

    claim = "hostile weights, tables, policies and pictures are refused in a sentence, and none of them runs code"
    view = "outsider"
    needs = "a file that a party reads"
    twin = "the readers that come with the libraries, as they are by default"

    def run(self, context: Context) -> Outcome:
        """Each file to the program's reader and to the usual one."""
        with TemporaryDirectory(prefix="secure-fair-review-") as folder:
            marker = Path(folder) / "ran"
            cases = _cases(Path(folder), marker)
            ours = sum(_won(ours, file, marker) for file, ours, _ in cases)
            twin = sum(_won(usual, file, marker) for file, _, usual in cases)
        return Outcome.counted(ours, twin, len(cases), most=0.0)


def _won(reader: Reader, file: Path, marker: Path) -> bool:
    marker.unlink(missing_ok=True)
    try:
        reader(file)
    except (UsageError, OSError):  # one sentence; a picture's reader says so with OSError
        return marker.exists()
    except Exception:
        return True
    return True


def _cases(folder: Path, marker: Path) -> list[tuple[Path, Reader, Reader]]:
    """Each hostile file, the program's reader, the usual reader."""
    bomb = pickle.dumps(Bomb(marker), protocol=2)
    torch.save({"weight": Bomb(marker)}, folder / "whole.pth")
    weights = {"bare.pth": bomb, "named.safetensors": bomb, "long.safetensors": struct.pack("<Q", 2**62) + b"{}"}
    tables = {
        "quote.csv": b'id,male\n1,"yes\n2,no\n',
        "nul.csv": b"id,male\n1,y\x00es\n",
        "latin.csv": b"id,male\n1,\xe9\n",
        "after.csv": b'id,male\n1,"yes"no\n',
        "empty.csv": b"",
    }
    policies = {"key.toml": b"epsilom = 1\n", "none.toml": b"", "half.toml": b"epsilon = \n", "bytes.toml": b"\xff\xfe"}
    policies |= {"type.toml": b'epsilon = "1"\n', "both.toml": b"epsilon = 1\nallow_exact = true\n"}
    pictures = {"bomb.png": _png(60_000, 60_000), "cut.png": _png(8, 8)[:40], "text.png": b"a picture"}
    groups: list[tuple[dict[str, bytes], Reader, Reader]] = [
        (weights, read_weights, _usual_weights),
        (tables, read_csv, lambda file: list(csv.reader(file.read_text(errors="replace").splitlines()))),
        (policies, lambda file: Policy.load(file, RULES), lambda file: tomllib.loads(file.read_text(errors="replace"))),
        (pictures, lambda file: decode(file.read_bytes(), 8), lambda file: _size_of(file)),
    ]
    cases: list[tuple[Path, Reader, Reader]] = [(folder / "whole.pth", read_weights, _usual_weights)]
    for files, ours, usual in groups:
        for name, content in files.items():
            (folder / name).write_bytes(content)
            cases.append((folder / name, ours, usual))
    return cases


def _usual_weights(file: Path) -> object:
    try:
        return torch.load(file, weights_only=False)
    except (RuntimeError, pickle.UnpicklingError):
        return pickle.loads(file.read_bytes())


def _size_of(file: Path) -> object:
    """The usual reader of pictures sees no harm in a header."""
    limit, Image.MAX_IMAGE_PIXELS = Image.MAX_IMAGE_PIXELS, None
    try:
        with Image.open(file) as image:
            return image.size
    finally:
        Image.MAX_IMAGE_PIXELS = limit


def _png(width: int, height: int) -> bytes:
    """A PNG of this size in its header, with next to no data."""

    def chunk(kind: bytes, content: bytes) -> bytes:
        return struct.pack("!I", len(content)) + kind + content + struct.pack("!I", zlib.crc32(kind + content))

    header = struct.pack("!IIBBBBB", width, height, 8, 2, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(b"\0")) + chunk(b"IEND", b"")


ATTACK = HostileFiles()
