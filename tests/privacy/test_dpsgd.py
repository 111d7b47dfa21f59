"""DP-SGD clips each record, draws noise and batches from nothing that torch's seed reaches, and keeps its epsilon."""

import math

import numpy as np
import pytest
import torch
from opacus.optimizers import DPOptimizer
from scipy.stats import binomtest, chisquare, kstest
from torch import nn
from torch.nn import functional

import secure_fair.compat  # noqa: F401
from secure_fair.errors import UsageError
from secure_fair.learning.lora import adapt
from secure_fair.privacy.accounting import poisson_epsilon
from secure_fair.privacy.dpsgd import (
    PrivateOptimizer,
    PrivateSettings,
    Randomness,
    poisson_batch,
    train_privately,
)
from secure_fair.privacy.noise import NoiseSource, SeededNoise, SystemNoise
from secure_fair.randomness import PRG

from timm.models.vision_transformer import VisionTransformer  # isort: skip

# Little noise on little data, so that a test takes a second: its epsilon protects nobody.
QUICK = PrivateSettings(epsilon=30.0, delta=1e-5, epochs=2, sample_rate=0.25, learning_rate=0.02, physical_batch=16)


class Silence:
    """No noise: what is left is the clipped sum."""

    private = False

    def gaussian(self, sigma: int, count: int) -> np.ndarray:
        return np.zeros(count, dtype=np.int64)


def data(records: int = 120) -> tuple[torch.Tensor, torch.Tensor]:
    generator = torch.Generator().manual_seed(0)
    inputs = torch.randn(records, 6, generator=generator)
    return inputs, (inputs[:, 0] > 0).long()


def network(seed: int = 0) -> nn.Module:
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        return nn.Sequential(nn.Linear(6, 8), nn.Tanh(), nn.Linear(8, 2))


def weights(model: nn.Module) -> torch.Tensor:
    return torch.cat([parameter.detach().flatten() for parameter in model.parameters()])


def trained(torch_seed: int, randomness: Randomness) -> torch.Tensor:
    model = network()
    torch.manual_seed(torch_seed)
    train_privately(model, model, *data(), QUICK, randomness)
    return weights(model)


def test_torchs_seed_changes_neither_noise_nor_batches() -> None:
    same = [trained(seed, Randomness.seeded(7)) for seed in (1, 2)]
    assert torch.equal(*same)
    assert not torch.equal(same[0], trained(1, Randomness.seeded(8)))
    assert not torch.equal(trained(1, Randomness.from_system()), trained(1, Randomness.from_system()))


def test_training_leaves_torchs_generator_alone() -> None:
    torch.manual_seed(3)
    before = torch.random.get_rng_state()
    model = network()
    train_privately(model, model, *data(), QUICK, Randomness.from_system())
    assert torch.equal(torch.random.get_rng_state(), before)


def noised(optimizer_class: type, seed: int, noise: NoiseSource | None = None) -> torch.Tensor:
    """The update of one step without any record, which is noise alone: the system's, unless it is given."""
    torch.manual_seed(seed)
    parameter = nn.Parameter(torch.zeros(20_000))
    sgd = torch.optim.SGD([parameter], lr=1.0)
    if optimizer_class is PrivateOptimizer:
        optimizer = PrivateOptimizer(sgd, multiplier=1.5, clip=0.2, noise=noise or SystemNoise())
    else:
        optimizer = DPOptimizer(
            sgd, noise_multiplier=1.5, max_grad_norm=0.2, expected_batch_size=None, loss_reduction="sum"
        )
    parameter.grad_sample = torch.zeros(0, 20_000)
    optimizer.step()
    return -parameter.detach()


def test_the_stock_optimiser_repeats_its_noise_and_ours_does_not() -> None:
    assert torch.equal(noised(DPOptimizer, 5), noised(DPOptimizer, 5))
    assert not torch.equal(noised(PrivateOptimizer, 5), noised(PrivateOptimizer, 5))


def test_an_empty_batch_gets_the_whole_noise() -> None:
    noise = noised(PrivateOptimizer, 0, SeededNoise(1)).numpy()
    assert kstest(noise / (1.5 * 0.2), "norm").pvalue > 1e-3
    assert noise.std() > 0.99 * 1.5 * 0.2


def clipped_sum(
    model: nn.Module, predict, inputs: torch.Tensor, targets: torch.Tensor, clip: float
) -> list[torch.Tensor]:
    """Gradients clipped and summed one record at a time, by autograd alone."""
    parameters = [parameter for parameter in model.parameters() if parameter.requires_grad]
    total = [torch.zeros_like(parameter) for parameter in parameters]
    for record in range(len(inputs)):
        loss = functional.cross_entropy(predict(inputs[record : record + 1]), targets[record : record + 1])
        gradients = torch.autograd.grad(loss, parameters)
        norm = math.sqrt(sum(float(gradient.square().sum()) for gradient in gradients))
        for entry, gradient in zip(total, gradients, strict=True):
            entry += gradient * min(1.0, clip / norm)
    return total


class OneStep:
    """Keeps the gradient of the first step of a training."""

    def __init__(self, parameters: list[nn.Parameter]) -> None:
        self.parameters, self.gradients = parameters, []

    def __call__(self, done: int, total: int) -> None:
        if done == 1:
            self.gradients = [parameter.grad.clone() for parameter in self.parameters]


@pytest.mark.parametrize("physical_batch", [7, 1000])
@pytest.mark.parametrize("clip", [0.05, 0.5, 100.0])
def test_gradients_are_clipped_record_by_record(physical_batch: int, clip: float) -> None:
    model, (inputs, targets) = network(), data(40)
    expected = clipped_sum(model, model, inputs, targets, clip)
    settings = PrivateSettings(
        epsilon=30.0,
        delta=1e-5,
        epochs=1,
        sample_rate=1.0,
        learning_rate=1e-6,
        clip=clip,
        physical_batch=physical_batch,
    )
    step = OneStep(list(model.parameters()))
    silent = Randomness(Silence(), PRG(bytes(32)))
    train_privately(model, model, inputs, targets, settings, silent, on_step=step)
    for gradient, wanted in zip(step.gradients, expected, strict=True):
        assert torch.allclose(gradient, wanted, rtol=1e-3, atol=1e-4 * clip)


def step_with_one_that_overflows() -> tuple[list[torch.Tensor], list[torch.Tensor]]:
    """The sum of the clipped gradients where one record's forward pass overflows, and that of the other records."""
    model, (inputs, targets) = network(), data(40)
    inputs[3] *= 1e38

    def predict(rows: torch.Tensor) -> torch.Tensor:
        return model(rows * 1e3)

    others = torch.arange(40) != 3
    expected = clipped_sum(model, predict, inputs[others], targets[others], 0.5)
    settings = PrivateSettings(epsilon=30.0, delta=1e-5, epochs=1, sample_rate=1.0, learning_rate=1e-6, clip=0.5)
    step = OneStep(list(model.parameters()))
    train_privately(model, predict, inputs, targets, settings, Randomness(Silence(), PRG(bytes(32))), on_step=step)
    return step.gradients, expected


def test_a_record_that_overflows_counts_for_nothing() -> None:
    for gradient, wanted in zip(*step_with_one_that_overflows(), strict=True):
        assert torch.allclose(gradient, wanted, rtol=1e-3, atol=1e-4)


def test_clipping_alone_lets_one_record_into_every_weight(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delattr(PrivateOptimizer, "_get_flat_grad_sample")
    gradients, _ = step_with_one_that_overflows()
    assert all(gradient.isnan().all() for gradient in gradients)


def test_a_lora_adapter_of_a_transformer_is_clipped_record_by_record() -> None:
    torch.manual_seed(0)
    vit = VisionTransformer(img_size=16, patch_size=8, embed_dim=16, depth=2, num_heads=2, num_classes=0).eval()
    adapted = adapt(vit, rank=2, alpha=4, last_blocks=1)
    with torch.no_grad():
        for name, parameter in adapted.named_parameters():
            if "lora_B" in name:
                parameter.normal_(0, 0.1)
    model = nn.ModuleDict({"backbone": adapted, "head": nn.Linear(16, 3)})
    frozen = {
        name: value.clone() for name, value in model.state_dict().items() if "lora" not in name and "head" not in name
    }
    inputs, targets = torch.randn(10, 3, 16, 16), torch.arange(10) % 3

    def predict(pictures: torch.Tensor) -> torch.Tensor:
        return model["head"](model["backbone"](pictures))

    expected = clipped_sum(model, predict, inputs, targets, 0.1)
    parameters = [parameter for parameter in model.parameters() if parameter.requires_grad]
    settings = PrivateSettings(epsilon=30.0, delta=1e-5, epochs=1, sample_rate=1.0, learning_rate=1e-6, clip=0.1)
    step = OneStep(parameters)
    train_privately(model, predict, inputs, targets, settings, Randomness(Silence(), PRG(bytes(32))), on_step=step)
    assert len(step.gradients) == len(expected) >= 6
    for gradient, wanted in zip(step.gradients, expected, strict=True):
        assert torch.allclose(gradient, wanted, rtol=1e-3, atol=1e-5)
    assert all(torch.equal(model.state_dict()[name], value) for name, value in frozen.items())


def test_it_learns_and_stays_within_its_target() -> None:
    model, (inputs, targets) = network(), data(600)
    settings = PrivateSettings(epsilon=3.0, delta=1e-5, epochs=6, sample_rate=0.1, learning_rate=0.03)
    steps: list[tuple[int, int]] = []
    result = train_privately(
        model, model, inputs, targets, settings, Randomness.from_system(), on_step=lambda *step: steps.append(step)
    )
    assert (model(inputs).argmax(1) == targets).float().mean() > 0.8
    assert 2.9 < result.epsilon <= 3.0
    assert result.epsilon == poisson_epsilon(result.noise_multiplier, 0.1, 60, 1e-5)
    assert steps == [(step, 60) for step in range(1, 61)]
    assert len(result.losses) == 60
    assert result.private


def test_the_model_is_handed_back_clean() -> None:
    model = network().eval()
    train_privately(model, model, *data(), QUICK, Randomness.from_system())
    assert not model.training
    assert not hasattr(model, "autograd_grad_sample_hooks")
    for parameter in model.parameters():
        assert parameter.grad is None
        assert not any(hasattr(parameter, name) for name in ("grad_sample", "summed_grad"))
    model(data()[0]).sum().backward()
    train_privately(model, model, *data(), QUICK, Randomness.from_system())


@pytest.mark.parametrize("rate", [0.01, 0.3, 0.9])
def test_poisson_batches(rate: float) -> None:
    """Each record with the rate, records and batches independent: sizes vary as the binomial does."""
    source, size, batches = PRG(bytes(range(32))), 500, 400
    drawn = [poisson_batch(size, rate, source) for _ in range(batches)]
    assert binomtest(sum(map(len, drawn)), size * batches, rate).pvalue > 1e-4
    counts = np.bincount(np.concatenate(drawn), minlength=size)
    assert chisquare(counts, np.full(size, counts.mean())).pvalue > 1e-4 or rate > 0.5
    spread = np.var([len(batch) for batch in drawn]) / (size * rate * (1 - rate))
    assert 0.75 < spread < 1.3
    assert all(len(np.unique(batch)) == len(batch) for batch in drawn)


def test_wrong_settings_are_listed_at_once() -> None:
    with pytest.raises(UsageError) as error:
        PrivateSettings(
            epsilon=0, delta=1, epochs=0, sample_rate=1.5, learning_rate=math.nan, clip=-1, physical_batch=0
        )
    assert len(error.value.problems) == 7
    with pytest.raises(UsageError, match="one target for each"):
        train_privately(network(), network(), data()[0], data()[1][:5], QUICK, Randomness.from_system())
