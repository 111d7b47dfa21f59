"""Backbones: plain timm vision transformers, without a classifier head, with weights that are checked."""

from __future__ import annotations

import hashlib
import math
import pickle
import zipfile
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor

import secure_fair.compat  # noqa: F401
from secure_fair.errors import UsageError
from secure_fair.learning.settings import EMBEDDED_BACKBONE as EMBEDDED_NAME
from secure_fair.learning.settings import EMBEDDED_DEPTH, EMBEDDED_PATCH

import timm  # isort: skip
from timm.layers import PatchEmbed, resample_abs_pos_embed  # isort: skip
from timm.models.deit import VisionTransformerDistilled  # isort: skip
from timm.models.vision_transformer import Block, ResPostBlock, VisionTransformer  # isort: skip

EMBEDDED_PATH = Path(__file__).parent / "weights" / f"{EMBEDDED_NAME}.safetensors"
EMBEDDED_IMAGE_SIZE = 64
EMBEDDED_ARCHITECTURE: Mapping[str, Any] = {
    "img_size": EMBEDDED_IMAGE_SIZE,
    "patch_size": EMBEDDED_PATCH,
    "embed_dim": 128,
    "depth": EMBEDDED_DEPTH,
    "num_heads": 4,
    "mlp_ratio": 4.0,
    "class_token": False,
    "global_pool": "avg",
}
HEAD_PREFIXES = ("head.", "head_dist.")  # timm's names of classifier heads, which are never used here
SHOWN_KEYS = 3  # how many keys of a mismatch an error message names


def load_backbone(name: str, weights: str | Path, image_size: int) -> VisionTransformer:
    """A frozen ViT in evaluation mode for square RGB pictures of `image_size` pixels, ending in its pooled features.

    Args:
        name: a timm model name, or ``EMBEDDED_NAME``.
        weights: "embedded" (the weights shipped with the package, for ``EMBEDDED_NAME`` only), "timm" (timm's own
            download), or a local .safetensors, .pth, .pt or .bin file with timm's key names, which may nest them under
            "model" or "state_dict". Only tensors are read from a file, never code.
        image_size: pixels; a multiple of the patch size. Position embeddings of another size are resampled
            (bicubic), the patch size is fixed.

    The classifier head of the file, if any, is dropped; every other key must match.

    Raises:
        UsageError: naming what does not fit and what would.
    """
    vit = _build(name, image_size)
    if str(weights) == "embedded":
        if name != EMBEDDED_NAME:
            raise UsageError(
                f'weights "embedded" belong to the backbone {EMBEDDED_NAME!r}, not to {name!r}: '
                'give a weights file or "timm", or choose that backbone'
            )
        state = read_weights(EMBEDDED_PATH)
    elif str(weights) == "timm":
        state = _download(name)
    else:
        state = read_weights(Path(weights))
    _load(vit, state, source=str(weights))
    return vit.eval().requires_grad_(False)


def check_backbone(name: str, weights: str, image_size: int, last_blocks: int | None) -> None:
    """UsageError for whatever ``load_backbone`` or the adapter would refuse; timm's own weights are not downloaded."""
    vit = _build(name, image_size) if weights == "timm" else load_backbone(name, weights, image_size)
    if last_blocks is not None and last_blocks > len(vit.blocks):
        raise UsageError(
            f"lora.last_blocks: {last_blocks} is more than the {len(vit.blocks)} blocks of {name}; lower it"
        )


def unloaded(name: str, image_size: int) -> VisionTransformer:
    """The same without weights or memory, for the shapes of its layers alone."""
    with torch.device("meta"):
        return _build(name, image_size)


def normalisation(vit: VisionTransformer) -> tuple[Tensor, Tensor]:
    """Mean and standard deviation, (3,) each, of the pixel values in [0, 1] that the backbone was trained with."""
    config: Any = vit.pretrained_cfg
    return torch.tensor(config["mean"]), torch.tensor(config["std"])


def digest_of(state: Mapping[str, Tensor]) -> str:
    """SHA-256 (hex) of named tensors: their names, shapes and float32 values, whatever the file that they came from."""
    found = hashlib.sha256()
    for name in sorted(state):
        value = state[name].detach().to("cpu", torch.float32).contiguous()
        found.update(f"{name} {tuple(value.shape)}\n".encode())
        found.update(value.numpy().tobytes())
    return found.hexdigest()


def read_weights(path: Path) -> dict[str, Tensor]:
    """The named tensors of a weights file; nothing but tensors is ever unpickled."""
    if not path.is_file():
        what = "is a folder" if path.is_dir() else "does not exist"
        raise UsageError(f"weights file {str(path)!r} {what}; name a file of weights, safetensors or pth")
    if path.suffix == ".safetensors":
        try:
            return dict(load_file(path))
        except SafetensorError as error:
            raise UsageError(f"weights file {str(path)!r} is not a whole safetensors file: {error}") from error
    if path.suffix not in {".pth", ".pt", ".bin"}:
        raise UsageError(f"weights file {str(path)!r}: the ending must be .safetensors, .pth, .pt or .bin")
    try:
        content = torch.load(path, map_location="cpu", weights_only=True)
    except pickle.UnpicklingError as error:
        raise UsageError(
            f"weights file {str(path)!r} is damaged or holds more than tensors, which is not read because it could run "
            "code: save its state_dict alone"
        ) from error
    except (EOFError, RuntimeError, zipfile.BadZipFile) as error:
        raise UsageError(f"weights file {str(path)!r} is not a whole PyTorch file: {error}") from error
    for nest in ("model", "state_dict"):
        if isinstance(content, Mapping) and isinstance(content.get(nest), Mapping):
            content = content[nest]
    if not isinstance(content, Mapping) or not all(isinstance(value, Tensor) for value in content.values()):
        raise UsageError(f"weights file {str(path)!r} holds no state_dict: expected a mapping of names to tensors")
    return dict(content)


def _build(name: str, image_size: int) -> VisionTransformer:
    """The architecture with random weights; refuses whatever is not a plain ViT over square RGB patches."""
    with torch.random.fork_rng(devices=[]):  # the random weights are replaced: leave the caller's generator alone
        if name == EMBEDDED_NAME:
            vit: Any = VisionTransformer(num_classes=0, **EMBEDDED_ARCHITECTURE)
            vit.pretrained_cfg = {"mean": (0.5, 0.5, 0.5), "std": (0.5, 0.5, 0.5)}
        elif not timm.is_model(name):
            near = timm.list_models(f"*{name.split('_')[0]}*")[:SHOWN_KEYS]
            raise UsageError(
                f"backbone {name!r} is neither {EMBEDDED_NAME!r} nor a model of timm {timm.__version__}"
                + (f"; it has {', '.join(near)} ..." if near else "")
            )
        else:
            vit = timm.create_model(name, pretrained=False, num_classes=0)
    # A subclass may compute something else between the blocks, so the exact classes are asked for.
    if (
        type(vit) not in (VisionTransformer, VisionTransformerDistilled)
        or type(vit.patch_embed) is not PatchEmbed
        or not all(type(block) in (Block, ResPostBlock) for block in vit.blocks)
    ):
        raise UsageError(
            f"backbone {name!r} is a {type(vit).__name__}, not a plain vision transformer: choose a timm ViT or DeiT"
        )
    if vit.global_pool == "":
        raise UsageError(f"backbone {name!r} does not pool its tokens into one feature vector: choose another")
    if vit.patch_embed.proj.in_channels != 3:
        raise UsageError(f"backbone {name!r} takes {vit.patch_embed.proj.in_channels} channels, pictures have 3")
    height, width = vit.patch_embed.patch_size
    if height != width or image_size < height or image_size % height:
        raise UsageError(f"image size {image_size} is not a positive multiple of {name}'s patch size {height}x{width}")
    vit.set_input_size((image_size, image_size))
    return vit


def _download(name: str) -> dict[str, Tensor]:
    """timm's weights for `name`, from its cache or the network, at the size they were trained with."""
    if name == EMBEDDED_NAME:
        raise UsageError(f'timm has no weights for {EMBEDDED_NAME!r}: set weights to "embedded"')
    try:
        vit = timm.create_model(name, pretrained=True, num_classes=0)
    except (OSError, RuntimeError) as error:
        raise UsageError(
            f"timm could not get weights for {name!r} ({type(error).__name__}: {error}): without a network, give a "
            "local weights file instead"
        ) from error
    return dict(vit.state_dict())


def _load(vit: VisionTransformer, state: Mapping[str, Tensor], source: str) -> None:
    """Put `state` into `vit`: head dropped, position embeddings resampled, all else exact."""
    state = {key: value for key, value in state.items() if not key.startswith(HEAD_PREFIXES)}
    if "pos_embed" in state and vit.pos_embed is not None:
        state["pos_embed"] = _fit_position_embeddings(state["pos_embed"], vit)
    expected = vit.state_dict()
    shared = state.keys() & expected.keys()
    problems = {
        "missing": sorted(expected.keys() - state.keys()),
        "unexpected": sorted(state.keys() - expected.keys()),
        "of another shape": [
            f"{key} {tuple(state[key].shape)} for {tuple(expected[key].shape)}"
            for key in sorted(shared)
            if state[key].shape != expected[key].shape
        ],
        "not finite": sorted(key for key in shared if not bool(state[key].isfinite().all())),
    }
    if any(problems.values()):
        found = "; ".join(f"{len(keys)} {kind} ({_shown(keys)})" for kind, keys in problems.items() if keys)
        raise UsageError(
            f"weights {source!r} do not fit {type(vit).__name__} with {len(expected)} tensors: {found}. "
            "Choose the backbone that the file was made for"
        )
    vit.load_state_dict(state)


def _fit_position_embeddings(embeddings: Tensor, vit: VisionTransformer) -> Tensor:
    """(1, prefix + patches, d) resampled to the patch grid of `vit`; unchanged where that makes no sense."""
    prefix = 0 if vit.no_embed_class else vit.num_prefix_tokens
    if embeddings.ndim != 3 or embeddings.shape[1] == prefix + vit.patch_embed.num_patches:
        return embeddings
    patches = embeddings.shape[1] - prefix
    if patches < 1 or math.isqrt(patches) ** 2 != patches:  # not a square grid: reported as a shape mismatch
        return embeddings
    return resample_abs_pos_embed(embeddings.float(), list(vit.patch_embed.grid_size), num_prefix_tokens=prefix)


def _shown(keys: Iterable[str]) -> str:
    keys = list(keys)
    return ", ".join(keys[:SHOWN_KEYS]) + (" ..." if len(keys) > SHOWN_KEYS else "")
