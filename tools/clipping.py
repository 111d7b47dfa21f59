"""Costs of clipping every record's gradient in DP-SGD of an adapter: per-record gradients against ghost clipping.

From a checkout, `python -m tools.clipping --out docs/dpsgd.md` measures and writes the page; `--case` measures one row.
"""

from __future__ import annotations

import argparse
import json
import os
import resource
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path
from statistics import median
from typing import Any, cast

import torch
from opacus.grad_sample import GradSampleHooks, GradSampleHooksFastGradientClipping
from opacus.optimizers import DPOptimizer, DPOptimizerFastGradientClipping
from opacus.utils.fast_gradient_clipping_utils import DPTensorFastGradientClipping
from torch import Tensor, nn
from torch.nn import functional

import secure_fair.compat  # noqa: F401
from secure_fair.bench.report import machine
from secure_fair.learning.lora import adapt
from secure_fair.learning.train import Classifier
from secure_fair.report.tables import Table

import timm  # isort: skip
from timm.models.vision_transformer import VisionTransformer  # isort: skip

CLIP = 1.0
OPTIONS: dict[str, Any] = {"noise_multiplier": 0.0, "expected_batch_size": None, "loss_reduction": "sum"}
RANK = 8
STEPS = 3  # timed, after one that is not

PAGE = """# DP-SGD of a sensitive adapter: how records' gradients are clipped

Made by `python -m tools.clipping --out docs/dpsgd.md`; run it again to measure your machine.

An auditor that trains its adapter with differential privacy clips the gradient of every record. Two ways lead to
the same sum (they agree to float32 rounding, `tests/tools/test_clipping.py`): keep all records' gradients until
their norms are known (Opacus' hooks), or find the norms first and go backward a second time with weighted losses
(*ghost clipping*).

{table}

Rank {rank} on `attn.qkv`, `attn.proj`, `mlp.fc1`, `mlp.fc2`, float32, random weights; every row is a process of its
own with one thread. {machine}.

- **batch**: records in memory at once; a larger batch is made of such parts.
- **MB**: peak resident memory above what program, model and inputs take.
- **ms**: processor time a record, median of {steps} steps to the clipped sum.
- **none**: an ordinary gradient, not clipped: what the other two ways are to be compared with.

**secure_fair keeps the records' gradients.** An adapter of rank r has r (d_in + d_out) numbers a layer where the layer
itself has d_in d_out: few beside the activations that either way keeps for the backward pass, and beside the products
of all pairs of tokens from which ghost clipping has its norms; and that pays with a second backward pass. Where memory
is short, smaller parts help both ways, and cost
nothing in accuracy or privacy (`physical_batch` of `secure_fair/privacy/dpsgd.py`: 64).
"""


@dataclass(frozen=True)
class ClippingCase:
    """A backbone, the size of its pictures, how many of its last blocks are adapted, and records at once."""

    backbone: str
    image_size: int
    blocks: int
    batch: int
    way: str


@dataclass(frozen=True)
class ClippingRow:
    """Cost of a case: bytes at the peak above the model, processor seconds a step."""

    case: ClippingCase
    bytes: int
    seconds: float


def cases() -> list[ClippingCase]:
    """The rows of the page."""
    sizes = [("deit_tiny_patch16_224", 112, 4, batch) for batch in (64, 256, 1024)]
    sizes += [("vit_base_patch16_224", 224, 12, batch) for batch in (4, 16)]
    return [ClippingCase(*size, way) for size in sizes for way in WAYS]


# --- the ways: each leaves the sum of clipped gradients ---


def per_record(model: nn.Module, loss_of: Callable[[], Tensor]) -> list[Tensor]:
    """Every record's gradient at once, as ``secure_fair.privacy.dpsgd`` does it; ``loss_of``: losses (B,)."""
    parameters, hooks = _trainable(model), GradSampleHooks(model, loss_reduction="sum")
    optimizer = DPOptimizer(torch.optim.SGD(parameters, lr=0.0), max_grad_norm=CLIP, **OPTIONS)
    loss_of().sum().backward()
    optimizer.clip_and_accumulate()
    hooks.remove_hooks()
    return [parameter.summed_grad for parameter in parameters]  # type: ignore[attr-defined]


def ghost(model: nn.Module, loss_of: Callable[[], Tensor]) -> list[Tensor]:
    """Norms in a first backward pass, weighted losses in a second."""
    parameters = _trainable(model)
    hooks = GradSampleHooksFastGradientClipping(model, loss_reduction="sum", max_grad_norm=CLIP)
    optimizer = DPOptimizerFastGradientClipping(torch.optim.SGD(parameters, lr=0.0), max_grad_norm=CLIP, **OPTIONS)
    DPTensorFastGradientClipping(hooks, optimizer, loss_of(), loss_reduction="sum").backward()
    optimizer.accumulate()
    hooks.remove_hooks()
    return [parameter.summed_grad for parameter in parameters]  # type: ignore[attr-defined]


def none(model: nn.Module, loss_of: Callable[[], Tensor]) -> list[Tensor]:
    """No clipping."""
    parameters = _trainable(model)
    loss_of().sum().backward()
    return [parameter.grad for parameter in parameters if parameter.grad is not None]


WAYS = {"per record": per_record, "ghost": ghost, "none": none}


# --- measuring ---


def problem(case: ClippingCase) -> tuple[Classifier, Tensor, Tensor]:
    """An adapted classifier with random weights, tokens and labels."""
    torch.manual_seed(0)
    vit = cast(
        VisionTransformer, timm.create_model(case.backbone, pretrained=False, num_classes=0, img_size=case.image_size)
    )
    adapted = adapt(vit.eval().requires_grad_(False), RANK, 2.0 * RANK, last_blocks=case.blocks)
    model = Classifier(adapted, vit.num_features, 2, seed=0).train()
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            if "lora_B" in name:
                parameter.normal_(0, 0.02)
    tokens = vit.patch_embed.num_patches + vit.num_prefix_tokens
    return model, torch.randn(case.batch, tokens, vit.embed_dim), torch.arange(case.batch) % 2


def clipped(case: ClippingCase) -> list[Tensor]:
    """The sum of gradients of one step."""
    model, tokens, labels = problem(case)
    return _step(case.way, model, tokens, labels)


def perform(case: ClippingCase) -> ClippingRow:
    """Measure a case in this process, which should have done nothing else."""
    model, tokens, labels = problem(case)
    before, seconds = _peak(), []
    for _ in range(1 + STEPS):
        began = time.process_time()  # of one thread, so that other work on the machine matters less
        _step(case.way, model, tokens, labels)
        seconds.append(time.process_time() - began)
    return ClippingRow(case, _peak() - before, median(seconds[1:]))


def measure(case: ClippingCase) -> ClippingRow:
    """Measure a case in a fresh process of one thread."""
    command = [sys.executable, "-m", "tools.clipping", "--case", json.dumps(asdict(case))]
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "PYTHONWARNINGS": "ignore"}
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    if done.returncode:
        raise RuntimeError(f"{case}: ended with {done.returncode}: {done.stderr[-2000:]}")
    found = json.loads(done.stdout)
    return ClippingRow(case, found["bytes"], found["seconds"])


def page(rows: list[ClippingRow]) -> str:
    """The rows as a page."""
    lines = [
        (
            f"{row.case.backbone}, {row.case.image_size} px, last {row.case.blocks} blocks",
            str(row.case.batch),
            row.case.way,
            f"{row.bytes / 1e6:.0f}",
            f"{1000 * row.seconds / row.case.batch:.1f}",
        )
        for row in rows
    ]
    table = Table(("model", "batch", "clipping", "MB", "ms"), tuple(lines)).markdown()
    return PAGE.format(table=table, rank=RANK, machine=machine(), steps=STEPS)


def _step(way: str, model: nn.Module, tokens: Tensor, labels: Tensor) -> list[Tensor]:
    def losses() -> Tensor:
        return functional.cross_entropy(model(tokens)[1], labels, reduction="none")

    try:
        return WAYS[way](model, losses)
    finally:
        for parameter in _trainable(model):
            parameter.grad = None
            for name in ("grad_sample", "summed_grad", "_norm_sample", "_forward_counter", "_current_grad_sample"):
                if hasattr(parameter, name):
                    delattr(parameter, name)


def _trainable(model: nn.Module) -> list[nn.Parameter]:
    return [parameter for parameter in model.parameters() if parameter.requires_grad]


def _peak() -> int:
    """Bytes of this process at their most so far."""
    unit = 1 if sys.platform == "darwin" else 1024
    return unit * resource.getrusage(resource.RUSAGE_SELF).ru_maxrss


def main() -> None:
    """Measure all rows, or one in this process."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--case", help="one row as JSON, measured in this process; the result is JSON")
    parser.add_argument("--out", type=Path, help="the page to write; stdout by default")
    given = parser.parse_args()
    if given.case:
        found = perform(ClippingCase(**json.loads(given.case)))
        print(json.dumps({"bytes": found.bytes, "seconds": found.seconds}))
        return
    rows = []
    for case in cases():
        rows.append(measure(case))
        print(f"measured {rows[-1]}", file=sys.stderr, flush=True)
    text = page(rows)
    if given.out:
        given.out.write_text(text)
    else:
        print(text, end="")


if __name__ == "__main__":
    main()
