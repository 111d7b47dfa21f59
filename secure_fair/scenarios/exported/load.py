"""Loads the model of this folder with torch, timm and peft, and predicts pictures: python load.py PICTURE ..."""

from __future__ import annotations

import csv
import hashlib
import json
import sys
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image, ImageOps
from safetensors.torch import load_file
from torch import Tensor, nn

try:
    import torchvision  # noqa: F401 (by timm)
except RuntimeError:  # it was built for another torch, and looks for operators that timm has no use for
    for operator in ("nms", "qnms"):
        torch.library.define(f"torchvision::{operator}", "(Tensor dets, Tensor scores, float iou_threshold) -> Tensor")

import timm  # isort: skip
from peft import PeftModel  # isort: skip

HERE = Path(__file__).resolve().parent
MODEL: dict[str, Any] = json.loads((HERE / "model.json").read_text())


def load() -> nn.Module:
    """The backbone with its adapter, and the head: pixels (n, 3, S, S) become logits (n, classes)."""
    backbone = MODEL["backbone"]
    weights = HERE / backbone["file"]
    if not weights.is_file():
        raise SystemExit(f"{weights}: is missing; put the backbone's weights there")
    if hashlib.sha256(weights.read_bytes()).hexdigest() != backbone["sha256"]:
        raise SystemExit(
            f"{weights}: is another file than the model was trained on; its SHA-256 must be {backbone['sha256']}"
        )
    vit: Any = timm.create_model(
        backbone["timm"],
        pretrained=True,
        pretrained_cfg_overlay={"file": str(weights), "custom_load": False},
        num_classes=0,
        **backbone["arguments"],
    )
    head = nn.Linear(vit.num_features, len(MODEL["classes"]))
    head.load_state_dict(load_file(HERE / "head.safetensors"))
    return nn.Sequential(PeftModel.from_pretrained(vit, str(HERE / "adapter")), head).eval()


def load_merged() -> nn.Module:
    """The same from merged.safetensors, if there is one: a timm model like any other, with adapter and head in it."""
    backbone = MODEL["backbone"]
    vit: nn.Module = timm.create_model(backbone["timm"], num_classes=len(MODEL["classes"]), **backbone["arguments"])
    vit.load_state_dict(load_file(HERE / "merged.safetensors"))
    return vit.eval()


def pixels(file: str | Path) -> Tensor:
    """A picture as the model was trained on them: upright, short side resized, centre cropped, normalised."""
    how = MODEL["preprocessing"]
    side = how["size"]
    with Image.open(file, formats=("JPEG", "PNG", "WEBP")) as image:
        image.draft("RGB", (2 * side, 2 * side))
        upright = ImageOps.exif_transpose(image).convert("RGB")
    cropped = np.asarray(ImageOps.fit(upright, (side, side), Image.Resampling.BILINEAR), dtype=np.float32)
    normalised = (cropped / 255 - np.array(how["mean"])) / np.array(how["std"])
    return torch.from_numpy(normalised.astype(np.float32)).permute(2, 0, 1)


def main(files: list[str]) -> None:
    """Print, as CSV, the class of each picture and the probability of each class."""
    if not files:
        raise SystemExit(__doc__)
    model, classes = load(), MODEL["classes"]
    lines = csv.writer(sys.stdout, lineterminator="\n")
    lines.writerow(["record", "prediction", *(f"probability_{name}" for name in classes)])
    for file in files:
        with torch.no_grad():
            (found,) = model(pixels(file)[None]).softmax(1).tolist()
        lines.writerow([file, classes[found.index(max(found))], *(f"{value:.6f}" for value in found)])


if __name__ == "__main__":
    main(sys.argv[1:])
