"""A task adapter that keeps clear of what the auditor's sensitive adapter explains."""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor

from secure_fair.learning.lora import TASK, add_sensitive, row_matrices, scaling, set_active
from secure_fair.learning.methods.base import Batch, Training, ramp
from secure_fair.learning.settings import MethodSettings


class Orth:
    """Orthogonality to the sensitive adapter (arXiv 2503.05684), in two forms.

    ``release="adapter"``: the auditor's adapter is opened to the developer. It is active, scaled by sensitive_scale,
    while the task adapter is trained, so that it explains away what the attribute explains, and is dropped at
    inference; the penalty sum ||A_t A_s^T||^2 is the developer's own computation.
    ``release="gradient"``: only the penalty's gradient by A_t is opened, at every step.
    """

    def __init__(self, settings: MethodSettings) -> None:
        self.settings = settings

    def start(self, training: Training) -> None:
        """Fetch the sensitive adapters where they are opened."""
        self.training = training
        self.auditors = training.auditors
        if self.settings.release == "adapter":
            opened = [self.auditors.sensitive_adapter(attribute) for attribute in self.auditors.attributes]
            together = {
                name: (torch.cat([a[name][0] for a in opened]), torch.cat([a[name][1] for a in opened], dim=1))
                for name in opened[0]
            }  # the sum of the adapters, as one of their ranks' sum
            self.sensitive = [rows for rows, _ in together.values()]
            scale = self.settings.sensitive_scale * scaling(training.model)
            add_sensitive(training.model, together, scale)

    def start_epoch(self, epoch: int) -> None:
        """Nothing to prepare."""

    def penalty(self, batch: Batch, progress: float) -> Tensor:
        """strength * sum_m ||A_t A_s^T||_F^2, or a term that has its released gradient."""
        task = list(row_matrices(self.training.model).values())
        total = task[0].new_zeros(())
        if self.settings.release == "adapter":
            for mine, theirs in zip(task, self.sensitive, strict=True):
                total = total + (mine @ theirs.to(mine).T).square().sum()
        else:
            for attribute in self.auditors.attributes:
                gradients = self.auditors.orthogonality(attribute, [matrix.detach() for matrix in task])
                for mine, gradient in zip(task, gradients, strict=True):
                    total = total + (mine * gradient.to(mine)).sum()
        return self.settings.strength * ramp(progress, self.settings.ramp_epochs) * total

    def gaps(self) -> Mapping[str, float]:
        """Nothing was released that tells a gap."""
        return {}

    def finish(self) -> None:
        """Drop the sensitive adapters: the model is used without them."""
        set_active(self.training.model, [TASK])
