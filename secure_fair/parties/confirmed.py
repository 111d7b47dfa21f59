"""An auditor's memory of what the developer was told about its people, as it has confirmed it: what it can sign for."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from secure_fair.errors import Refusal
from secure_fair.files import private_folder, write_bytes
from secure_fair.groups import all_groups
from secure_fair.mpc.confirmation import Told


@dataclass(frozen=True)
class Counts:
    """Counts of all groups as the developer has them, float64 (k, groups), with their noise's sigma."""

    attribute: str
    values: Tensor
    sigma: float
    total: int


def sigma_text(counts: Counts) -> str:
    """The noise of counts as statements have it."""
    return f"{counts.sigma:.6g}"


@dataclass(frozen=True)
class Confirmed:
    """A folder with a file for each question; ``about``: the name of all that the run's counts are about
    (``secure_fair.parties.holdings.confirmed_about``). Without a folder nothing is kept.

    It outlives the run, as the developer's memory of the answers does: one that is not asked again is signed for again.
    """

    folder: Path | None = None
    about: str = ""

    def keep(self, query: str, attribute: str, records: np.ndarray, told: Told, sigma: float, scale: int) -> None:
        """Write down one answer, about all records of the table."""
        if self.folder is None:
            raise Refusal("counts were to be confirmed, and nothing keeps them: the run is not certified")
        private_folder(self.folder)
        tree = {
            "attribute": attribute,
            "about": self.about,
            "records": len(records),
            "values": told.values.tolist(),
            "sizes": told.sizes.tolist(),
            "sigma": sigma,
            "scale": scale,
        }
        write_bytes(self._file(query), json.dumps(tree).encode())

    def recall(self, query: str) -> Counts:
        """Counts that were confirmed about this run's records; Refusal where there are none."""
        if self.folder is None or not self._file(query).is_file():
            raise Refusal(f"counts under the name {query[:12]!r} were never confirmed here")
        tree = json.loads(self._file(query).read_bytes())
        if tree.get("about") != self.about:
            raise Refusal(f"counts under the name {query[:12]!r} are of other records, noise or draw than this run's")
        values = torch.tensor(tree["values"], dtype=torch.float64) / tree["scale"]
        sizes = torch.tensor(tree["sizes"], dtype=torch.float64)
        return Counts(tree["attribute"], all_groups(values, sizes), tree["sigma"], tree["records"])

    def _file(self, query: str) -> Path:
        assert self.folder is not None  # asked before
        name = "".join(letter for letter in query if letter in "0123456789abcdef")
        return self.folder / f"{name or 'unnamed'}.json"
