"""Dimensions of a model that follow from its settings, without weights: of features, and of an adapter's matrices."""

from __future__ import annotations

import torch

from secure_fair.learning import lora
from secure_fair.learning.backbone import EMBEDDED_ARCHITECTURE, EMBEDDED_NAME, unloaded
from secure_fair.learning.settings import ModelSettings

Shape = tuple[int, int]


def feature_width(model: ModelSettings) -> int:
    """Numbers of a feature row. UsageError for a backbone that there is not."""
    if model.backbone.name == EMBEDDED_NAME:
        return int(EMBEDDED_ARCHITECTURE["embed_dim"])
    return int(unloaded(model.backbone.name, model.image_size).num_features)


def adapter_shapes(model: ModelSettings) -> dict[str, tuple[Shape, Shape]]:
    """Shapes of A (r, d_in) and B (d_out, r) of each adapted module, in the backbone's order."""
    vit, settings = unloaded(model.backbone.name, model.image_size), model.lora
    with torch.device("meta"):
        adapted = lora.adapt(vit, settings.rank, settings.alpha, settings.targets, settings.last_blocks)
    names = lora.row_matrices(adapted)
    pairs = zip(names, lora.matrices(adapted), strict=True)
    return {name: ((a.shape[0], a.shape[1]), (b.shape[0], b.shape[1])) for name, (a, b) in pairs}
