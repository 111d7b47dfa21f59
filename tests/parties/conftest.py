"""Stores that the tests of the parties share."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.parties.company import tiny, write_stores


@pytest.fixture(scope="session")
def weights(random_weights: Path) -> Path:
    """The backbone's weights."""
    return random_weights


@pytest.fixture(scope="session")
def stores(tmp_path_factory: pytest.TempPathFactory, weights: Path) -> Path:
    """The stores of ``tiny``'s parties."""
    folder = tmp_path_factory.mktemp("stores")
    write_stores(tiny(weights), folder)
    return folder
