"""The state that a training carries from one epoch to the next: a tree that can be written down and gone on from."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from secure_fair.learning.method import Method


@dataclass(frozen=True)
class Carried:
    """Weights that are trained, optimiser and its schedule, the generator of the batches' order, the method's own."""

    model: nn.Module
    optimiser: torch.optim.Optimizer
    schedule: torch.optim.lr_scheduler.LRScheduler
    order: torch.Generator
    method: Method

    def tree(self) -> dict[str, Any]:
        """All of it in dictionaries, lists, tensors and numbers. The tensors are those in use, not copies."""
        return {
            "weights": {name: weight.detach() for name, weight in self._trained().items()},
            "optimiser": self.optimiser.state_dict(),
            "schedule": self.schedule.state_dict(),
            "order": self.order.get_state(),
            "method": self.method.state(),
        }

    def restore(self, tree: Mapping[str, Any]) -> None:
        """Go on from a ``tree``; the method has been started as at first."""
        trained = self._trained()
        with torch.no_grad():
            for name, weight in tree["weights"].items():
                trained[name].copy_(weight)
        self.optimiser.load_state_dict(tree["optimiser"])
        self.schedule.load_state_dict(tree["schedule"])
        self.order.set_state(tree["order"])
        self.method.restore(tree["method"])

    def _trained(self) -> dict[str, Tensor]:
        return {name: weight for name, weight in self.model.named_parameters() if weight.requires_grad}
