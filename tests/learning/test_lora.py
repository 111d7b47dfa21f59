"""Adapters: what is trained, what several of them add up to, and that peft alone can load them."""

from __future__ import annotations

import math
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor

import secure_fair.compat  # noqa: F401
import secure_fair.learning.lora as lora
from secure_fair.errors import UsageError
from secure_fair.learning.backbone import load_backbone
from secure_fair.learning.lora import (
    AdapterState,
    adapt,
    adapter_state,
    add_sensitive,
    backbone,
    features,
    first_adapted_block,
    load_adapter_state,
    row_matrices,
    save_adapter,
    scaling,
    set_active,
)
from secure_fair.learning.prefix import frozen_prefix, suffix

import timm  # isort: skip
from peft import PeftModel  # isort: skip
from timm.models.vision_transformer import VisionTransformer  # isort: skip

ALL_TARGETS = ("attn.qkv", "attn.proj", "mlp.fc1", "mlp.fc2")
IN_ORDER = [f"blocks.{block}.{target}" for block in (4, 5) for target in ALL_TARGETS]


@pytest.fixture(scope="module")
def weights(tmp_path_factory: pytest.TempPathFactory) -> Path:
    torch.manual_seed(0)
    model = timm.create_model("test_vit", pretrained=False, num_classes=0)
    for parameter in model.parameters():
        parameter.data += 0.05 * torch.randn_like(parameter)
    path = tmp_path_factory.mktemp("weights") / "weights.pth"
    torch.save(model.state_dict(), path)
    return path


@pytest.fixture
def vit(weights: Path) -> VisionTransformer:
    """Six blocks of width 64."""
    return load_backbone("test_vit", weights, 64)


@pytest.fixture(scope="module")
def tokens(weights: Path) -> Tensor:
    """What enters block 4, for six pictures."""
    pictures = np.random.default_rng(0).integers(0, 256, (6, 64, 64, 3), dtype=np.uint8)
    return frozen_prefix(load_backbone("test_vit", weights, 64), pictures, 2)


def random_state(like: AdapterState, seed: int, rank: int = 4) -> AdapterState:
    """An adapter as it might be after training: neither A nor B zero."""
    generator = torch.Generator().manual_seed(seed)
    return {
        name: (
            0.1 * torch.randn(rank, rows.shape[1], generator=generator),
            0.1 * torch.randn(columns.shape[0], rank, generator=generator),
        )
        for name, (rows, columns) in like.items()
    }


def merged(weights: Path, *changes: tuple[float, AdapterState]) -> VisionTransformer:
    """A plain ViT with every scale * B A added to its weights: the definition of LoRA."""
    vit = load_backbone("test_vit", weights, 64)
    for scale, state in changes:
        for name, (rows, columns) in state.items():
            vit.get_submodule(name).weight.data += scale * columns @ rows
    return vit


def assert_same_features(model: PeftModel, expected: VisionTransformer, tokens: Tensor) -> None:
    with torch.no_grad():
        torch.testing.assert_close(features(model, tokens), suffix(expected, tokens, 4), rtol=1e-4, atol=1e-5)


def test_a_fresh_adapter_changes_nothing_and_is_all_that_trains(vit: VisionTransformer, tokens: Tensor) -> None:
    before = suffix(vit, tokens, 4)
    model = adapt(vit, 4, 8, ALL_TARGETS, 2, seed=3)
    torch.testing.assert_close(features(model, tokens), before)
    trainable = {name for name, parameter in model.named_parameters() if parameter.requires_grad}
    assert len(trainable) == 2 * len(IN_ORDER)
    assert all(".task." in name and ("blocks.4." in name or "blocks.5." in name) for name in trainable)
    features(model, tokens).square().sum().backward()
    assert all((parameter.grad is not None) == (name in trainable) for name, parameter in model.named_parameters())


@pytest.mark.parametrize("last_blocks", [None, 0, 1, 6])
def test_which_blocks(vit: VisionTransformer, last_blocks: int | None) -> None:
    model = adapt(vit, 2, 2, ["attn.qkv", "mlp.fc2"], last_blocks)
    first = 6 - last_blocks if last_blocks else 0
    assert first_adapted_block(model) == first
    assert list(adapter_state(model)) == [f"blocks.{i}.{t}" for i in range(first, 6) for t in ("attn.qkv", "mlp.fc2")]


def test_order_does_not_depend_on_how_targets_are_listed(vit: VisionTransformer) -> None:
    model = adapt(vit, 4, 8, tuple(reversed(ALL_TARGETS)), 2)
    assert list(adapter_state(model)) == list(row_matrices(model)) == IN_ORDER


def test_initial_values_follow_the_seed_alone(weights: Path) -> None:
    def start(seed: int, noise: int) -> AdapterState:
        torch.manual_seed(noise)
        return adapter_state(adapt(load_backbone("test_vit", weights, 64), 4, 8, ALL_TARGETS, 2, seed))

    one, again, other = start(3, 0), start(3, 1), start(4, 0)
    for name, (rows, columns) in one.items():
        assert torch.equal(rows, again[name][0])
        assert not torch.equal(rows, other[name][0])
        assert not columns.any()
        # Kaiming uniform with a = sqrt(5) is uniform within 1 / sqrt(d_in)
        bound = 1 / math.sqrt(rows.shape[1])
        assert 0.9 * bound < rows.abs().max() <= bound
    assert not torch.equal(one["blocks.4.attn.qkv"][0], one["blocks.5.attn.qkv"][0])


def test_the_global_generator_is_left_alone(vit: VisionTransformer) -> None:
    torch.manual_seed(5)
    expected = torch.rand(3)
    torch.manual_seed(5)
    model = adapt(vit, 4, 8, ALL_TARGETS, 2, seed=3)
    add_sensitive(model, random_state(adapter_state(model), 1), 0.5)
    assert torch.equal(torch.rand(3), expected)


def test_features_are_those_of_the_merged_weights(vit: VisionTransformer, weights: Path, tokens: Tensor) -> None:
    model = adapt(vit, 4, 6, ALL_TARGETS, 2)
    state = random_state(adapter_state(model), 1)
    load_adapter_state(model, state)
    assert scaling(model) == 1.5
    assert_same_features(model, merged(weights, (1.5, state)), tokens)
    assert all(
        torch.equal(a, state[name][0]) and torch.equal(b, state[name][1])
        for name, (a, b) in adapter_state(model).items()
    )


@pytest.mark.parametrize("beside", [(), ("one",), ("one", "fewer")], ids=["alone", "one more", "two more"])
@pytest.mark.parametrize("last_blocks", [2, None])  # 8 and 24 modules: peft shortens long lists of names
def test_peft_alone_loads_a_saved_adapter(
    vit: VisionTransformer, weights: Path, last_blocks: int | None, beside: tuple[str, ...], tmp_path: Path
) -> None:
    model = adapt(vit, 4, 8, ALL_TARGETS, last_blocks)
    load_adapter_state(model, random_state(adapter_state(model), 1))
    for place, name in enumerate(beside):
        state = random_state(adapter_state(model), 2 + place, rank=2 + place)
        kept = {module: pair for module, pair in state.items() if name == "one" or module.endswith("fc1")}
        add_sensitive(model, kept, -0.7 + place, name)
    save_adapter(model, tmp_path / "adapter")
    assert {file.name for file in (tmp_path / "adapter").iterdir()} == {
        "adapter_config.json",
        "adapter_model.safetensors",
    }
    plain = timm.create_model("test_vit", pretrained=False, num_classes=0, img_size=64)
    plain.load_state_dict(load_backbone("test_vit", weights, 64).state_dict())
    loaded = PeftModel.from_pretrained(plain, str(tmp_path / "adapter")).eval()
    pixels = torch.randn(2, 3, 64, 64, generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        expected, unadapted = backbone(model)(pixels), load_backbone("test_vit", weights, 64)(pixels)
        torch.testing.assert_close(loaded(pixels), expected)
    assert (expected - unadapted).abs().max() > 0.01


def test_saving_twice_gives_the_same_files(vit: VisionTransformer, tmp_path: Path) -> None:
    model = adapt(vit, 4, 8, ALL_TARGETS, 2)
    for name in ("one", "two"):
        save_adapter(model, tmp_path / name)
    for file in (tmp_path / "one").iterdir():
        assert file.read_bytes() == (tmp_path / "two" / file.name).read_bytes()


def test_sensitive_adapters_add_up_and_are_dropped(vit: VisionTransformer, weights: Path, tokens: Tensor) -> None:
    model = adapt(vit, 4, 8, ALL_TARGETS, 2)
    task, one = random_state(adapter_state(model), 1), random_state(adapter_state(model), 2)
    two = random_state(adapter_state(model), 3, rank=3)
    load_adapter_state(model, task)
    add_sensitive(model, one, 0.7)
    assert_same_features(model, merged(weights, (2, task), (0.7, one)), tokens)
    add_sensitive(model, two, 0.2, name="sensitive_age")
    assert_same_features(model, merged(weights, (2, task), (0.7, one), (0.2, two)), tokens)
    set_active(model, ["task", "sensitive_age"])
    assert_same_features(model, merged(weights, (2, task), (0.2, two)), tokens)
    set_active(model, ["task"])
    assert_same_features(model, merged(weights, (2, task)), tokens)
    set_active(model, [])
    assert_same_features(model, merged(weights), tokens)


def test_only_the_task_adapter_learns_beside_a_sensitive_one(vit: VisionTransformer, tokens: Tensor) -> None:
    model = adapt(vit, 4, 8, ALL_TARGETS, 2)
    load_adapter_state(model, random_state(adapter_state(model), 1))
    sensitive = random_state(adapter_state(model), 2)
    add_sensitive(model, sensitive, 0.7)
    features(model, tokens).square().sum().backward()
    touched = {name for name, parameter in model.named_parameters() if parameter.grad is not None}
    assert len(touched) == 2 * len(IN_ORDER)
    assert all(".task." in name for name in touched)
    kept = row_matrices(model, "sensitive")
    assert all(torch.equal(kept[name], rows) for name, (rows, _) in sensitive.items())
    set_active(model, ["task"])
    assert all(p.requires_grad == (".task." in name) for name, p in model.named_parameters())


def test_a_sensitive_adapter_may_cover_fewer_modules(vit: VisionTransformer, weights: Path, tokens: Tensor) -> None:
    model = adapt(vit, 4, 8, ["attn.qkv"], 2)
    source = adapt(load_backbone("test_vit", weights, 64), 4, 8, ["attn.qkv", "mlp.fc1"], 1)
    sensitive = random_state(adapter_state(source), 1)
    add_sensitive(model, sensitive, 0.5)
    assert_same_features(model, merged(weights, (0.5, sensitive)), tokens)
    assert list(row_matrices(model)) == ["blocks.4.attn.qkv", "blocks.5.attn.qkv"]


def test_row_matrices_are_the_parameters_themselves(vit: VisionTransformer) -> None:
    model = adapt(vit, 4, 8, ALL_TARGETS, 2)
    matrices = row_matrices(model)
    assert {id(matrix) for matrix in matrices.values()} <= {id(p) for p in model.parameters() if p.requires_grad}
    before = adapter_state(model)
    for matrix in matrices.values():
        matrix.grad = torch.ones_like(matrix)
    torch.optim.SGD(model.parameters(), lr=0.5).step()
    for name, (rows, columns) in adapter_state(model).items():
        torch.testing.assert_close(rows, before[name][0] - 0.5)
        assert torch.equal(columns, before[name][1])


def test_a_negated_adapter_is_undone_by_itself(vit: VisionTransformer, weights: Path, tokens: Tensor) -> None:
    model = adapt(vit, 4, 8, ALL_TARGETS, 2)
    task, sensitive = random_state(adapter_state(model), 1), random_state(adapter_state(model), 2)
    load_adapter_state(model, task)
    add_sensitive(model, sensitive, -0.7, "negated")
    assert_same_features(model, merged(weights, (2, task), (-0.7, sensitive)), tokens)
    add_sensitive(model, sensitive, 0.7)
    assert_same_features(model, merged(weights, (2, task)), tokens)


def test_settings_that_make_no_adapter(vit: VisionTransformer) -> None:
    with pytest.raises(UsageError, match="LoRA rank = 0"):
        adapt(vit, 0, 8, ALL_TARGETS, 2)
    with pytest.raises(UsageError, match="at least one linear layer"):
        adapt(vit, 4, 8, [], 2)
    with pytest.raises(UsageError, match=r"no module 'blocks\.4\.attn\.query': LoRA targets are attn\.qkv"):
        adapt(vit, 4, 8, ["attn.query"], 2)
    with pytest.raises(UsageError, match=r"'blocks\.4\.norm1' is a LayerNorm"):
        adapt(vit, 4, 8, ["norm1"], 2)
    with pytest.raises(UsageError, match="last_blocks = 7"):
        adapt(vit, 4, 8, ALL_TARGETS, 7)


def test_states_that_do_not_fit(vit: VisionTransformer) -> None:
    model = adapt(vit, 4, 8, ALL_TARGETS, 2)
    good = random_state(adapter_state(model), 1)
    name = IN_ORDER[0]
    rows, columns = good[name]
    with pytest.raises(UsageError, match="1 modules differ"):
        load_adapter_state(model, {key: value for key, value in good.items() if key != name})
    with pytest.raises(UsageError, match=r"A is \(3, 64\), the model's is \(4, 64\)"):
        load_adapter_state(model, good | {name: (rows[:3], columns[:, :3])})
    for wrong, reason in (
        ({}, "empty"),
        ({name: (rows, columns[:, :2])}, r"expected A \(rank, d_in\)"),
        ({name: (rows[:, :9], columns)}, "makes a change of 192x9, the layer is 192x64"),
        ({name: (rows * math.inf, columns)}, "not finite"),
        ({"blocks.4.gone": (rows, columns)}, "no module"),
        ({"blocks.3.attn.qkv": (rows, columns)}, "starts at block 3, the task adapter at 4"),
        (good | {name: (rows[:3], columns[:, :3])}, "different ranks"),
    ):
        with pytest.raises(UsageError, match=reason):
            add_sensitive(model, wrong, 1.0)
    assert list(model.peft_config) == ["task"]
    with pytest.raises(UsageError, match="already"):
        add_sensitive(model, good, 1.0, name="task")
    with pytest.raises(UsageError, match="no adapter 'sensitive' on the model: it has task"):
        set_active(model, ["sensitive"])


def test_merging_for_inference_changes_no_feature_and_leaves_no_trace(vit: VisionTransformer, tokens: Tensor) -> None:
    model = adapt(vit, 4, 8.0, ALL_TARGETS, 2)
    load_adapter_state(model, random_state(adapter_state(model), 1))
    add_sensitive(model, random_state(adapter_state(model), 2), 0.7)
    model.eval()
    before = {name: value.clone() for name, value in model.state_dict().items()}
    trainable = {name for name, parameter in model.named_parameters() if parameter.requires_grad}
    with torch.no_grad():
        expected = features(model, tokens)
        with lora.merged(model):
            found = features(model, tokens)
        again = features(model, tokens)
    torch.testing.assert_close(found, expected, rtol=1e-4, atol=1e-4)
    assert torch.equal(again, expected)
    assert all(torch.equal(value, before[name]) for name, value in model.state_dict().items())
    assert trainable == {name for name, parameter in model.named_parameters() if parameter.requires_grad}
