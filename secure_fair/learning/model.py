"""From settings to a classifier: backbone, adapters, head, and the cached tokens that it is trained on."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from secure_fair.files import atomic_write
from secure_fair.learning.backbone import load_backbone
from secure_fair.learning.lora import adapt
from secure_fair.learning.prefix import fast_dtype, first_block, frozen_prefix, suffix
from secure_fair.learning.settings import ModelSettings, TrainingLoop
from secure_fair.learning.train import Classifier, TrainSettings

FEATURE_BATCH = 256  # pictures


def choose_device(name: str) -> torch.device:
    """ "auto" is the GPU where there is one."""
    if name == "auto":
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    return torch.device(name)


def choose_dtype(precision: str, device: torch.device) -> torch.dtype:
    """Autocast type: "auto" is bfloat16 where the device is fast at it."""
    match precision:
        case "fp32":
            return torch.float32
        case "bf16":
            return torch.bfloat16
    return fast_dtype(device)


def train_settings(train: TrainingLoop, seed: int) -> TrainSettings:
    """The training settings on this machine's device."""
    device = choose_device(train.device)
    dtype = choose_dtype(train.precision, device)
    return TrainSettings(**train.model_dump(exclude={"device", "precision"}), seed=seed, dtype=dtype, device=device)


def make_classifier(
    settings: ModelSettings, classes: int, seed: int, device: torch.device, features: int = 0
) -> Classifier:
    """A fresh classifier; two calls with one seed give the same parameters.

    ``features``: how many a table has, where the backbone is the identity: the classifier is then a linear head.
    """
    if settings.identity:
        return Classifier(None, features, classes, seed).to(device)
    vit = load_backbone(settings.backbone.name, settings.backbone.weights, settings.image_size)
    lora = settings.lora
    width = vit.num_features
    adapted = adapt(vit, lora.rank, lora.alpha, lora.targets, lora.last_blocks, seed)
    return Classifier(adapted, width, classes, seed).to(device)


def cached_tokens(
    settings: ModelSettings,
    inputs: np.ndarray,
    cache: Path,
    dtype: torch.dtype,
    device: torch.device,
    progress: Callable[[int, int], None],
) -> Tensor:
    """Tokens (N, T, d) that enter the first adapted block, computed once and kept in ``cache`` for these pictures.

    The rows of a table (N, d) are the features themselves: nothing is computed, and nothing kept.
    """
    if settings.identity:
        return torch.from_numpy(np.array(inputs))
    file = tokens_file(settings, inputs, cache, dtype)
    if file.is_file():
        return torch.load(file, weights_only=True, mmap=True)
    vit = load_backbone(settings.backbone.name, settings.backbone.weights, settings.image_size).to(device)
    tokens = frozen_prefix(
        vit, inputs, settings.lora.last_blocks, batch_size=128, dtype=dtype, device=device, progress=progress
    ).cpu()
    keep_tokens(tokens, file)
    return tokens


def tokens_file(settings: ModelSettings, pictures: np.ndarray, cache: Path, dtype: torch.dtype) -> Path:
    """Where ``cached_tokens`` keeps the tokens of these pictures: the name covers all that they depend on."""
    weights = settings.backbone.weights
    facts = {
        "backbone": settings.backbone.name,
        "weights": hashlib.sha256(Path(weights).read_bytes()).hexdigest() if Path(weights).is_file() else weights,
        "image_size": settings.image_size,
        "last_blocks": settings.lora.last_blocks,
        "dtype": str(dtype),
        "pictures": hashlib.sha256(pictures.tobytes()).hexdigest(),
    }
    return cache / f"tokens-{hashlib.sha256(json.dumps(facts, sort_keys=True).encode()).hexdigest()[:16]}.pt"


def pooled_features(
    settings: ModelSettings,
    pictures: np.ndarray,
    cache: Path,
    device: torch.device,
    progress: Callable[[int, int], None],
) -> Tensor:
    """Pooled features (N, d), float32, of the backbone as it is, computed once and kept in ``cache``."""
    last = replace(settings, lora=settings.lora.model_copy(update={"last_blocks": 1}))
    tokens_kept = tokens_file(last, pictures, cache, torch.float32)
    file = tokens_kept.with_name(tokens_kept.name.replace("tokens", "features"))
    if file.is_file():
        return torch.load(file, weights_only=True)
    vit = load_backbone(settings.backbone.name, settings.backbone.weights, settings.image_size).to(device)
    tokens = frozen_prefix(vit, pictures, 1, device=device, progress=progress)
    with torch.inference_mode():
        found = [suffix(vit, part.to(device), first_block(vit, 1)).cpu() for part in tokens.split(FEATURE_BATCH)]
    features = torch.cat(found)
    keep_tokens(features, file)
    return features


def keep_tokens(tokens: Tensor, file: Path) -> None:
    """Write tokens so that the file appears whole."""
    file.parent.mkdir(parents=True, exist_ok=True)
    with atomic_write(file) as partial:
        torch.save(tokens, partial)
