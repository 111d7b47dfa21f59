"""The losses of fairret (ICLR 2024): a linear model trained with a differentiable demographic-parity violation."""

from __future__ import annotations

from typing import ClassVar

import numpy as np
import torch
from torch import Tensor, nn

from secure_fair.bench.peers.parts import Parts, Sample
from secure_fair.bench.peers.peer import Peer, Rule

STEPS = 1000
BATCH = 1024  # records: a batch's gap is the noisier the fewer they are
LEARNING_RATE = 1e-2


class NormViolation(Peer):
    """The sum of each group's distance from the overall rate, as fairret's own example has it."""

    name = "fairret NormLoss"
    module = package = "fairret"
    knob = "strength"
    path: ClassVar[tuple[float, ...]] = (0.1, 0.2, 0.5, 1.0)
    loss = "NormLoss"

    def fit(self, parts: Parts, setting: float, seed: int) -> Rule:
        """Adam on cross entropy and ``setting`` times the violation, with logistic regression's own penalty."""
        import fairret.loss
        from fairret.statistic import PositiveRate

        violation = getattr(fairret.loss, self.loss)(PositiveRate())
        features = torch.from_numpy(parts.fit.features).float()
        labels = torch.from_numpy(parts.fit.labels).float()[:, None]
        groups = torch.from_numpy(parts.one_hot(parts.fit.groups)).float()
        order = torch.Generator().manual_seed(seed)
        model = _linear(features.shape[1])
        decay = 1 / (parts.inverse_penalty * len(features))
        search = torch.optim.Adam(model.parameters(), lr=LEARNING_RATE, weight_decay=decay)
        calming = torch.optim.lr_scheduler.CosineAnnealingLR(search, STEPS)
        for _ in range(STEPS):
            records = torch.randint(len(features), (min(BATCH, len(features)),), generator=order)
            logits = model(features[records])
            loss = nn.functional.binary_cross_entropy_with_logits(logits, labels[records])
            loss = loss + setting * violation(logits, groups[records])
            search.zero_grad()
            loss.backward()
            search.step()
            calming.step()
        return lambda part: _predicted(model, part)


class SmoothViolation(NormViolation):
    """The same with the smooth maximum of the groups' distances."""

    name = "fairret LSELoss"
    path: ClassVar[tuple[float, ...]] = (0.1, 0.2, 0.5, 1.0, 3.0)
    loss = "LSELoss"


def _linear(width: int) -> nn.Linear:
    """A linear model that says one half of everybody."""
    model = nn.Linear(width, 1)
    with torch.no_grad():
        model.weight.zero_()
        model.bias.zero_()
    return model


def _predicted(model: nn.Linear, part: Sample) -> np.ndarray:
    with torch.no_grad():
        logits: Tensor = model(torch.from_numpy(part.features).float())
    return (logits[:, 0] > 0).numpy().astype(np.int64)
