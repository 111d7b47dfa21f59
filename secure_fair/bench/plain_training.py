"""The same fine-tuning without this program: a plain loop over timm and peft, or Hugging Face's Trainer.

A program of its own: `python -m secure_fair.bench.plain_training loop|trainer PICTURES.npz SETTINGS.json`. It prints
its epochs' seconds and the accuracy over the last epoch's batches as JSON. Pictures are in memory before the first
epoch, attention is not fused where that is slower, and the head starts small, as in this program: each is the peer's
best case.
"""

from __future__ import annotations

import json
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

import numpy as np
import torch
from torch import Tensor, nn
from torch.utils.data import DataLoader, Dataset

import secure_fair.compat  # noqa: F401
from secure_fair.learning.backbone import load_backbone, normalisation
from secure_fair.learning.prefix import choose_attention, fast_dtype, first_block

from peft import LoraConfig, get_peft_model  # isort: skip
from timm.models.vision_transformer import VisionTransformer  # isort: skip


@dataclass(frozen=True)
class LoopSettings:
    """The scenario's, as far as they are a plain loop's."""

    image_size: int
    rank: int
    alpha: float
    targets: tuple[str, ...]
    last_blocks: int
    epochs: int
    batch_size: int
    learning_rate: float
    weight_decay: float
    warmup: float
    seed: int


class Adapted(nn.Module):
    """timm's vision transformer with peft's adapter and a head, as Trainer wants it: pictures and labels to a loss."""

    def __init__(self, settings: LoopSettings, classes: int) -> None:
        super().__init__()
        vit = load_backbone("secure_fair_faces", "embedded", settings.image_size)
        choose_attention(vit, "cpu", vit.patch_embed.num_patches)
        blocks = range(first_block(vit, settings.last_blocks), len(vit.blocks))
        names = [f"blocks.{index}.{target}" for index in blocks for target in settings.targets]
        alpha: Any = settings.alpha  # peft declares an int, any number serves
        lora = LoraConfig(r=settings.rank, lora_alpha=alpha, target_modules=names)
        self.backbone = get_peft_model(cast(Any, vit), lora)
        self.head = nn.Linear(vit.num_features, classes)
        with torch.no_grad():  # a head that starts small learns in fewer steps
            self.head.weight.normal_(0, 0.01)
            self.head.bias.zero_()
        self.right = self.seen = 0

    def forward(self, pictures: Tensor, labels: Tensor) -> dict[str, Tensor]:
        """The mean loss of a batch, and its logits."""
        logits = self.head(self.backbone(pictures))
        self.right += int((logits.argmax(1) == labels).sum())
        self.seen += len(labels)
        return {"loss": nn.functional.cross_entropy(logits.float(), labels), "logits": logits}

    def begin_epoch(self) -> None:
        """Count anew."""
        self.right = self.seen = 0


class Pictures(Dataset[dict[str, Tensor]]):
    """Pictures as the backbone takes them, in memory."""

    def __init__(self, pictures: np.ndarray, labels: np.ndarray, mean: Tensor, std: Tensor) -> None:
        pixels = torch.from_numpy(pictures).permute(0, 3, 1, 2).float() / 255
        self._pixels = ((pixels - mean.view(1, 3, 1, 1)) / std.view(1, 3, 1, 1)).contiguous()
        self._labels = torch.from_numpy(labels)

    def __len__(self) -> int:
        return len(self._labels)

    def __getitem__(self, index: int) -> dict[str, Tensor]:
        return {"pictures": self._pixels[index], "labels": self._labels[index]}


def by_loop(model: Adapted, data: Pictures, settings: LoopSettings) -> list[float]:
    """A plain loop; seconds of each epoch."""
    from transformers import get_cosine_schedule_with_warmup

    trained = [parameter for parameter in model.parameters() if parameter.requires_grad]
    optimiser = torch.optim.AdamW(trained, lr=settings.learning_rate, weight_decay=settings.weight_decay)
    loader = DataLoader(data, settings.batch_size, shuffle=True)
    steps = settings.epochs * len(loader)
    schedule = get_cosine_schedule_with_warmup(optimiser, round(settings.warmup * steps), steps)
    dtype, seconds = fast_dtype("cpu"), []
    for _ in range(settings.epochs):
        began = time.perf_counter()
        model.train()
        model.begin_epoch()
        for batch in loader:
            with torch.autocast("cpu", dtype=torch.bfloat16, enabled=dtype == torch.bfloat16):
                loss = model(**batch)["loss"]
            optimiser.zero_grad(set_to_none=True)
            loss.backward()
            optimiser.step()
            schedule.step()
        seconds.append(time.perf_counter() - began)
    return seconds


def by_trainer(model: Adapted, data: Pictures, settings: LoopSettings) -> list[float]:
    """Hugging Face's Trainer, saving and logging nothing; seconds of each epoch."""
    from transformers import Trainer, TrainerCallback, TrainingArguments

    began, seconds = [0.0], []

    class Clock(TrainerCallback):
        def on_epoch_begin(self, *told: Any, **more: Any) -> None:
            model.begin_epoch()
            began[0] = time.perf_counter()

        def on_epoch_end(self, *told: Any, **more: Any) -> None:
            seconds.append(time.perf_counter() - began[0])

    with tempfile.TemporaryDirectory() as folder:
        arguments = TrainingArguments(
            output_dir=folder,
            num_train_epochs=settings.epochs,
            per_device_train_batch_size=settings.batch_size,
            learning_rate=settings.learning_rate,
            weight_decay=settings.weight_decay,
            lr_scheduler_type="cosine",
            warmup_steps=round(settings.warmup * settings.epochs * -(-len(data) // settings.batch_size)),
            bf16=fast_dtype("cpu") == torch.bfloat16,
            use_cpu=True,
            save_strategy="no",
            logging_strategy="no",
            report_to="none",
            disable_tqdm=True,
            remove_unused_columns=False,
            seed=settings.seed,
        )
        Trainer(model=model, args=arguments, train_dataset=data, callbacks=[Clock()]).train()
    return seconds


PEERS = {"loop": by_loop, "trainer": by_trainer}


def main() -> None:
    """Train once, and print how long each epoch took."""
    peer, pictures, told = sys.argv[1:]
    settings = LoopSettings(**json.loads(Path(told).read_text()))
    torch.manual_seed(settings.seed)
    with np.load(pictures) as held:
        shown, labels = held["pictures"], held["labels"]
    model = Adapted(settings, int(labels.max()) + 1)
    data = Pictures(shown, labels, *normalisation(cast(VisionTransformer, model.backbone.get_base_model())))
    seconds = PEERS[peer](model, data, settings)
    print(json.dumps({"epochs": seconds, "accuracy": model.right / model.seen}))


if __name__ == "__main__":
    main()
