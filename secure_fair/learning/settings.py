"""The settings of model, training and method, which a scenario embeds as they are.

timm and peft take seconds to import; nothing here does, for the dealer has no use for them, and an auditor only where
it trains on pictures of its own.
"""

from __future__ import annotations

import pkgutil
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Literal

from pydantic import Field

from secure_fair.sections import Count, NotNegative, Positive, Section, among

EMBEDDED_BACKBONE = "secure_fair_faces"
EMBEDDED_PATCH, EMBEDDED_DEPTH = 8, 6  # pixels a patch's side has, and blocks
IDENTITY_BACKBONE = "identity"  # of a table, whose columns are the features
# every file there is a method; their names alone are read here
METHOD_NAMES = tuple(module.name for module in pkgutil.iter_modules([str(Path(__file__).parent / "methods")]))
MethodName = Annotated[str, among(METHOD_NAMES)]
Targets = tuple[Literal["attn.qkv", "attn.proj", "mlp.fc1", "mlp.fc2"], ...]


class Backbone(Section):
    """The vision transformer under the adapter; a table has none."""

    name: Annotated[str, Field(min_length=1)] = EMBEDDED_BACKBONE
    """A timm vision transformer, or the small one that comes with the program; "identity" for a table, whose columns
    are the features, and of which only the linear head is trained (then the default)."""
    weights: Annotated[str, Field(min_length=1)] = "embedded"
    """"embedded" (for the small one alone), "timm" (a download), or a file (safetensors or pth, timm's key names)."""


class Lora(Section):
    """The low-rank adapter."""

    rank: Annotated[int, Field(ge=1, le=256)] = 8
    """Rank of each matrix pair."""
    alpha: Positive = 16.0
    """Scale of the adapter: alpha / rank."""
    targets: Annotated[Targets, Field(strict=False, min_length=1)] = ("attn.qkv", "attn.proj", "mlp.fc1", "mlp.fc2")
    """Linear layers of a block that are adapted."""
    last_blocks: Count | None = None
    """Only so many last blocks are adapted, and the rest is computed once; without it every block is."""


class TrainingLoop(Section):
    """The developer's training loop."""

    epochs: Count = 4
    """Passes over all training records."""
    batch_size: Annotated[int, Field(ge=2)] = 64
    """Records in a batch, or slightly more: all batches are alike."""
    learning_rate: Positive = 1e-3
    """AdamW's, at its highest."""
    weight_decay: NotNegative = 0.01
    """AdamW's."""
    warmup: Annotated[float, Field(ge=0, lt=1)] = 0.05
    """Fraction of all steps over which the learning rate rises."""
    validation: Annotated[float, Field(ge=0, lt=0.5)] = 0.0
    """Part of the training records that nothing is fitted to: by them a choice is made after training
    (method.accuracy_loss). Their attributes take part in releases as others' do."""
    precision: Literal["auto", "fp32", "bf16"] = "auto"
    """Autocast: "auto" is bfloat16 where the device is fast at it."""
    device: Literal["auto", "cpu", "cuda"] = "auto"
    """"auto" is the GPU where there is one."""


class MethodSettings(Section):
    """How the attribute enters the training."""

    name: MethodName = "parity"
    """The method."""
    release: str | None = None
    """In which form attributes reach it; without it the method's first, or its default with noise."""
    strength: NotNegative = 2.0
    """Weight of the penalty (for unl: of the subtracted adapter)."""
    components: Annotated[int, Field(ge=1, le=4096)] | None = None
    """moments: columns of the query; histogram: its cells, in each class where the method asks by class; without it
    16, or as few as stand out from the planned noise."""
    ramp: NotNegative = 1.0
    """Epochs over which the strength rises from 0."""
    target_gap: Annotated[float, Field(gt=0, lt=1)] | None = None
    """The strength is adjusted during training, or taken from posthoc's path, until the released gap is about this."""
    accuracy_loss: Annotated[float, Field(gt=0, lt=1)] | None = None
    """posthoc: the strongest correction that costs no more accuracy than this on the validation records (0.02 is two
    points); with a target_gap no more of it than that asks for."""
    sensitive_scale: NotNegative = 0.0
    """orth: the scale at which the sensitive adapter is active in training; 0 is not at all."""
    orthogonality: Literal["predictions", "weights", "rows", "columns", "subspace"] | None = None
    """orth: of predictions to what the sensitive adapter sees, or to its weights: A_t A_s^T as it is, with rows of
    length 1, the columns of B, or the directions that B_s A_s reads most; "weights" for gradients."""
    adversary_features: Literal["frozen", "disclosed"] = "frozen"
    """ent with the auditor's own records: of which features the auditor trains its adversary; "disclosed" gives it the
    developer's adapter at the start of every epoch."""
    attributes: Annotated[tuple[str, ...], Field(strict=False, min_length=1)] | None = None
    """Sensitive attributes and intersections, by name, that the method is to be fair to; without it all."""


@dataclass(frozen=True)
class ModelSettings:
    """Which backbone, where the adapters sit, and the side of the square pictures in pixels."""

    backbone: Backbone
    lora: Lora
    image_size: int

    @property
    def identity(self) -> bool:
        """Whether the inputs are the features already, with nothing to adapt."""
        return self.backbone.name == IDENTITY_BACKBONE


def batches_per_epoch(records: int, batch_size: int) -> int:
    """Batches of ``batch_size`` records or slightly more, all alike: a short last one would be refused by a gate."""
    return max(1, records // batch_size)
