"""Logistic regression by scikit-learn: of the features as they are, and after LEACE has erased the attribute."""

from __future__ import annotations

import torch

from secure_fair.bench.peers.parts import Parts
from secure_fair.bench.peers.peer import Peer, Rule


class LogisticPeer(Peer):
    """Nothing is done for fairness."""

    name = "erm"
    module, package = "sklearn", "scikit-learn"

    def fit(self, parts: Parts, setting: float, seed: int) -> Rule:
        """Logistic regression."""
        model = parts.logistic().fit(parts.fit.features, parts.fit.labels)
        return lambda part: model.predict(part.features)


class Leace(Peer):
    """Least-squares concept erasure (arXiv 2306.03819): afterwards no linear model can tell the attribute at all."""

    name = "LEACE"
    module, package = "concept_erasure", "concept-erasure"

    def fit(self, parts: Parts, setting: float, seed: int) -> Rule:
        """Logistic regression of the erased features; whoever is judged is erased by the features alone."""
        from concept_erasure import LeaceEraser

        eraser = LeaceEraser.fit(
            torch.from_numpy(parts.fit.features), torch.from_numpy(parts.one_hot(parts.fit.groups))
        )
        model = parts.logistic().fit(eraser(torch.from_numpy(parts.fit.features)).numpy(), parts.fit.labels)
        return lambda part: model.predict(eraser(torch.from_numpy(part.features)).numpy())
