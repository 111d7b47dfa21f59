"""The method of OxonFair (arXiv 2407.13710): thresholds by group, known or inferred, fitted to validation records."""

from __future__ import annotations

from typing import Any

import numpy as np

from secure_fair.bench.peers.parts import Parts, Sample
from secure_fair.bench.peers.peer import Peer, Rule


class KnownGroups(Peer):
    """Thresholds by the group of those who are judged."""

    name = "OxonFair"
    module = package = "oxonfair"
    knob = "demographic_parity"
    path = (0.005, 0.02, 0.05, 0.1, 0.15)
    attribute_given = True

    def fit(self, parts: Parts, setting: float, seed: int) -> Rule:
        """The most accurate thresholds whose gap is within the bound on the validation records."""
        from oxonfair import FairPredictor
        from oxonfair import group_metrics as gm

        model = FairPredictor(
            parts.logistic().fit(parts.fit.features, parts.fit.labels),
            _held(parts.validation),
            inferred_groups=self.inferred(parts),
        )
        model.fit(gm.accuracy, gm.demographic_parity, setting)
        return lambda part: np.asarray(model.predict(_held(part))).ravel().astype(np.int64)

    def inferred(self, parts: Parts) -> Any:
        """The classifier of groups; False where they are known."""
        return False


class Inferred(KnownGroups):
    """Thresholds by the group that a second logistic regression infers from the features."""

    name = "OxonFair, inferred groups"
    attribute_given = False

    def inferred(self, parts: Parts) -> Any:
        """Logistic regression of the attribute."""
        return parts.logistic().fit(parts.fit.features, parts.fit.groups)


def _held(part: Sample) -> dict[str, np.ndarray]:
    from oxonfair import DataDict

    held: dict[str, np.ndarray] = DataDict(part.labels, part.features, part.groups)
    return held
