"""Colours of pictures, against numpy's own mean and deviation."""

from __future__ import annotations

import numpy as np
import pytest

from secure_fair.data.pictures import colours


def test_colours_are_those_of_the_rows_alone() -> None:
    pictures = np.random.default_rng(0).integers(0, 256, (600, 8, 8, 3), dtype=np.uint8)
    pictures[300:, :, :, 0] = 255
    rows = np.arange(0, 600, 2)
    mean, deviation = colours(pictures, rows)
    values = pictures[rows].reshape(-1, 3) / 255
    assert mean == pytest.approx(values.mean(axis=0))
    assert deviation == pytest.approx(values.std(axis=0))
    assert mean[0] > colours(pictures, np.arange(300))[0][0] + 0.1
