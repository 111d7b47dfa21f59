"""CrypTen's own test bodies, as its wheel installs them, played at each party of a session of this engine.

The wheel puts them beside itself as the package ``test``, a name that Python's own tests have too: the package is made
from its folder. Its harness, which spawns processes over gloo, is replaced; nothing else of it is.
"""

from __future__ import annotations

import copy
import importlib
import importlib.util
import sys
import unittest
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

import torch

from secure_fair.errors import NotOffered
from secure_fair.mpc.session import Session

import crypten  # isort: skip

MODULES = (
    "arithmetic",
    "autograd",
    "binary",
    "communicator",
    "crypten",
    "debug",
    "distributions",
    "gradients",
    "mpc",
    "nn",
    "optim",
    "privacy_models",
    "tensorboard",
)
OTHER_STARTS = ("TestTTP", "Test3PC", "TestRSS", "TestPTT")
"""Classes that run the bodies of another one again, under a provider or a protocol that the engine replaces."""


@dataclass(frozen=True, order=True)
class Body:
    """One test method."""

    module: str
    case: str
    name: str

    def __str__(self) -> str:
        return f"{self.module}.{self.name}"


@dataclass(frozen=True)
class Played:
    """How a body ended at one party: "passed", "skipped" (by CrypTen) or "refused"; any other error is raised."""

    outcome: str
    text: str = ""


@lru_cache(maxsize=1)
def _load() -> None:
    """Make the package ``test`` from the folder beside CrypTen, with a harness that starts nothing."""
    folder = Path(crypten.__file__).parent.parent / "test"
    spec = importlib.util.spec_from_file_location(
        "test", folder / "__init__.py", submodule_search_locations=[str(folder)]
    )
    assert spec is not None
    assert spec.loader is not None
    package = importlib.util.module_from_spec(spec)
    for name in [name for name in sys.modules if name == "test" or name.startswith("test.")]:
        del sys.modules[name]
    sys.modules["test"] = package
    spec.loader.exec_module(package)
    harness: Any = importlib.import_module("test.multiprocess_test_case").MultiProcessTestCase
    harness.setUpClass = classmethod(lambda cls: None)
    harness.setUp = _set_up
    harness.tearDown = lambda self: None


def _set_up(case: Any, world_size: int = 0) -> None:
    case.default_tolerance = 0.5


def bodies(module: str) -> list[Body]:
    """All of a module, each once."""
    _load()
    found: dict[str, Body] = {}
    held = vars(importlib.import_module(f"test.test_{module}"))
    for name, case in held.items():
        if isinstance(case, type) and issubclass(case, unittest.TestCase) and case.__module__ == f"test.test_{module}":
            if name in OTHER_STARTS:
                continue
            for method in unittest.defaultTestLoader.getTestCaseNames(case):
                found[method] = Body(module, name, method)
    return sorted(found.values())


def play(session: Session, module: str, case: str, name: str) -> Played:
    """The body at this party."""
    _load()
    made = getattr(importlib.import_module(f"test.test_{module}"), case)(name)
    made.rank, made.world_size, made.device = session.rank, len(session.parties), torch.device("cpu")
    torch.manual_seed(0)
    try:
        with _started():
            made.setUp()
            try:
                getattr(made, name)()
            finally:
                made.tearDown()
    except unittest.SkipTest as skip:
        return Played("skipped", str(skip))
    except NotOffered as error:
        return Played("refused", str(error))
    return Played("passed")


@contextmanager
def _started() -> Iterator[None]:
    """CrypTen's start-up does nothing, for the session has made it, and what a body sets is set back."""
    kept = copy.deepcopy(crypten.cfg.config)
    init, uninit = crypten.init, crypten.uninit
    crypten.init = crypten.uninit = lambda *args, **kwargs: None
    try:
        yield
    finally:
        crypten.init, crypten.uninit = init, uninit
        crypten.cfg.set_config(kept)
        crypten.CrypTensor.set_grad_enabled(True)
