"""A peer: somebody else's way to a fair linear model, with the path of settings that it is tried at."""

from __future__ import annotations

import importlib.metadata
import importlib.util
from abc import ABC, abstractmethod
from collections.abc import Callable
from typing import ClassVar

import numpy as np

from secure_fair.bench.peers.parts import Parts, Sample

Rule = Callable[[Sample], np.ndarray]  # from records to predictions, 0 or 1, (n,)


class Peer(ABC):
    """One method of one library.

    ``name`` in tables; ``module`` and ``package`` that it comes from; ``knob``: the setting that trades accuracy for
    fairness, and ``path`` its values, (0,) where there is none. ``attribute_given``: whether the attribute of those who
    are judged is needed for their prediction.
    """

    name: ClassVar[str]
    module: ClassVar[str]
    package: ClassVar[str]
    knob: ClassVar[str] = ""
    path: ClassVar[tuple[float, ...]] = (0.0,)
    attribute_given: ClassVar[bool] = False

    @abstractmethod
    def fit(self, parts: Parts, setting: float, seed: int) -> Rule:
        """The rule that one setting gives, by the fit and validation records alone."""

    def setting(self, value: float) -> str:
        """A value of the knob in words."""
        return f"{self.knob} {value:g}" if self.knob else "-"

    @property
    def installed(self) -> bool:
        """Whether the library is there."""
        return importlib.util.find_spec(self.module) is not None

    @property
    def version(self) -> str:
        """Package and version that is installed."""
        return f"{self.package} {importlib.metadata.version(self.package)}"
