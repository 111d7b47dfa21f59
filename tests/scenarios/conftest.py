"""A run on pictures as files, which the tests of what comes out of runs share."""

from __future__ import annotations

from pathlib import Path

import pytest
from PIL import Image

from secure_fair.scenarios.launch import run
from secure_fair.scenarios.progress import LineReporter
from tests.drawn import GENDERS, write_manifest
from tests.scenarios.album import RECORDS, scenario_of_pictures


@pytest.fixture(scope="session")
def album(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Pictures as files, no two of one shape: some are JPEGs on their side, as cameras leave them."""
    root = tmp_path_factory.mktemp("album")
    columns = {"hair": ("wavy_hair", ("straight", "wavy")), **GENDERS}
    write_manifest(root, RECORDS, columns, size=48)
    for number, file in enumerate(sorted((root / "pictures").iterdir())):
        image = Image.open(file)
        image = image.resize((48 + number % 7, 60 - number % 5))
        if number % 3:
            image.save(file)
        else:
            exif = image.getexif()
            exif[0x0112] = 6
            image.save(file, format="JPEG", exif=exif)
    return root


@pytest.fixture(scope="session")
def album_run(album: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of a run with the small backbone, beside erm."""
    out = tmp_path_factory.mktemp("album_run") / "run"
    out.mkdir()
    run(scenario_of_pictures(album, compare=["erm"], method={"strength": 20.0}), out, LineReporter())
    return out
