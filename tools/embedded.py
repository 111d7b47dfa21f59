"""Trains the small vision transformer that ships with the package: `python -m tools.embedded` from a checkout.

It stands for what a pretrained backbone is in practice: features that carry much about a face without having been
trained on a user's task. On drawn portraits of its own it learns eight attributes and the continuous traits that
portraits are drawn from. It sees no label of `KEPT_FOR_USERS`, though these move some of the traits.

A transformer learns little from few pictures, a convolutional network much more: so a small one is trained first, and
the transformer learns from it as well, patch by patch and picture by picture (Touvron et al. 2021, arXiv 2012.12877).
All of it takes one core about ten minutes.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
import torch
from safetensors.torch import save_file
from torch import Tensor, nn
from torch.nn import functional

import secure_fair.compat  # noqa: F401
from secure_fair.data import faces
from secure_fair.data.face_traits import draw_traits
from secure_fair.learning.backbone import EMBEDDED_ARCHITECTURE, EMBEDDED_IMAGE_SIZE, EMBEDDED_NAME, EMBEDDED_PATH
from secure_fair.learning.prefix import choose_attention, fast_dtype

from timm.layers import build_sincos2d_pos_embed  # isort: skip
from timm.models.vision_transformer import VisionTransformer  # isort: skip

KEPT_FOR_USERS = ("male", "smiling", "wavy_hair")
TASKS = tuple(name for name in faces.ATTRIBUTES if name not in KEPT_FOR_USERS)
TRAITS = (
    *("face_width", "face_height", "jaw", "chin", "neck", "volume", "hair_length", "hairline", "hair_tone", "wave"),
    *("brow_thickness", "brow_height", "eye_size", "nose_width", "nose_length", "lip_fullness", "lip_colour"),
    *("mouth_width", "mouth_curve", "mouth_open", "wrinkles", "tone", "shift_x", "shift_y", "scale", "roll", "yaw"),
    *("light", "light_x"),
)
GRID = EMBEDDED_IMAGE_SIZE // 8  # patches a side, and cells a side of the teacher's map


@dataclass(frozen=True)
class Pretraining:
    """Everything the weights depend on, beside the code."""

    portraits: int = 20_000
    held_out: int = 2_000
    teacher_epochs: int = 4
    epochs: int = 6
    learning_rate: float = 3e-3  # AdamW, of the teacher and of the student's vectors, embeddings and heads
    matrix_learning_rate: float = 7e-3  # Muon, of the matrices of the student's blocks
    batch_size: int = 64
    weight_decay: float = 0.05
    seed: int = 7_300_411  # portraits are drawn from seed and seed + 1, far from those of scenarios


@dataclass(frozen=True)
class Portraits:
    """Pictures uint8 (n, H, W, 3), codes (n,) per task, traits (n, len(TRAITS)) with mean 0 and variance 1."""

    pictures: Tensor
    codes: Mapping[str, Tensor]
    traits: Tensor


class Residual(nn.Module):
    """Two 3x3 convolutions and a way around them (He et al. 2015); the first one may halve the picture."""

    def __init__(self, before: int, after: int, stride: int) -> None:
        super().__init__()
        self.main = nn.Sequential(
            *(nn.Conv2d(before, after, 3, stride, 1, bias=False), nn.BatchNorm2d(after), nn.ReLU()),
            *(nn.Conv2d(after, after, 3, 1, 1, bias=False), nn.BatchNorm2d(after)),
        )
        self.around = nn.Conv2d(before, after, 1, stride, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        return functional.relu(self.main(x) + self.around(x))


class Heads(nn.Module):
    """Linear readings of pooled features: logits per task, and the traits."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.tasks = nn.ModuleDict({task: nn.Linear(width, len(faces.ATTRIBUTES[task])) for task in TASKS})
        self.traits = nn.Linear(width, len(TRAITS))

    def loss(self, features: Tensor, portraits: Portraits, batch: Tensor) -> Tensor:
        """Cross-entropy summed over the tasks, and squared error summed over the traits."""
        loss = len(TRAITS) * functional.mse_loss(self.traits(features), portraits.traits[batch])
        for task, head in self.tasks.items():
            loss = loss + functional.cross_entropy(head(features), portraits.codes[task][batch])
        return loss


class Teacher(nn.Module):
    """A small convolutional network."""

    cell_width, width = 128, 192

    def __init__(self) -> None:
        super().__init__()
        self.cells = nn.Sequential(
            *(nn.Conv2d(3, 24, 4, 2, 1, bias=False), nn.BatchNorm2d(24), nn.ReLU()),
            *(Residual(24, 48, 2), Residual(48, self.cell_width, 2)),
        )
        self.last = Residual(self.cell_width, self.width, 2)
        self.heads = Heads(self.width)

    def forward(self, pixels: Tensor) -> tuple[Tensor, Tensor]:
        """A map (B, GRID * GRID, cell_width) and pooled features (B, width)."""
        cells = self.cells(pixels.contiguous(memory_format=torch.channels_last))
        return cells.flatten(2).transpose(1, 2), self.last(cells).mean((2, 3))


class Student(nn.Module):
    """The backbone, its readings, and linear maps onto the teacher's cells and features."""

    def __init__(self) -> None:
        super().__init__()
        self.vit = VisionTransformer(num_classes=0, **EMBEDDED_ARCHITECTURE)
        # neighbours are alike from the start, so that attention need not find out where each patch is
        positions = build_sincos2d_pos_embed([GRID, GRID], dim=self.vit.embed_dim, temperature=100.0)
        self.vit.pos_embed = nn.Parameter(0.5 * positions.unsqueeze(0))
        choose_attention(self.vit, "cpu", GRID**2)
        self.heads = Heads(self.vit.embed_dim)
        self.cells = nn.Sequential(nn.LayerNorm(self.vit.embed_dim), nn.Linear(self.vit.embed_dim, Teacher.cell_width))
        self.features = nn.Linear(self.vit.embed_dim, Teacher.width)

    def forward(self, pixels: Tensor) -> tuple[Tensor, Tensor]:
        """Tokens of the patches (B, GRID * GRID, d) and pooled features (B, d)."""
        tokens = self.vit.forward_features(pixels)
        return tokens[:, self.vit.num_prefix_tokens :], self.vit.forward_head(tokens, pre_logits=True)


def draw(n: int, seed: int) -> Portraits:
    """Draw portraits together with the traits behind them."""
    pictures, codes = faces.draw(n, seed, size=EMBEDDED_IMAGE_SIZE)
    drawn = draw_traits(n, seed, codes)  # nobody but this script has a use for what is behind a portrait
    traits = torch.from_numpy(np.stack([drawn[name] for name in TRAITS], axis=1)).float()
    return Portraits(
        torch.from_numpy(pictures),
        {task: torch.from_numpy(codes[task]) for task in TASKS},
        (traits - traits.mean(0)) / traits.std(0),
    )


def train_teacher(portraits: Portraits, settings: Pretraining) -> Teacher:
    """The convolutional network on tasks and traits."""
    teacher = Teacher()
    optimiser = torch.optim.AdamW(teacher.parameters(), settings.learning_rate, weight_decay=settings.weight_decay)

    def loss(batch: Tensor) -> Tensor:
        with _autocast():
            _, features = teacher(_pixels(portraits.pictures[batch]))
        return teacher.heads.loss(features.float(), portraits, batch)

    _optimise("teacher", loss, [optimiser], len(portraits.pictures), settings.teacher_epochs, settings.batch_size)
    return teacher.eval()


def train_student(portraits: Portraits, teacher: Teacher, settings: Pretraining) -> Student:
    """The transformer on tasks, traits and what the teacher makes of each patch and of the picture."""
    student = Student()
    # Muon (Jordan et al. 2024) gets as far in half the steps; it is for the matrices of hidden layers only
    matrices = [parameter for parameter in student.vit.blocks.parameters() if parameter.ndim == 2]
    others = [parameter for parameter in student.parameters() if all(parameter is not matrix for matrix in matrices)]
    optimisers = [
        torch.optim.AdamW(others, settings.learning_rate, weight_decay=settings.weight_decay),
        torch.optim.Muon(
            matrices,
            settings.matrix_learning_rate,
            weight_decay=settings.weight_decay,
            adjust_lr_fn="match_rms_adamw",
        ),
    ]
    scales = _scales(teacher, portraits)

    def loss(batch: Tensor) -> Tensor:
        pixels = _pixels(portraits.pictures[batch])
        with torch.no_grad(), _autocast():
            taught = teacher(pixels)
        with _autocast():
            tokens, features = student(pixels)
            learned = student.cells(tokens), student.features(features)
        loss = student.heads.loss(features.float(), portraits, batch)
        for mine, theirs, (mean, deviation) in zip(learned, taught, scales, strict=True):
            goal = (theirs.float() - mean) / deviation
            loss = loss + len(TRAITS) * functional.mse_loss(mine.float(), goal)
        return loss

    _optimise("student", loss, optimisers, len(portraits.pictures), settings.epochs, settings.batch_size)
    return student.eval()


def pretrain(settings: Pretraining) -> tuple[VisionTransformer, dict[str, float]]:
    """Train from nothing. Returns the backbone and what its heads reach on held-out portraits: balanced accuracy per
    task, and the part of each trait's variance that is explained. Prints a line per epoch to stderr."""
    torch.manual_seed(settings.seed)
    portraits = draw(settings.portraits, settings.seed)
    teacher = train_teacher(portraits, settings)
    student = train_student(portraits, teacher, settings)
    return student.vit, score(student, draw(settings.held_out, settings.seed + 1))


@torch.no_grad()
def score(model: Teacher | Student, portraits: Portraits) -> dict[str, float]:
    """Balanced accuracy per task, and the explained part of each trait's variance."""
    batches = torch.arange(len(portraits.pictures)).split(256)
    features = torch.cat([model(_pixels(portraits.pictures[batch]))[1] for batch in batches])
    scores = {}
    for task, head in model.heads.tasks.items():
        codes = portraits.codes[task]
        right = (head(features).argmax(1) == codes).float()
        scores[task] = float(np.mean([float(right[codes == group].mean()) for group in codes.unique()]))
    errors = (model.heads.traits(features) - portraits.traits).square().mean(0)
    return scores | {f"trait {name}": 1 - float(error) for name, error in zip(TRAITS, errors, strict=True)}


def save(vit: VisionTransformer, settings: Pretraining, scores: Mapping[str, float], path: Path) -> None:
    """Write the weights in half precision, with what they were made from and how good they are as metadata."""
    first, _ = faces.draw(16, settings.seed, size=EMBEDDED_IMAGE_SIZE)
    metadata = {
        "name": EMBEDDED_NAME,
        "made_by": "python -m tools.embedded",
        "architecture": json.dumps(dict(EMBEDDED_ARCHITECTURE)),
        "settings": json.dumps(asdict(settings)),
        "tasks": json.dumps(TASKS),
        "traits": json.dumps(TRAITS),
        "held_out_scores": json.dumps({name: round(value, 4) for name, value in scores.items()}),
        "first_portraits_sha256": hashlib.sha256(first.tobytes()).hexdigest(),
    }
    path.parent.mkdir(parents=True, exist_ok=True)
    save_file({key: value.half().contiguous() for key, value in vit.state_dict().items()}, path, metadata)


def main(arguments: Sequence[str] | None = None) -> None:
    """Train and write the weights."""
    parser = argparse.ArgumentParser(prog="python -m tools.embedded", description=__doc__)
    parser.add_argument("--output", type=Path, default=EMBEDDED_PATH, help="default: the package's own file")
    options = parser.parse_args(arguments)
    settings = Pretraining()
    vit, scores = pretrain(settings)
    save(vit, settings, scores, options.output)
    print(json.dumps({name: round(value, 4) for name, value in scores.items()}, indent=1))


def _optimise(
    what: str,
    loss: Callable[[Tensor], Tensor],
    optimisers: Sequence[torch.optim.Optimizer],
    total: int,
    epochs: int,
    batch_size: int,
) -> None:
    """Minimise `loss` of batches of indices below `total`; learning rates warm up and decay as a cosine."""
    steps = total // batch_size
    schedules = [
        torch.optim.lr_scheduler.OneCycleLR(
            optimiser, optimiser.defaults["lr"], total_steps=epochs * steps, pct_start=0.1, cycle_momentum=False
        )
        for optimiser in optimisers
    ]
    for epoch in range(epochs):
        begun, running = time.monotonic(), 0.0
        for batch in torch.randperm(total)[: steps * batch_size].split(batch_size):
            value = loss(batch)
            for optimiser in optimisers:
                optimiser.zero_grad()
            value.backward()
            for optimiser, schedule in zip(optimisers, schedules, strict=True):
                nn.utils.clip_grad_norm_([p for group in optimiser.param_groups for p in group["params"]], 5.0)
                optimiser.step()
                schedule.step()
            running += value.item() / steps
        seconds = time.monotonic() - begun
        print(
            f"{what}, epoch {epoch + 1} of {epochs}: loss {running:.2f}, {seconds:.0f} s", file=sys.stderr, flush=True
        )


@torch.no_grad()
def _scales(teacher: Teacher, portraits: Portraits) -> list[tuple[Tensor, Tensor]]:
    """Mean and deviation of each channel of the teacher's cells and of its features."""
    cells, features = teacher(_pixels(portraits.pictures[:512]))
    return [(x.mean(0), x.std(0) + 1e-3) for x in (cells.flatten(0, 1), features)]


def _pixels(pictures: Tensor) -> Tensor:
    """(B, 3, H, W) in [-1, 1], as the backbone's normalisation makes them."""
    return pictures.permute(0, 3, 1, 2).float() / 127.5 - 1


def _autocast() -> torch.autocast:
    return torch.autocast("cpu", torch.bfloat16, enabled=fast_dtype("cpu") == torch.bfloat16)


if __name__ == "__main__":
    main()
