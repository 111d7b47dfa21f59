"""What the tests of data sets write and call."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
from PIL import Image

from secure_fair.data.table import Dataset

Load = Callable[..., Dataset]


def write_picture(file: Path, seed: int, size: tuple[int, int] = (20, 24)) -> Path:
    """A picture unlike that of any other seed."""
    file.parent.mkdir(parents=True, exist_ok=True)
    pixels = np.random.default_rng(seed).integers(0, 256, (size[1], size[0], 3), dtype=np.uint8)
    Image.fromarray(pixels).save(file)
    return file
