"""DP-SGD for the auditor's sensitive adapter: Opacus clips per record, the operating system gives noise and batches.

Opacus as shipped draws both from torch's generator, which keeps 32 bits of a seed. Here every sum of clipped gradients
is put on an integer grid and gets exact discrete Gaussian noise, so that neither the generator nor floating-point noise
(Mironov 2012; Haney et al. 2022) opens a way around the guarantee. Abadi et al. 2016 is the algorithm.
"""

from __future__ import annotations

import math
import warnings
from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol

import numpy as np
import torch
from opacus.grad_sample import GradSampleHooks
from opacus.optimizers import DPOptimizer
from torch import Tensor, nn
from torch.nn import functional

from secure_fair.errors import UsageError
from secure_fair.privacy.accounting import poisson_epsilon, poisson_noise_multiplier
from secure_fair.privacy.noise import Bytes, SeededNoise, SystemNoise, uniform_below
from secure_fair.randomness import PRG, KeySource

_GRID_BITS = 30  # the clipping norm is 2^30 units of the grid on which noise is added
_ROUNDING = 1e-3  # part by which float32 may lengthen a clipped gradient, or its place in a sum


@dataclass(frozen=True)
class PrivateSettings:
    """Settings of an adapter's training with (``epsilon``, ``delta``)-DP for adding or removing one record.

    ``sample_rate``: with what probability a record is in a batch; ``epochs`` / ``sample_rate`` batches are drawn.
    ``clip``: the largest L2 norm of one record's gradient. ``physical_batch``: records held in memory at once.
    """

    epsilon: float
    delta: float
    epochs: int
    sample_rate: float
    learning_rate: float
    clip: float = 1.0
    weight_decay: float = 0.0
    physical_batch: int = 64

    def __post_init__(self) -> None:
        problems = [
            f"{key} = {value}: must be {bound}"
            for key, value, holds, bound in (
                ("epsilon", self.epsilon, 0 < self.epsilon < math.inf, "finite, above 0"),
                ("delta", self.delta, 0 < self.delta < 1, "between 0 and 1"),
                ("epochs", self.epochs, self.epochs >= 1, "at least 1"),
                ("sample_rate", self.sample_rate, 0 < self.sample_rate <= 1, "above 0, at most 1"),
                ("learning_rate", self.learning_rate, 0 < self.learning_rate < math.inf, "finite, above 0"),
                ("clip", self.clip, 0 < self.clip < math.inf, "finite, above 0"),
                ("weight_decay", self.weight_decay, 0 <= self.weight_decay < math.inf, "finite, 0 or more"),
                ("physical_batch", self.physical_batch, self.physical_batch >= 1, "at least 1"),
            )
            if not holds
        ]
        if problems:
            raise UsageError(problems)

    @property
    def steps(self) -> int:
        """Batches in all."""
        return math.ceil(self.epochs / self.sample_rate)

    @property
    def multiplier(self) -> float:
        """Noise in units of ``clip``."""
        return poisson_noise_multiplier(self.epsilon, self.delta, self.sample_rate, self.steps)


@dataclass(frozen=True)
class PrivateTraining:
    """A training as it was, for the ledger and the report. ``epsilon`` is PRV's upper bound.

    The mean ``losses`` of the batches are the auditor's own: they are not covered by epsilon and must not leave it.
    """

    epsilon: float
    delta: float
    noise_multiplier: float
    sample_rate: float
    steps: int
    private: bool
    losses: tuple[float, ...]


class GradientNoise(Protocol):
    """A source of noise: see ``secure_fair.privacy.noise``."""

    private: bool

    def gaussian(self, sigma: int, count: int) -> np.ndarray: ...


@dataclass(frozen=True)
class Randomness:
    """Where a training's noise and its batches come from; nothing of either is drawn anywhere else."""

    noise: GradientNoise
    batches: Bytes

    @classmethod
    def from_system(cls) -> Randomness:
        """Fresh keys of the operating system's."""
        return cls(SystemNoise(), PRG(KeySource.fresh().derive("Poisson batches")))

    @classmethod
    def seeded(cls, seed: int) -> Randomness:
        """NOT PRIVATE: repeats with its seed, for experiments."""
        return cls(SeededNoise(seed), PRG(KeySource.seeded(seed).derive("Poisson batches")))


class PrivateOptimizer(DPOptimizer):
    """Opacus' optimiser with noise from ``noise`` in place of torch's generator, and gradients of summed losses."""

    def __init__(
        self, optimizer: torch.optim.Optimizer, *, multiplier: float, clip: float, noise: GradientNoise
    ) -> None:
        super().__init__(
            optimizer, noise_multiplier=multiplier, max_grad_norm=clip, expected_batch_size=None, loss_reduction="sum"
        )
        self._noise = noise

    def _get_flat_grad_sample(self, p: Tensor) -> Tensor:
        """Take what is not finite in a record's gradient as 0, before it is clipped: clipping bounds no inf or NaN.

        The developer chooses the weights, and could choose them so that one picture alone overflows: its NaN would be
        in every weight, whatever the noise.
        """
        return torch.nan_to_num(super()._get_flat_grad_sample(p), nan=0.0, posinf=0.0, neginf=0.0)

    def add_noise(self) -> None:
        """Put each sum of clipped gradients on the grid of clip / 2^30 and add discrete Gaussian noise to it."""
        grid = self.max_grad_norm / 2**_GRID_BITS
        size = sum(parameter.numel() for parameter in self.params)
        # The grid may move each entry of a sum by one unit more than the gradient of one record does.
        sensitivity = 2**_GRID_BITS * (1 + _ROUNDING) + math.sqrt(size)
        sigma = math.ceil(self.noise_multiplier * sensitivity)
        for parameter in self.params:
            units = torch.round(parameter.summed_grad.detach().double().cpu() / grid)
            draws = torch.from_numpy(self._noise.gaussian(sigma, parameter.numel())).reshape(parameter.shape)
            parameter.grad = ((units + draws) * grid).to(parameter)
            parameter.summed_grad = None


def poisson_batch(size: int, rate: float, source: Bytes) -> np.ndarray:
    """A batch into which each of ``size`` records comes with probability ``rate``, independently: int64 indices.

    The probability is rounded down to a multiple of 2^-62: an accountant told ``rate`` errs to the safe side.
    """
    if rate == 1.0:
        return np.arange(size, dtype=np.int64)
    return np.flatnonzero(uniform_below(2**62, size, source) < math.floor(rate * 2**62))


def train_privately(
    model: nn.Module,
    predict: Callable[[Tensor], Tensor],
    inputs: Tensor,
    targets: Tensor,
    settings: PrivateSettings,
    randomness: Randomness,
    *,
    on_step: Callable[[int, int], None] = lambda done, total: None,
) -> PrivateTraining:
    """Train the trainable parameters of ``model`` in place with DP-SGD (Adam, cross-entropy).

    ``predict`` maps inputs (b, ...) to logits (b, G) through ``model``, each record by itself; ``inputs``: (n, ...) and
    ``targets``: int64 (n,), on any device. Steps and rate are fixed beforehand, so that nothing about the data decides
    when training ends. ``on_step(done, total)`` reports progress.
    """
    if len(inputs) != len(targets) or not len(inputs):
        raise UsageError(f"{len(inputs)} inputs, {len(targets)} targets: need one target for each, and at least one")
    rate, steps = settings.sample_rate, settings.steps
    multiplier = settings.multiplier
    parameters = [parameter for parameter in model.parameters() if parameter.requires_grad]
    # The noisy sum is divided by the expected batch size through Adam's indifference to scale.
    adam = torch.optim.AdamW(parameters, lr=settings.learning_rate, weight_decay=settings.weight_decay)
    optimizer = PrivateOptimizer(adam, multiplier=multiplier, clip=settings.clip, noise=randomness.noise)
    training, hooks = model.training, GradSampleHooks(model, loss_reduction="sum")
    model.train()
    losses = []
    try:
        for step in range(steps):
            batch = poisson_batch(len(inputs), rate, randomness.batches)
            with warnings.catch_warnings():
                # The first adapted layer's input needs no gradient; its hook needs only that of its output.
                warnings.filterwarnings("ignore", message="Full backward hook is firing")
                losses.append(_step(optimizer, parameters, predict, inputs, targets, batch, settings.physical_batch))
            on_step(step + 1, steps)
    finally:
        hooks.remove_hooks()
        _forget_gradients(parameters)
        model.train(training)
    return PrivateTraining(
        epsilon=poisson_epsilon(multiplier, rate, steps, settings.delta),
        delta=settings.delta,
        noise_multiplier=multiplier,
        sample_rate=rate,
        steps=steps,
        private=randomness.noise.private,
        losses=tuple(losses),
    )


def _step(
    optimizer: PrivateOptimizer,
    parameters: list[nn.Parameter],
    predict: Callable[[Tensor], Tensor],
    inputs: Tensor,
    targets: Tensor,
    batch: np.ndarray,
    physical_batch: int,
) -> float:
    """One noisy step on a batch, in parts that fit the memory; the batch's mean loss (0 where it is empty)."""
    device = parameters[0].device
    total = 0.0
    optimizer.zero_grad(set_to_none=True)
    parts = [torch.from_numpy(part) for part in np.array_split(batch, math.ceil(len(batch) / physical_batch) or 1)]
    for number, part in enumerate(parts):
        if len(part):
            logits = predict(inputs[part.to(inputs.device)].to(device))
            loss = functional.cross_entropy(logits, targets[part.to(targets.device)].to(device), reduction="sum")
            loss.backward()
            total += float(loss.detach())
        else:  # an empty batch still gets its noise, or its emptiness would show
            for parameter in parameters:
                parameter.grad_sample = torch.zeros((0, *parameter.shape), device=device)  # type: ignore[attr-defined]
        optimizer.signal_skip_step(do_skip=number < len(parts) - 1)
        optimizer.step()
        if number < len(parts) - 1:
            optimizer.zero_grad(set_to_none=True)
    return total / max(len(batch), 1)


def _forget_gradients(parameters: list[nn.Parameter]) -> None:
    """Take per-record gradients and Opacus' marks off the parameters."""
    for parameter in parameters:
        parameter.grad = None
        for name in ("grad_sample", "summed_grad", "_forward_counter", "_current_grad_sample"):
            if hasattr(parameter, name):
                delattr(parameter, name)
