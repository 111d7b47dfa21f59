"""A task adapter that keeps clear of what the auditor's sensitive adapter explains."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import torch
from torch import Tensor

from secure_fair.learning.gaps import outputs, running
from secure_fair.learning.method import Batch, Extent, Method, Training
from secure_fair.learning.overlaps import OVERLAPS, Pair
from secure_fair.learning.settings import MethodSettings
from secure_fair.operations import planned
from secure_fair.operations.orthogonality import orthogonality
from secure_fair.operations.sensitive_adapter import sensitive_adapter
from secure_fair.privacy.plan import PlannedRelease


class Orth(Method):
    """Orthogonality to the sensitive adapter (arXiv 2503.05684), in several forms.

    ``release="adapter"``: the auditor's adapter is opened to the developer. Where ``sensitive_scale`` is not 0 it is
    active, so scaled, while the task adapter is trained: it explains away what the attribute explains, and is dropped
    at inference; the head's bias is then set so that each class is predicted as often as with it, which needs no
    attribute. The penalty is the developer's own computation. ``orthogonality="predictions"``: how the sensitive
    adapter changes the features of a record says, along few directions, what it sees in it; the predictions' squared
    covariance with these scores is penalised. "weights", "rows", "columns", "subspace": the overlap of both adapters,
    summed over modules (``secure_fair.learning.overlaps``).
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
        """A gradient is that of one form alone."""
        if settings.orthogonality != "weights" and settings.release == "gradient":
            yield (
                f'method.orthogonality: "{settings.orthogonality}" needs the sensitive adapter itself, and release '
                '"gradient" opens none; use release "adapter", or orthogonality "weights"'
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
        self.sensitive = list(together.values())
        if self.settings.sensitive_scale:
            lora.add_sensitive(model, together, self.settings.sensitive_scale * lora.scaling(model))

    def penalty(self, batch: Batch, progress: float) -> Tensor:
        """The scenario's strength times the penalty, or times a term that has its released gradient."""
        strength = self.settings.strength * self.ramped(progress)
        if self.settings.orthogonality == "predictions":
            return strength * self._covariance(batch)
        task = self.lora.matrices(self.model)
        return strength * (self._overlap(task) if self.settings.release == "adapter" else self._descent(task))

    def _overlap(self, task: Sequence[Pair]) -> Tensor:
        """The chosen form, summed over modules."""
        form = OVERLAPS[str(self.settings.orthogonality)]
        total = task[0][0].new_zeros(())
        for mine, (rows, columns) in zip(task, self.sensitive, strict=True):
            total = total + form(mine, (rows.to(mine[0]), columns.to(mine[1])))
        return total

    def _descent(self, task: Sequence[Pair]) -> Tensor:
        """A term that has the released gradients of sum ||A_t A_s^T||^2."""
        total = task[0][0].new_zeros(())
        for attribute in self.auditors.attributes:
            gradients = orthogonality(self.auditors, attribute, [rows.detach() for rows, _ in task])
            for (rows, _), gradient in zip(task, gradients, strict=True):
                total = total + (rows * gradient.to(rows)).sum()
        return total

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

    def state(self) -> dict[str, Any]:
        """Running means: the adapters are asked for again."""
        return {"covariances": self.covariances}

    def restore(self, state: Mapping[str, Any]) -> None:
        """Go on from them."""
        self.covariances = dict(state["covariances"])

    def finish(self) -> None:
        """Drop the sensitive adapters: the model is used without them, and predicts each class as often as before."""
        explained_away = self.settings.release == "adapter" and self.settings.sensitive_scale > 0
        rates = self.training.evaluate()[1].mean(0) if explained_away else None
        self.lora.set_active(self.model, [self.lora.TASK])
        if rates is not None:
            shift = bias_for(self.training.evaluate()[1], rates)
            self.training.head.bias.data += shift.to(self.training.head.bias)


def bias_for(probabilities: Tensor, rates: Tensor) -> Tensor:
    """A shift (C,) of mean 0 of the logits (n, C), with which the mean prediction is ``rates`` (C,).

    It minimises mean logsumexp(logits + b) - rates . b, whose gradient is the difference of both.
    """
    logits = probabilities.double().clamp_min(1e-12).log()
    shift = torch.zeros(logits.shape[1], dtype=torch.float64, requires_grad=True)
    search = torch.optim.LBFGS([shift], max_iter=100, line_search_fn="strong_wolfe")

    def loss() -> Tensor:
        search.zero_grad()
        total = (logits + shift).logsumexp(1).mean() - rates.double() @ shift
        total.backward()
        return total

    search.step(loss)
    return (shift - shift.mean()).detach()


def scores(before: Tensor, after: Tensor, count: int) -> Tensor:
    """Scores (n, count) of variance 1, along the principal directions in which the features (n, d) changed."""
    change = after.double() - before.double()
    centred = change - change.mean(0)
    _, _, directions = torch.linalg.svd(centred.T @ centred)
    along = centred @ directions[:count].T
    return along / along.std(0).clamp_min(1e-9)


METHOD = Orth
