"""A task adapter that keeps clear of what the auditor's sensitive adapter explains."""

from __future__ import annotations

import torch
from torch import Tensor

from secure_fair.learning.lora import TASK, add_sensitive, row_matrices, scaling, set_active
from secure_fair.learning.methods.base import Batch, Method, Training, ramp
from secure_fair.learning.methods.parity import MOMENTUM, outputs
from secure_fair.learning.settings import MethodSettings


class Orth(Method):
    """Orthogonality to the sensitive adapter (arXiv 2503.05684), in several forms.

    ``release="adapter"``: the auditor's adapter is opened to the developer. Where ``sensitive_scale`` is not 0 it is
    active, so scaled, while the task adapter is trained: it explains away what the attribute explains, and is dropped
    at inference. The penalty is the developer's own computation. ``orthogonality="weights"``: sum ||A_t A_s^T||^2.
    "predictions": how the sensitive adapter changes the features of a record says, along few directions, what it sees
    in it; the predictions' squared covariance with these scores is penalised.
    ``release="gradient"``: only the gradient of sum ||A_t A_s^T||^2 by A_t is opened, at every step.
    """

    def __init__(self, settings: MethodSettings) -> None:
        self.settings = settings

    def start(self, training: Training) -> None:
        """Fetch the sensitive adapters where they are opened."""
        self.training = training
        self.auditors = training.auditors
        self.scores: list[Tensor] = []  # (n, G - 1) of each attribute
        self.covariances: dict[int, Tensor] = {}  # (G - 1, C'), running means
        if self.settings.release != "adapter":
            return
        opened = {attribute: self.auditors.sensitive_adapter(attribute) for attribute in self.auditors.attributes}
        if self.settings.orthogonality == "predictions":
            before, _ = training.evaluate()
            for place, (attribute, adapter) in enumerate(opened.items()):
                add_sensitive(training.model, adapter, scaling(training.model), f"sensitive{place}")
                after, _ = training.evaluate()
                set_active(training.model, [TASK])
                self.scores.append(scores(before, after, len(self.auditors.groups(attribute)) - 1))
        first = next(iter(opened.values()))
        together = {
            name: (
                torch.cat([adapter[name][0] for adapter in opened.values()]),
                torch.cat([adapter[name][1] for adapter in opened.values()], dim=1),
            )
            for name in first
        }  # the sum of the adapters, as one of their ranks' sum
        self.sensitive = [rows for rows, _ in together.values()]
        if self.settings.sensitive_scale:
            add_sensitive(training.model, together, self.settings.sensitive_scale * scaling(training.model))

    def penalty(self, batch: Batch, progress: float) -> Tensor:
        """The scenario's strength times the penalty, or times a term that has its released gradient."""
        strength = self.settings.strength * ramp(progress, self.settings.ramp_epochs)
        if self.settings.orthogonality == "predictions":
            return strength * self._covariance(batch)
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
        return strength * total

    def _covariance(self, batch: Batch) -> Tensor:
        """4 sum Cov(score, p)^2, one factor being a running mean: the squared gap of an attribute told by a score."""
        predicted = outputs(batch.logits.float().softmax(1))
        centred = predicted - predicted.mean(0)
        total = predicted.new_zeros(())
        for place, held in enumerate(self.scores):
            covariance = held[torch.from_numpy(batch.records)].to(centred).T @ centred / len(centred)
            earlier = self.covariances.get(place)
            if earlier is not None:
                total = total + 8 * (earlier * covariance).sum()
            new = covariance.detach()
            self.covariances[place] = new if earlier is None else MOMENTUM * earlier + (1 - MOMENTUM) * new
        return total

    def finish(self) -> None:
        """Drop the sensitive adapters: the model is used without them."""
        set_active(self.training.model, [TASK])


def scores(before: Tensor, after: Tensor, count: int) -> Tensor:
    """Scores (n, count) of variance 1, along the principal directions in which the features (n, d) changed."""
    change = after.double() - before.double()
    centred = change - change.mean(0)
    _, _, directions = torch.linalg.svd(centred.T @ centred)
    along = centred @ directions[:count].T
    return along / along.std(0).clamp_min(1e-9)
