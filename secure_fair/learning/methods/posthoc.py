"""Demographic parity after training: one release, and the head corrected as far as it is wanted to be."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import replace
from itertools import takewhile
from typing import Any

import torch
from torch import Tensor

from secure_fair.learning.gaps import distances, outputs
from secure_fair.learning.memberships import SOURCES
from secure_fair.learning.method import Extent, Method, Training
from secure_fair.learning.settings import MethodSettings
from secure_fair.privacy.plan import PlannedRelease

STRENGTHS = (0.0, 0.1, 0.2, 0.3, 0.5, 0.7, 1.0, 1.5, 2.0, 3.0, 5.0, 10.0, 20.0, 30.0, 100.0)  # of the path
STEPS = 200  # of L-BFGS, at most


class PostHoc(Method):
    """Trains without a penalty, then moves the head alone, away from predictions that differ between groups.

    The head (C, d + 1) that is sought minimises KL(p0 || p) + strength * 2 sum_g (d_g - mean d)^2, with p0 the
    predictions after training and d_g the distances of ``secure_fair.learning.gaps``, from memberships that one release
    tells at the end of training. All of the budget's noise is in that one, and heads for a whole path of strengths are
    its post-processing (``path``). With a ``target_gap`` the first strength of the path is taken whose estimated gap
    is no larger; with an ``accuracy_loss`` the last before one that costs more on the validation records, or an earlier
    one that keeps to the ``target_gap``; else the scenario's strength. Nothing of it is seen on test records.
    """

    releases = ("moments", "attributes", "histogram")
    after_training = True
    keys = ("strength", "components", "target_gap", "accuracy_loss", "attributes")

    @classmethod
    def planned(cls, settings: MethodSettings, extent: Extent) -> list[PlannedRelease]:
        """The releases of the source of memberships, asked once."""
        return SOURCES[str(settings.release)].planned(replace(extent, epochs=1, steps=1))

    def start(self, training: Training) -> None:
        """Keep what the correction needs."""
        self.training = training
        self._path: list[dict[str, Any]] = []
        self._heads: dict[float, dict[str, Tensor]] = {}
        self._gaps: dict[str, float] = {}
        self._strength = self.settings.strength

    def finish(self) -> None:
        """Ask for memberships, follow the path, and leave the chosen head in the model."""
        features, probabilities = self.training.evaluate()
        strata = torch.zeros_like(self.training.labels)
        source = SOURCES[str(self.settings.release)](self.training, strata, 1)
        columns = source.columns(self.settings.components)
        source.start_epoch(lambda: source.query(features, probabilities, columns))
        members = {name: source.of_all(name) for name in source.priors}
        correction = Correction(
            torch.cat([features.double(), torch.ones(len(features), 1, dtype=torch.float64)], dim=1),
            {name: (held.double(), source.priors[name]) for name, held in members.items() if held is not None},
        )
        begun = torch.cat([self.training.head.weight, self.training.head.bias[:, None]], dim=1).detach().cpu().double()
        for strength, head in correction.path(begun, sorted({*STRENGTHS, self.settings.strength})):
            self._heads[strength] = {"weight": head[:, :-1].float(), "bias": head[:, -1].float()}
            self._path.append({"strength": strength, **self._describe(correction, head)})
        self._strength = self._chosen()
        for step in self._path:
            step["taken"] = step["strength"] == self._strength
            if step["taken"]:
                self._gaps = step["gaps"]
        self.training.head.load_state_dict(self._heads[self._strength])

    def _describe(self, correction: Correction, head: Tensor) -> dict[str, Any]:
        """Estimated gaps and the accuracy of one head: on the validation records, or those that were trained on."""
        right = (correction.logits(head).argmax(1) == self.training.labels).double()
        kept = len(self.training.validation) > 0
        accuracy = float(right[self.training.validation if kept else slice(None)].mean())
        of = "validation" if kept else "training"
        return {"gaps": correction.gaps(head), "accuracy": accuracy, "accuracy_of": of}

    def _chosen(self) -> float:
        target, loss = self.settings.target_gap, self.settings.accuracy_loss
        if not self._adjusts:
            return self.settings.strength
        least = -math.inf if loss is None else self._path[0]["accuracy"] - loss
        affordable = list(takewhile(lambda step: step["accuracy"] >= least, self._path))
        within = [step for step in affordable if target is not None and max(step["gaps"].values()) <= target]
        return float((within or affordable[-1:])[0]["strength"])

    @property
    def _adjusts(self) -> bool:
        return self.settings.target_gap is not None or self.settings.accuracy_loss is not None

    def path(self) -> list[dict[str, Any]]:
        """The strengths, each with the gaps that the release tells of it and its accuracy in training or validation."""
        return self._path

    def heads(self) -> Mapping[float, Mapping[str, Tensor]]:
        """The head at each of the strengths: any of them may be used, for no further release."""
        return self._heads

    def strength(self) -> float | None:
        """The strength that was taken from the path."""
        return self._strength if self._adjusts else None

    def gaps(self) -> Mapping[str, float]:
        """Estimated gaps of the corrected head; none before the end."""
        return self._gaps


class Correction:
    """The search for heads on fixed inputs (n, d + 1), given memberships (n, G) and priors (1, G) by attribute."""

    def __init__(self, inputs: Tensor, members: Mapping[str, tuple[Tensor, Tensor]]) -> None:
        self.inputs = inputs
        self.members = members
        self.strata = torch.zeros(len(inputs), dtype=torch.int64)

    def logits(self, head: Tensor) -> Tensor:
        """Logits (n, C)."""
        return self.inputs @ head.T

    def gaps(self, head: Tensor) -> dict[str, float]:
        """Largest difference between two groups' mean predictions."""
        found = self._distances(self.logits(head).softmax(1))
        return {name: float((distance.amax(1) - distance.amin(1)).max()) for name, distance in found.items()}

    def path(self, head: Tensor, strengths: list[float]) -> Iterator[tuple[float, Tensor]]:
        """A head for each of the ascending ``strengths``, each sought from the one before it."""
        target = self.logits(head).softmax(1)
        found = head
        for strength in strengths:
            found = self._solve(found, target, strength) if strength else head
            yield strength, found

    def _solve(self, begun: Tensor, target: Tensor, strength: float) -> Tensor:
        head = begun.clone().requires_grad_()
        search = torch.optim.LBFGS([head], max_iter=STEPS, line_search_fn="strong_wolfe")

        def loss() -> Tensor:
            search.zero_grad()
            logits = self.logits(head)
            total = torch.nn.functional.cross_entropy(logits, target) + strength * self._penalty(logits.softmax(1))
            total.backward()
            return total

        with one_thread():
            search.step(loss)
        return head.detach()

    def _penalty(self, probabilities: Tensor) -> Tensor:
        total = probabilities.new_zeros(())
        for distance in self._distances(probabilities).values():
            total = total + 2 * (distance - distance.mean(1, keepdim=True)).square().sum()
        return total

    def _distances(self, probabilities: Tensor) -> dict[str, Tensor]:
        predicted = outputs(probabilities)
        return {name: distances(predicted, held, self.strata, prior) for name, (held, prior) in self.members.items()}


@contextmanager
def one_thread() -> Iterator[None]:
    """Add every sum up in one order: a search that ends where little is left to gain ends elsewhere by the last bit."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(threads)


METHOD = PostHoc
