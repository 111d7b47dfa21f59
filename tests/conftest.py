"""What tests of several areas share."""

from __future__ import annotations

import multiprocessing
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch
from hypothesis import HealthCheck, settings
from safetensors.torch import save_file

from secure_fair.learning.backbone import EMBEDDED_ARCHITECTURE

import torchvision  # isort: skip
from timm.models.vision_transformer import VisionTransformer  # isort: skip


PRELOADED = ["tests.preload", "secure_fair.bench.ours", "secure_fair.bench.stock"]

# the same examples in every run, however slow the machine: what fails here fails again. `pytest --hypothesis-profile
# default --hypothesis-seed N` draws others
settings.register_profile("suite", derandomize=True, deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("suite")


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """Say which kind of install the tests ran on; pytest -q prints no header."""
    kind = "its own operators" if torchvision.extension._has_ops() else "operators declared by the repair"
    python = ".".join(map(str, sys.version_info[:3]))
    line = f"Python {python}, torch {torch.__version__}, torchvision {torchvision.__version__} with {kind}"
    terminalreporter.write_line(line)


@pytest.fixture(scope="session")
def own_operators() -> bool:
    """Tell whether torchvision's own operators load beside this torch; elsewhere the repair declares two of them."""
    return torchvision.extension._has_ops()


@pytest.fixture(scope="session")
def random_weights(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Random weights of the small backbone, for what does not depend on what it has learned."""
    file = tmp_path_factory.mktemp("weights") / "random.safetensors"
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        vit = VisionTransformer(num_classes=0, **EMBEDDED_ARCHITECTURE)
    save_file({name: value.contiguous() for name, value in vit.state_dict().items()}, file)
    return file


@pytest.fixture(scope="session", autouse=True)
def preloaded() -> None:
    """Have the one server that all processes of a session are forked from import for all of them, once.

    It takes no other list after its start: with the list of whoever comes first, every party would import its own.
    """
    multiprocessing.get_context("forkserver").set_forkserver_preload(PRELOADED)


@pytest.fixture(scope="session", autouse=True)
def own_cache(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """Decoded pictures are kept for this session, not in the user's folder."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("SECURE_FAIR_CACHE", str(tmp_path_factory.mktemp("cache")))
        yield


@pytest.fixture(scope="session")
def world(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """Data sets, runs, identities, ledgers as they should be (``tests/refusals/world.py``), and so still at the end."""
    from tests.refusals.case import inside
    from tests.refusals.world import make_world

    folder = tmp_path_factory.mktemp("world")
    make_world(folder)
    before = inside(folder)
    yield folder
    assert inside(folder) == before
