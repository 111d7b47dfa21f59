"""A task adapter that keeps clear of what the auditor's sensitive adapter explains."""

from __future__ import annotations

from collections.abc import Iterator

import torch
from torch import Tensor

from secure_fair.learning.gaps import outputs, running
from secure_fair.learning.method import Batch, Extent, Method, Training
from secure_fair.learning.settings import MethodSettings
from secure_fair.operations import planned
from secure_fair.operations.orthogonality import orthogonality
from secure_fair.operations.sensitive_adapter import sensitive_adapter
from secure_fair.privacy.plan import PlannedRelease


class Orth(Method):
    """Orthogonality to the sensitive adapter (arXiv 2503.05684), in several forms.

    ``release="adapter"``: the auditor's adapter is opened to the developer. Where ``sensitive_scale`` is not 0 it is
    active, so scaled, while the task adapter is trained: it explains away what the attribute explains, and is dropped
    at inference. The penalty is the developer's own computation. ``orthogonality="weights"``: sum ||A_t A_s^T||^2.
    "predictions": how the sensitive adapter changes the features of a record says, along few directions, what it sees
    in it; the predictions' squared covariance with these scores is penalised.
    ``release="gradient"``: only the gradient of sum ||A_t A_s^T||^2 by A_t is opened, at every step.
    """

    releases = ("adapter", "gradient")
    adapter_releases = ("adapter", "gradient")
    own_records = True
    moves_features = True
    keys = (*Method.keys, "sensitive_scale", "orthogonality")

    @classmethod
    def resolved(cls, settings: MethodSettings, *, noised: bool = False, own_records: bool = False) -> MethodSettings:
        """Orthogonality of predictions where the adapter itself is opened, else of weights."""
        settings = super().resolved(settings, noised=noised, own_records=own_records)
        form = settings.orthogonality or ("weights" if settings.release == "gradient" else "predictions")
        return settings.model_copy(update={"orthogonality": form})

    @classmethod
    def conflicts(cls, settings: MethodSettings, own_records: bool) -> Iterator[str]:
        """A gradient alone says nothing about predictions."""
        if settings.orthogonality == "predictions" and settings.release == "gradient":
            yield (
                'method.orthogonality: "predictions" needs the sensitive adapter itself, and release "gradient" opens '
                'none; use release "adapter", or orthogonality "weights"'
            )

    @classmethod
    def planned(cls, settings: MethodSettings, extent: Extent) -> list[PlannedRelease]:
        """The adapter once, or a gradient a step."""
        if settings.release == "gradient":
            return [planned("orthogonality", extent.groups, extent.steps, 1)]
        return [planned("sensitive_adapter", extent.groups, 1, 1)]

    def start(self, training: Training) -> None:
        """Fetch the sensitive adapters where they are opened."""
        from secure_fair.learning import lora  # peft takes seconds to import

        self.training = training
        self.lora = lora
        self.model = model = lora.adapted(training.model)
        self.auditors = training.auditors
        self.scores: list[Tensor] = []  # (n, G - 1) of each attribute
        self.covariances: dict[int, Tensor] = {}  # (G - 1, C'), running means
        if self.settings.release != "adapter":
            return
        opened = {attribute: sensitive_adapter(self.auditors, attribute) for attribute in self.auditors.attributes}
        if self.settings.orthogonality == "predictions":
            before, _ = training.evaluate()
            for place, (attribute, adapter) in enumerate(opened.items()):
                lora.add_sensitive(model, adapter, lora.scaling(model), f"sensitive{place}")
                after, _ = training.evaluate()
                lora.set_active(model, [lora.TASK])
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
            lora.add_sensitive(model, together, self.settings.sensitive_scale * lora.scaling(model))

    def penalty(self, batch: Batch, progress: float) -> Tensor:
        """The scenario's strength times the penalty, or times a term that has its released gradient."""
        strength = self.settings.strength * self.ramped(progress)
        if self.settings.orthogonality == "predictions":
            return strength * self._covariance(batch)
        task = list(self.lora.row_matrices(self.model).values())
        total = task[0].new_zeros(())
        if self.settings.release == "adapter":
            for mine, theirs in zip(task, self.sensitive, strict=True):
                total = total + (mine @ theirs.to(mine).T).square().sum()
        else:
            for attribute in self.auditors.attributes:
                gradients = orthogonality(self.auditors, attribute, [matrix.detach() for matrix in task])
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
            self.covariances[place] = running(earlier, covariance)
        return total

    def finish(self) -> None:
        """Drop the sensitive adapters: the model is used without them."""
        self.lora.set_active(self.model, [self.lora.TASK])


def scores(before: Tensor, after: Tensor, count: int) -> Tensor:
    """Scores (n, count) of variance 1, along the principal directions in which the features (n, d) changed."""
    change = after.double() - before.double()
    centred = change - change.mean(0)
    _, _, directions = torch.linalg.svd(centred.T @ centred)
    along = centred @ directions[:count].T
    return along / along.std(0).clamp_min(1e-9)


METHOD = Orth
