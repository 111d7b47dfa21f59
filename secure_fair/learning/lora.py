"""Low-rank adapters (LoRA, Hu et al. 2021) on the last blocks of a backbone, by peft.

Several adapters can live on one model: "task", the only one that is ever trained, and frozen sensitive ones, which a
method may switch on during training, or subtract for good. An adapter changes the weight W (d_out, d_in) of a linear
layer into W + scaling * B A with A (rank, d_in) and B (d_out, rank); scaling is alpha / rank.

Wherever adapters are listed, the order is the backbone's: block by block, inside a block attn.qkv, attn.proj,
mlp.fc1, mlp.fc2. Names are the backbone's module names, such as "blocks.11.attn.qkv".
"""

from __future__ import annotations

import math
import warnings
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, cast

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

import secure_fair.compat  # noqa: F401
from secure_fair.errors import UsageError
from secure_fair.learning.prefix import first_block, suffix

from peft import LoraConfig, PeftModel, get_peft_model_state_dict  # isort: skip
from peft.tuners.lora import LoraLayer, LoraModel  # isort: skip
from peft.utils import SAFETENSORS_WEIGHTS_NAME  # isort: skip
from timm.models.vision_transformer import VisionTransformer  # isort: skip

TASK = "task"
SENSITIVE = "sensitive"
DEFAULT_TARGETS = ("attn.qkv", "attn.proj", "mlp.fc1", "mlp.fc2")

AdapterState = dict[str, tuple[Tensor, Tensor]]  # module name -> A (rank, d_in), B (d_out, rank)


def adapt(
    vit: VisionTransformer,
    rank: int,
    alpha: float,
    targets: Sequence[str] = DEFAULT_TARGETS,
    last_blocks: int | None = None,
    seed: int = 0,
) -> PeftModel:
    """Put a fresh trainable "task" adapter on the layers `targets` of the last `last_blocks` blocks (None or 0: all).

    `vit` itself is changed: its layers are wrapped, its own weights stay frozen. A is drawn from a generator seeded by
    `seed` (Kaiming uniform, as peft does), B is zero, so the features do not change yet. Torch's global generator is
    left as it was.
    """
    if rank < 1:
        raise UsageError(f"LoRA rank = {rank}: must be at least 1")
    if not targets:
        raise UsageError("LoRA targets: name at least one linear layer of a block, such as attn.qkv")
    names = []
    for index in range(first_block(vit, last_blocks), len(vit.blocks)):
        for target in targets:
            name = f"blocks.{index}.{target}"
            _linear(vit, name)
            names.append(name)
    with torch.random.fork_rng(devices=[]):
        model = PeftModel(vit, _config(rank, alpha, names), adapter_name=TASK)
    generator = torch.Generator().manual_seed(seed)
    for layer in _layers(model, TASK).values():
        weight = _matrices(layer, TASK)[0]
        drawn = torch.empty(weight.shape)
        nn.init.kaiming_uniform_(drawn, a=math.sqrt(5), generator=generator)
        weight.data.copy_(drawn)
    return model


def adapted(model: PeftModel | None) -> PeftModel:
    """The model, for whoever works on its adapters; UsageError where there is none, but only features and a head."""
    if model is None:
        raise UsageError("the features are the inputs themselves: there is no backbone, and no adapter on it")
    return model


def features(model: PeftModel, tokens: Tensor) -> Tensor:
    """Pooled features (B, d) of tokens (B, tokens, d) that `frozen_prefix` made for the model's adapted blocks."""
    return suffix(backbone(model), tokens, first_adapted_block(model))


def backbone(model: PeftModel) -> VisionTransformer:
    """The ViT inside, with its layers wrapped."""
    return cast(VisionTransformer, model.get_base_model())


def first_adapted_block(model: PeftModel, adapter: str = TASK) -> int:
    """Index of the first block that carries the adapter."""
    return min(_block(name) for name in _layers(model, adapter))


def scaling(model: PeftModel, adapter: str = TASK) -> float:
    """alpha / rank: the factor of B A in the adapted weight."""
    return float(next(iter(_layers(model, adapter).values())).scaling[adapter])


def row_matrices(model: PeftModel, adapter: str = TASK) -> dict[str, nn.Parameter]:
    """The parameters A (rank, d_in) themselves, in the fixed order: what the orthogonality gradient is added to."""
    return {name: _matrices(layer, adapter)[0] for name, layer in _layers(model, adapter).items()}


def matrices(model: PeftModel, adapter: str = TASK) -> list[tuple[nn.Parameter, nn.Parameter]]:
    """The parameters A and B themselves, module by module in the fixed order."""
    return [_matrices(layer, adapter) for layer in _layers(model, adapter).values()]


def adapter_state(model: PeftModel, adapter: str = TASK) -> AdapterState:
    """Copies of all A and B, float32 in host memory, in the fixed order."""
    state = {}
    for name, layer in _layers(model, adapter).items():
        rows, columns = _matrices(layer, adapter)
        state[name] = _copy(rows), _copy(columns)
    return state


def load_adapter_state(model: PeftModel, state: Mapping[str, tuple[Tensor, Tensor]], adapter: str = TASK) -> None:
    """Overwrite an adapter with a state of the same modules and shapes."""
    layers = _layers(model, adapter)
    if layers.keys() != state.keys():
        differing = sorted(layers.keys() ^ state.keys())
        raise UsageError(f"adapter state does not fit: {len(differing)} modules differ, first {differing[0]!r}")
    for name, layer in layers.items():
        for what, value, parameter in zip("AB", state[name], _matrices(layer, adapter), strict=True):
            if value.shape != parameter.shape:
                raise UsageError(
                    f"adapter state {name} {what} is {tuple(value.shape)}, the model's is {tuple(parameter.shape)}"
                )
            parameter.data.copy_(value)


def save_adapter(model: PeftModel, directory: Path) -> None:
    """Write the sum of the active adapters as one, in peft's adapter_config.json and adapter_model.safetensors.

    `peft.PeftModel.from_pretrained(timm_vit, directory)` restores it on the same backbone. peft's own saving would put
    an adapter of this name in a folder below. A frozen adapter beside the task's is saved with it, as further ranks.
    """
    directory.mkdir(parents=True, exist_ok=True)
    frozen = [name for name in model.active_adapters if name != TASK]
    state = get_peft_model_state_dict(model, adapter_name=TASK)
    config = LoraConfig(**model.peft_config[TASK].to_dict())
    for name in frozen:
        state, config.r = _joined(model, name, state), config.r + _rank(model, name)
    config.lora_alpha = cast(Any, scaling(model) * config.r)
    save_file({key: _copy(value) for key, value in state.items()}, directory / SAFETENSORS_WEIGHTS_NAME)
    config.inference_mode = True
    config.target_modules = sorted(config.target_modules or [])  # a set's order would differ from run to run
    config.save_pretrained(str(directory))


def read_adapter(vit: VisionTransformer, directory: Path) -> PeftModel:
    """Put the adapter that `save_adapter` wrote into `directory` on its backbone, as the task's and frozen.

    `vit` itself is changed. Raises UsageError for a folder that holds no whole adapter, or one of another backbone.
    """
    file = directory / SAFETENSORS_WEIGHTS_NAME
    try:
        with warnings.catch_warnings(action="ignore"):  # of missing tensors, which are an error here
            model = PeftModel.from_pretrained(vit, str(directory), adapter_name=TASK)
        saved = set(load_file(file))
    except (OSError, RuntimeError, SafetensorError, TypeError, ValueError) as error:
        raise UsageError(f"{directory}: holds no adapter of this backbone: {str(error).splitlines()[0]}") from error
    expected = set(get_peft_model_state_dict(model, adapter_name=TASK))
    if saved != expected:
        differing = sorted(saved ^ expected)
        raise UsageError(f"{file}: {len(differing)} tensors are not the adapter's, first {differing[0]!r}")
    return model


def base_state(model: PeftModel) -> dict[str, Tensor]:
    """The backbone's own tensors under timm's names, without the adapters'."""
    state = backbone(model).state_dict()
    return {name.replace(".base_layer.", "."): value for name, value in state.items() if ".lora_" not in name}


def _joined(model: PeftModel, name: str, state: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """The task's ``state`` with an adapter beside it in each module; zeros where that one has none."""
    held, factor, rank = adapter_state(model, name), scaling(model, name) / scaling(model), _rank(model, name)
    joined = {}
    for module, (rows, columns) in adapter_state(model).items():
        none = torch.zeros(rank, rows.shape[1]), torch.zeros(columns.shape[0], rank)
        added = held.pop(module, none)
        prefix = f"base_model.model.{module}"
        joined[f"{prefix}.lora_A.weight"] = torch.cat([_copy(state[f"{prefix}.lora_A.weight"]), added[0]])
        joined[f"{prefix}.lora_B.weight"] = torch.cat([_copy(state[f"{prefix}.lora_B.weight"]), factor * added[1]], 1)
    if held or joined.keys() != state.keys():
        raise UsageError(f"adapter {name!r} changes {', '.join(held)}, which the task's does not: it cannot be saved")
    return joined


def _rank(model: PeftModel, adapter: str) -> int:
    return int(cast(LoraConfig, model.peft_config[adapter]).r)


def add_sensitive(
    model: PeftModel, state: Mapping[str, tuple[Tensor, Tensor]], scale: float, name: str = SENSITIVE
) -> None:
    """Add a frozen adapter scale * B A beside those on the model and make it active with them.

    `scale` is the whole factor of B A: the wanted strength times the alpha / rank that the adapter was trained with.
    Its blocks must be among those that the task adapter's tokens still pass through.
    """
    if name in model.peft_config:
        raise UsageError(f"an adapter {name!r} is on the model already: give this one another name")
    ranks = _check_state(backbone(model), state)
    first = min(_block(module) for module in state)
    if first < first_adapted_block(model):
        raise UsageError(
            f"the sensitive adapter starts at block {first}, the task adapter at {first_adapted_block(model)}: "
            "train both with the same last_blocks"
        )
    if len(ranks) != 1:
        raise UsageError(f"the sensitive adapter has modules of different ranks {sorted(ranks)}: give it one rank")
    rank = ranks.pop()
    active = list(model.active_adapters)
    with torch.random.fork_rng(devices=[]):
        model.add_adapter(name, _config(rank, scale * rank, list(state)))
    load_adapter_state(model, state, name)
    set_active(model, [*active, name])


@contextmanager
def merged(model: PeftModel) -> Iterator[None]:
    """The active adapters folded into the base weights, for faster inference; both are as they were afterwards."""
    layers = [module for module in backbone(model).modules() if isinstance(module, LoraLayer)]
    kept = []
    for layer in layers:
        base = cast(nn.Linear, layer.get_base_layer())
        kept.append((base, base.weight.detach().clone()))
        cast(Any, layer).merge()
    try:
        yield
    finally:
        for layer, (base, weight) in zip(layers, kept, strict=True):
            cast(Any, layer).unmerge()
            base.weight.data.copy_(weight)  # what is added and taken away again is not quite the same


def set_active(model: PeftModel, names: Sequence[str]) -> None:
    """Choose the adapters that take part in the forward pass. Only an active task adapter is trainable."""
    unknown = [name for name in names if name not in model.peft_config]
    if unknown:
        raise UsageError(f"no adapter {unknown[0]!r} on the model: it has {', '.join(model.peft_config)}")
    cast(LoraModel, model.base_model).set_adapter(list(names))
    for adapter in model.peft_config:
        for layer in _layers(model, adapter).values():
            for matrix in _matrices(layer, adapter):
                matrix.requires_grad_(adapter == TASK and adapter in names)


def _config(rank: int, alpha: float, names: list[str]) -> LoraConfig:
    any_alpha: Any = alpha  # peft declares an int, any number serves
    return LoraConfig(r=rank, lora_alpha=any_alpha, target_modules=names, lora_dropout=0.0, bias="none")


def _layers(model: PeftModel, adapter: str) -> dict[str, LoraLayer]:
    """The wrapped layers that carry `adapter`, by name, in the backbone's order."""
    layers = {
        name: module
        for name, module in backbone(model).named_modules()
        if isinstance(module, LoraLayer) and adapter in module.lora_A
    }
    if not layers:
        raise UsageError(f"no adapter {adapter!r} on the model: it has {', '.join(model.peft_config)}")
    return layers


def _matrices(layer: LoraLayer, adapter: str) -> tuple[nn.Parameter, nn.Parameter]:
    """A and B of one layer."""
    rows, columns = layer.lora_A[adapter].weight, layer.lora_B[adapter].weight
    return cast(nn.Parameter, rows), cast(nn.Parameter, columns)


def _linear(vit: VisionTransformer, name: str) -> nn.Linear:
    """The linear layer of that name, below its wrapping if it has one."""
    try:
        module = vit.get_submodule(name)
    except AttributeError as error:
        raise UsageError(
            f"the backbone has no module {name!r}: LoRA targets are {', '.join(DEFAULT_TARGETS)}"
        ) from error
    if isinstance(module, LoraLayer):
        module = module.get_base_layer()
    if not isinstance(module, nn.Linear):
        raise UsageError(f"LoRA target {name!r} is a {type(module).__name__}, not a linear layer")
    return module


def _check_state(vit: VisionTransformer, state: Mapping[str, tuple[Tensor, Tensor]]) -> set[int]:
    """Does the state fit the backbone? Returns its ranks."""
    if not state:
        raise UsageError("the adapter state is empty")
    ranks = set()
    for name, (rows, columns) in state.items():
        linear = _linear(vit, name)
        if not name.startswith("blocks.") or rows.ndim != 2 or columns.ndim != 2 or rows.shape[0] != columns.shape[1]:
            raise UsageError(f"adapter state {name}: expected A (rank, d_in) and B (d_out, rank)")
        if (columns.shape[0], rows.shape[1]) != (linear.out_features, linear.in_features):
            raise UsageError(
                f"adapter state {name} makes a change of {columns.shape[0]}x{rows.shape[1]}, "
                f"the layer is {linear.out_features}x{linear.in_features}"
            )
        if not bool(rows.isfinite().all() and columns.isfinite().all()):
            raise UsageError(f"adapter state {name} is not finite: train the adapter with a smaller learning rate")
        ranks.add(rows.shape[0])
    return ranks


def _block(name: str) -> int:
    return int(name.split(".")[1])


def _copy(parameter: Tensor) -> Tensor:
    return parameter.detach().to("cpu", torch.float32, copy=True).contiguous()
