"""A finished model as a folder that needs nothing of this project: weights, preprocessing, classes, card, a loader."""

from __future__ import annotations

import hashlib
import importlib.util
import json
import shutil
import tempfile
import warnings
from dataclasses import dataclass, replace
from importlib.resources import files
from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING, Any

import numpy as np

from parties.progress import Progress
from parties.rows import HEAD, TABLE_MODEL, RowModel
from scenarios.files import parse
from scenarios.finished import load_model
from scenarios.folders import model_folder
from secure_fair.errors import SecureFairError, UsageError
from secure_fair.files import atomic_write
from secure_fair.report.card import Exported, card

if TYPE_CHECKING:
    from parties.pictures import PictureModel

BACKBONE, MERGED, ONNX, LOADER, CARD = (
    "backbone.safetensors",
    "merged.safetensors",
    "model.onnx",
    "load.py",
    "README.md",
)
LARGEST_COPIED = 64 * 2**20  # bytes of a backbone's weights that are copied unless it is said otherwise
FORMAT = 1
TOLERANCE = 1e-4  # between probabilities of the export and of the run's own model


@dataclass(frozen=True)
class Wanted:
    """The parts of an export that are asked for beside adapter and head. ``copied``: whether the backbone's weights are
    in it; None is by their size."""

    merged: bool = False
    onnx: bool = False
    copied: bool | None = None


def export(run: Path, out: Path, wanted: Wanted, report: Progress, weights: Path | None = None) -> list[str]:
    """Write the folder ``out``, which appears whole; names of what is in it.

    What was written is loaded by its own loader and compared with the run's model before it gets its name. UsageError
    for a folder that is there, a run without a model, and what the model has no use for.
    """
    if out.exists() and (not out.is_dir() or any(out.iterdir())):
        raise UsageError(f"{out}: exists and is not an empty folder; name another")
    if wanted.onnx:
        require_onnx()
    report.stage("loading the model")
    model, source = load_model(run, weights), model_folder(run)
    try:
        out.parent.mkdir(parents=True, exist_ok=True)
        with atomic_write(out) as folder:
            folder.mkdir()
            exported = _table(model, source, folder, wanted) if isinstance(model, RowModel) else None
            if exported is None:
                assert not isinstance(model, RowModel)
                exported = _pictures(model, source, folder, wanted, report)
            (folder / CARD).write_text(card(exported, *_of_run(run)), encoding="utf-8")
            return sorted(str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_file())
    except OSError as error:
        raise UsageError(f"{out}: cannot be written: {error.strerror}") from error


def require_onnx() -> None:
    """UsageError where what writes ONNX is not installed."""
    missing = [name for name in ("onnx", "onnxscript") if importlib.util.find_spec(name) is None]
    if missing:
        raise UsageError(f"--onnx: needs {' and '.join(missing)}; pip install 'secure-fair[onnx]'")


def _of_run(run: Path) -> tuple[dict[str, Any] | None, dict[str, Any]]:
    """Summary and scenario of a run, as far as its folder has them."""
    summary, scenario = run / "summary.json", run / "scenario.toml"
    return (
        json.loads(summary.read_text(encoding="utf-8")) if summary.is_file() else None,
        parse(scenario.read_text(encoding="utf-8"), str(scenario)) if scenario.is_file() else {},
    )


def _loader(folder: Path, name: str) -> None:
    (folder / LOADER).write_text((files("scenarios.exported") / name).read_text(encoding="utf-8"), encoding="utf-8")


# --- a table ----------------------------------------------------------------------------------------------------------


def _table(model: RowModel, source: Path, folder: Path, wanted: Wanted) -> Exported:
    """The encoding of the columns and the head."""
    if wanted != Wanted():
        raise UsageError(
            "--merged, --onnx and --copy-weights: have no use with a model of a table, which has no backbone"
        )
    for name in (TABLE_MODEL, HEAD):
        shutil.copyfile(source / name, folder / name)
    _loader(folder, "load_table.py")
    about = {
        TABLE_MODEL: "how columns become features, and the names of the classes",
        HEAD: "the linear head: weight (classes, features), bias (classes)",
        LOADER: "both, by numpy and safetensors",
    }
    return Exported(model.classes, about, ["    python load.py NEW.csv"])


# --- pictures ---------------------------------------------------------------------------------------------------------


def _pictures(model: PictureModel, source: Path, folder: Path, wanted: Wanted, report: Progress) -> Exported:
    """Adapter, head, and all that is needed to load them on the right backbone."""
    from parties.pictures import ADAPTER, PICTURE_MODEL

    shutil.copytree(source / ADAPTER, folder / ADAPTER)
    shutil.copyfile(source / HEAD, folder / HEAD)
    backbone, taken_from = _backbone(model, folder, wanted.copied)
    preprocessing = {
        "size": model.about.image_size,
        "resize": "short side, bilinear",
        "crop": "centre",
        "mean": model.about.mean,
        "std": model.about.std,
    }
    tree = {
        "format": FORMAT,
        "classes": model.classes,
        "preprocessing": preprocessing,
        "backbone": backbone,
        "run_precision": model.about.precision,
    }
    (folder / PICTURE_MODEL).write_text(json.dumps(tree, indent=1) + "\n", encoding="utf-8")
    _loader(folder, "load.py")
    held = taken_from is None
    about = {
        "adapter/": "the adapter, in PEFT's format",
        HEAD: "the linear head",
        str(backbone["file"]): "the backbone's weights"
        + ("" if held else f", **not in this folder**: put the file of SHA-256 {backbone['sha256']} here"),
        PICTURE_MODEL: "classes, preprocessing, and how timm builds the backbone",
        LOADER: "all of it, by torch, timm and peft",
    }
    uses = ["    python load.py PICTURE ..."]
    if wanted.merged or wanted.onnx:
        report.stage("merging")
        from safetensors.torch import save_file

        save_file(merged_state(model), folder / MERGED)
        uses += ["    classifier = load.load_merged()          # a plain timm model"]
        about[MERGED] = "backbone, adapter and head in one, under timm's names"
    if wanted.onnx:
        report.stage("ONNX: about half a minute")
        _write_onnx(folder, model.about.image_size)
        about[ONNX] = (
            "the same for ONNX: `pixels` (n, 3, size, size), prepared as above, to `probabilities` (n, classes)"
        )
    report.stage("comparing the export with the run's model")
    _check(model, folder, wanted, taken_from)
    if wanted.onnx and not wanted.merged:
        (folder / MERGED).unlink()
        del about[MERGED], uses[1]
    words = f"{backbone['timm']} of timm" if model.about.weights != "embedded" else f"{model.about.backbone}, small"
    return Exported(model.classes, about, uses, preprocessing, words)


def _backbone(model: PictureModel, folder: Path, copied: bool | None) -> tuple[dict[str, Any], Path | None]:
    """How timm builds the backbone and which weights it takes: copied, or else a file, which comes second."""
    from safetensors.torch import save_file

    from secure_fair.learning.backbone import EMBEDDED_ARCHITECTURE, EMBEDDED_NAME
    from secure_fair.learning.lora import base_state

    assert model.classifier.backbone is not None
    state = {name: value.detach().cpu().contiguous() for name, value in base_state(model.classifier.backbone).items()}
    about, size = model.about, sum(value.nbytes for value in state.values())
    # any name whose architecture takes all of these arguments would do: the embedded one is not in timm's list
    name, arguments = about.backbone, dict[str, Any]()
    if name == EMBEDDED_NAME:
        name, arguments = "vit_tiny_patch16_224", dict(EMBEDDED_ARCHITECTURE)
    arguments["img_size"] = about.image_size
    file = Path(model.source)
    if copied is False and not file.is_file():
        raise UsageError(
            f"--no-copy-weights: weights {model.source!r} are no file that others could have; leave it out"
        )
    if copied or not file.is_file() or (copied is None and size <= LARGEST_COPIED):
        file = folder / BACKBONE
        save_file(state, file)
    digest = hashlib.sha256(file.read_bytes()).hexdigest()
    found = {"timm": name, "arguments": arguments, "file": file.name, "sha256": digest}
    return found, None if file.parent == folder else file


def merged_state(model: PictureModel) -> dict[str, Any]:
    """The tensors of a timm model with ``num_classes``: the adapter folded into the backbone, and the head."""
    from secure_fair.learning.lora import backbone, base_state, merged

    adapted, head = model.classifier.backbone, model.classifier.head
    assert adapted is not None
    with merged(adapted):
        state = {name: value.detach().cpu().clone().contiguous() for name, value in base_state(adapted).items()}
    # a distilled model takes the mean over two heads, each of its own token: ours is of the tokens' mean, so twice ours
    for name in ("head", "head_dist") if hasattr(backbone(adapted), "head_dist") else ("head",):
        for key, value in head.state_dict().items():
            state[f"{name}.{key}"] = value.detach().cpu().clone()
    return state


def _write_onnx(folder: Path, size: int) -> None:
    """The merged model as ONNX, by torch's exporter."""
    import torch

    model = torch.nn.Sequential(loaded(folder).load_merged(), torch.nn.Softmax(1)).eval()
    with warnings.catch_warnings(action="ignore", category=FutureWarning):  # torch's exporter warns of torch
        torch.onnx.export(
            model,
            (torch.zeros(2, 3, size, size),),
            folder / ONNX,
            input_names=["pixels"],
            output_names=["probabilities"],
            dynamic_shapes=({0: torch.export.Dim("n")},),
            external_data=False,
            dynamo=True,
            verbose=False,
        )


# --- the check --------------------------------------------------------------------------------------------------------


def loaded(folder: Path) -> Any:
    """The loader that an export has been given, as a module."""
    file = folder / LOADER
    module = ModuleType("exported_loader")
    module.__file__ = str(file)
    exec(
        compile(file.read_text(encoding="utf-8"), file, "exec"), module.__dict__
    )  # imported, it would leave its bytecode
    return module


def _check(model: PictureModel, folder: Path, wanted: Wanted, weights: Path | None) -> None:
    """Load the export by its own loader and compare it with the run's model, on two made-up pictures.

    In full precision. ``weights``: the backbone's file, where the export has it not; it is lent.
    """
    import torch

    full = replace(model, about=replace(model.about, precision="float32"))
    lent = None
    if weights is not None:
        lent = folder / weights.name
        lent.symlink_to(weights.resolve())
    with tempfile.TemporaryDirectory() as drawn, torch.no_grad():
        pictures = _made_up(Path(drawn), model.about.image_size)
        ours = full.predict([(file.name, file) for file in pictures]).probabilities
        loader = loaded(folder)
        pixels = torch.stack([loader.pixels(file) for file in pictures])
        theirs = {LOADER: loader.load()(pixels).softmax(1).numpy()}
        if wanted.merged:
            theirs[MERGED] = loader.load_merged()(pixels).softmax(1).numpy()
        if wanted.onnx:
            theirs[ONNX] = _by_onnx(folder / ONNX, pixels.numpy())
    if lent is not None:
        lent.unlink()
    for name, found in theirs.items():
        apart = float(np.abs(found - ours).max())
        if not apart <= TOLERANCE:
            raise SecureFairError(
                f"{name}: predicts otherwise than the run's model, by up to {apart:.2g}; nothing was exported"
            )


def _by_onnx(file: Path, pixels: np.ndarray) -> np.ndarray:
    import onnx
    from onnx.reference import ReferenceEvaluator

    held = onnx.load(file)
    onnx.checker.check_model(held)
    outputs: Any = ReferenceEvaluator(held).run(None, {"pixels": pixels})
    return np.asarray(outputs[0])


def _made_up(folder: Path, size: int) -> list[Path]:
    """Two pictures of other shapes than the model's, one of them a JPEG that is turned."""
    from PIL import Image

    chance = np.random.default_rng(0)
    files = [folder / "wide.png", folder / "turned.jpg"]
    for file, shape in zip(files, ((2 * size, 3 * size, 3), (5 * size, 4 * size, 3)), strict=True):
        coarse = Image.fromarray(chance.integers(0, 256, (8, 8, 3), dtype=np.uint8))
        image = coarse.resize((shape[1], shape[0]))
        exif = image.getexif()
        exif[0x0112] = 6
        image.save(file, exif=exif)
    return files
