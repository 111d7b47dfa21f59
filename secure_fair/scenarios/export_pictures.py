"""The export of a picture model: weights, preprocessing and classes for a loader of timm and peft, and its check."""

from __future__ import annotations

import hashlib
import json
import shutil
import tempfile
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from safetensors.torch import save_file

from secure_fair.errors import SecureFairError, UsageError
from secure_fair.learning.backbone import EMBEDDED_ARCHITECTURE, EMBEDDED_NAME
from secure_fair.learning.lora import backbone, base_state, merged
from secure_fair.parties.bound import ADAPTER
from secure_fair.parties.pictures import PictureModel
from secure_fair.parties.progress import Progress
from secure_fair.parties.rows import HEAD
from secure_fair.report.card import Exported
from secure_fair.scenarios.exported import LOADER, loaded, write_loader

ABOUT, BACKBONE, MERGED, ONNX = "model.json", "backbone.safetensors", "merged.safetensors", "model.onnx"
FORMAT = 1
LARGEST_COPIED = 64 * 2**20  # bytes of a backbone's weights that are copied unless it is said otherwise
TOLERANCE = 1e-4  # between probabilities of the export and of the run's own model


@dataclass
class PictureExport:
    """A picture model on its way into ``folder``; ``source`` is the developer's own, ``head`` the file of the head.

    ``copied``: whether the backbone's weights are to be in it (None: by their size). ``weights``: the file that is
    named instead, if they are not.
    """

    model: PictureModel
    source: Path
    folder: Path
    copied: bool | None
    head: Path
    weights: Path | None = None
    files: dict[str, str] = field(default_factory=dict)
    uses: list[str] = field(default_factory=list)

    def write(self, report: Progress, *, single: bool, onnx: bool) -> Exported:
        """Write all that is wanted, and compare what was written with the model; what a card says of it.

        ``single``: one file of the merged weights too.
        """
        self._write_parts()
        if onnx:
            report.stage("ONNX: about half a minute")
            self._write_onnx()
        if single:
            self._write_merged()
        report.stage("comparing the export with the run's model")
        self._check()
        about = self.model.about
        name = f"`{about.backbone}`" + (
            ", which comes with secure_fair" if about.backbone == EMBEDDED_NAME else " of timm"
        )
        return Exported(self.model.classes, self.files, self.uses, self.preprocessing, name)

    @property
    def preprocessing(self) -> dict[str, Any]:
        """How a picture becomes the model's input."""
        about = self.model.about
        how = {"size": about.image_size, "resize": "short side, bilinear", "crop": "centre"}
        return {**how, "mean": about.mean, "std": about.std}

    def _write_parts(self) -> None:
        """Write adapter, head and backbone, each by itself, with their loader."""
        shutil.copytree(self.source / ADAPTER, self.folder / ADAPTER)
        shutil.copyfile(self.head, self.folder / HEAD)
        held = self._write_backbone()
        about = {"format": FORMAT, "classes": self.model.classes, "preprocessing": self.preprocessing, "backbone": held}
        text = json.dumps({**about, "run_precision": self.model.about.precision}, indent=1)
        (self.folder / ABOUT).write_text(text + "\n", encoding="utf-8")
        write_loader(self.folder, "load.py")
        missing = f", **not in this folder**: put the file of SHA-256 {held['sha256']} here" if self.weights else ""
        self.files = {
            f"{ADAPTER}/": "the adapter, in PEFT's format",
            HEAD: "the linear head",
            held["file"]: f"the backbone's weights{missing}",
            ABOUT: "classes, preprocessing, and how timm builds the backbone",
            LOADER: "all of it, by torch, timm and peft",
        }
        self.uses = ["    python load.py PICTURE ..."]
        if self.model.about.precision != "float32":
            words = f"The run computed in {self.model.about.precision}, the loader in full precision: probabilities"
            self.uses[:0] = [f"{words} differ by some thousandths.", ""]

    def _write_backbone(self) -> dict[str, Any]:
        """Write the backbone's weights, or choose the file to name; how timm builds it of them."""
        about, adapted = self.model.about, self.model.classifier.backbone
        assert adapted is not None
        state = {name: value.detach().cpu().contiguous() for name, value in base_state(adapted).items()}
        file, size = Path(self.model.source), sum(value.nbytes for value in state.values())
        if self.copied is False and not file.is_file():
            raise UsageError(
                f"--no-copy-weights: weights {self.model.source!r} are no file that others could have; leave it out"
            )
        if self.copied or not file.is_file() or (self.copied is None and size <= LARGEST_COPIED):
            file = self.folder / BACKBONE
            save_file(state, file)
        else:
            self.weights = file
        name, arguments = about.backbone, {"img_size": about.image_size}
        if name == EMBEDDED_NAME:  # timm has none of this name: the arguments make it of any plain one
            name, arguments = "vit_tiny_patch16_224", {**EMBEDDED_ARCHITECTURE, **arguments}
        digest = hashlib.sha256(file.read_bytes()).hexdigest()
        return {"timm": name, "arguments": arguments, "file": file.name, "sha256": digest}

    def _write_merged(self) -> None:
        save_file(merged_state(self.model), self.folder / MERGED)
        self.files[MERGED] = "backbone, adapter and head in one, under timm's names"
        self.uses.append("    classifier = load.load_merged()          # in Python, beside load.py: a plain timm model")

    def _write_onnx(self) -> None:
        """Write the merged model as ONNX, by torch's exporter."""
        side = self.model.about.image_size
        save_file(merged_state(self.model), self.folder / MERGED)
        classifier = torch.nn.Sequential(loaded(self.folder).load_merged(), torch.nn.Softmax(1)).eval()
        (self.folder / MERGED).unlink()
        with warnings.catch_warnings(action="ignore", category=FutureWarning):  # torch's exporter warns of torch
            torch.onnx.export(
                classifier,
                (torch.zeros(2, 3, side, side),),
                self.folder / ONNX,
                input_names=["pixels"],
                output_names=["probabilities"],
                dynamic_shapes=({0: torch.export.Dim("n")},),
                external_data=False,
                dynamo=True,
                verbose=False,
            )
        self.files[ONNX] = f"`pixels` (n, 3, {side}, {side}), prepared as above, to `probabilities` (n, classes)"

    def _check(self) -> None:
        """Load the export by its own loader and compare it with the run's model, on two made-up pictures.

        In full precision; a backbone's file that the export has not is lent to it.
        """
        full = replace(self.model, about=replace(self.model.about, precision="float32"))
        with tempfile.TemporaryDirectory() as drawn, _lent(self.weights, self.folder), torch.no_grad():
            pictures = made_up(Path(drawn), self.model.about.image_size)
            ours = full.predict([(file.name, file) for file in pictures]).probabilities
            loader = loaded(self.folder)
            pixels = torch.stack([loader.pixels(file) for file in pictures])
            theirs = {LOADER: loader.load()(pixels).softmax(1).numpy()}
            if MERGED in self.files:
                theirs[MERGED] = loader.load_merged()(pixels).softmax(1).numpy()
            if ONNX in self.files:
                theirs[ONNX] = _by_onnx(self.folder / ONNX, pixels.numpy())
        for name, found in theirs.items():
            apart = float(np.abs(found - ours).max())
            if not apart <= TOLERANCE:
                raise SecureFairError(
                    f"{name}: predicts otherwise than the run's model, by up to {apart:.2g}; nothing was exported"
                )


def merged_state(model: PictureModel) -> dict[str, torch.Tensor]:
    """The tensors of a timm model with ``num_classes``: the adapter folded into the backbone, and the head."""
    adapted, head = model.classifier.backbone, model.classifier.head
    assert adapted is not None
    with merged(adapted):
        state = {name: value.detach().cpu().clone().contiguous() for name, value in base_state(adapted).items()}
    # a distilled model takes the mean over two heads, each of its own token: ours is of the tokens' mean, so twice ours
    for name in ("head", "head_dist") if hasattr(backbone(adapted), "head_dist") else ("head",):
        for key, value in head.state_dict().items():
            state[f"{name}.{key}"] = value.detach().cpu().clone()
    return state


def made_up(folder: Path, size: int) -> list[Path]:
    """Two picture files of other shapes than the model's, that EXIF says are on their side."""
    from PIL import Image

    chance = np.random.default_rng(0)
    files = [folder / "wide.png", folder / "tall.jpg"]
    for file, shape in zip(files, ((3 * size, 2 * size), (4 * size, 5 * size)), strict=True):
        image = Image.fromarray(chance.integers(0, 256, (8, 8, 3), dtype=np.uint8)).resize(shape)
        exif = image.getexif()
        exif[0x0112] = 6
        image.save(file, exif=exif)
    return files


@contextmanager
def _lent(weights: Path | None, folder: Path) -> Iterator[None]:
    """Have a file in a folder for a while."""
    if weights is None:
        yield
        return
    link = folder / weights.name
    link.symlink_to(weights.resolve())
    try:
        yield
    finally:
        link.unlink()


def _by_onnx(file: Path, pixels: np.ndarray) -> np.ndarray:
    import onnx
    from onnx.reference import ReferenceEvaluator

    held = onnx.load(file)
    onnx.checker.check_model(held)
    outputs: Any = ReferenceEvaluator(held).run(None, {"pixels": pixels})
    return np.asarray(outputs[0])
