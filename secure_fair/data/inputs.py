"""Inputs in a store: pictures, or a table's rows, in one array each, in an order that tells nothing of the data set."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from secure_fair.errors import UsageError
from secure_fair.files import open_private

PICTURES, ROWS = "pictures.npy", "rows.npy"
SIZES = {PICTURES: "image_size", ROWS: "features"}  # the key of a store's meta that says how large one of them is
_CHUNK = 256


def file_name(inputs: np.ndarray) -> str:
    """The file that inputs are kept in: pictures are uint8 (N, S, S, 3), rows float32 (N, d)."""
    return PICTURES if inputs.dtype == np.uint8 else ROWS


def size_of(inputs: np.ndarray) -> dict[str, int]:
    """The size of one of them, as a store's meta has it: pixels of a picture's side, or features of a row."""
    return {SIZES[file_name(inputs)]: int(inputs.shape[1])}


def order_of(inputs: np.ndarray, rows: np.ndarray, ids: Sequence[str], seed: int) -> np.ndarray:
    """Positions in ``rows``, sorted by SHA-256(seed || input); equal inputs by their ids."""
    prefix = str(seed).encode() + b":"
    keys = [(hashlib.sha256(prefix + inputs[row].tobytes()).digest(), ids[i]) for i, row in enumerate(rows)]
    return np.array(sorted(range(len(rows)), key=keys.__getitem__), dtype=np.int64)


def write_inputs(file: Path, inputs: np.ndarray, rows: np.ndarray) -> None:
    """Write those of ``rows``, in that order."""
    with open_private(file, "wb") as out:
        header = {"descr": inputs.dtype.str, "fortran_order": False, "shape": (len(rows), *inputs.shape[1:])}
        np.lib.format.write_array_header_1_0(out, header)
        for start in range(0, len(rows), _CHUNK):
            out.write(np.ascontiguousarray(inputs[rows[start : start + _CHUNK]]).tobytes())


def read_inputs(file: Path, n: int, meta: Mapping[str, Any]) -> np.ndarray:
    """The ``n`` inputs of a file, memory-mapped, of the size that the store's meta gives; UsageError for others."""
    try:
        inputs = np.load(file, mmap_mode="r" if n else None, allow_pickle=False)
    except (ValueError, EOFError) as error:
        raise UsageError(f"{file}: not a whole array of inputs: {error}") from error
    side = meta.get(SIZES[PICTURES])
    dtype, shape = (np.uint8, (n, side, side, 3)) if side else (np.float32, (n, meta[SIZES[ROWS]]))
    if inputs.dtype != dtype or inputs.shape != shape:
        wanted = f"{np.dtype(dtype)} {shape}"
        raise UsageError(f"{file}: {inputs.dtype} {inputs.shape} instead of {wanted}: write the store again")
    return np.asarray(inputs) if n == 0 else inputs
