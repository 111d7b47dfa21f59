"""Prefix and suffix together are the whole backbone."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import save_file

import secure_fair.compat  # noqa: F401
from secure_fair.errors import UsageError
from secure_fair.learning.backbone import load_backbone
from secure_fair.learning.prefix import fast_dtype, first_block, frozen_prefix, suffix

import timm  # isort: skip
from timm.models.vision_transformer import VisionTransformer  # isort: skip

SIZE = 64
# class token; average pool with registers; attention pool with registers; class and distillation token;
# embeddings of patches alone with registers; the same with a class token, and layer scale
MODELS = [
    *("test_vit", "test_vit2", "test_vit3", "test_vit4", "deit_tiny_distilled_patch16_224"),
    *("vit_wee_patch16_reg1_gap_256", "deit3_small_patch16_224"),
]


def make(name: str, folder: Path) -> VisionTransformer:
    torch.manual_seed(0)
    model = timm.create_model(name, pretrained=False, num_classes=0)
    for parameter in model.parameters():  # fresh weights hide errors: biases and tokens are zero, norms are one
        parameter.data += 0.05 * torch.randn_like(parameter)
    save_file(model.state_dict(), folder / "weights.safetensors")
    return load_backbone(name, folder / "weights.safetensors", SIZE)


@pytest.fixture(scope="module")
def pictures() -> np.ndarray:
    return np.random.default_rng(0).integers(0, 256, (7, SIZE, SIZE, 3), dtype=np.uint8)


def whole(vit: VisionTransformer, pictures: np.ndarray) -> torch.Tensor:
    """timm's own way from pictures to pooled features."""
    mean, deviation = (torch.tensor(vit.pretrained_cfg[key]).view(3, 1, 1) for key in ("mean", "std"))
    pixels = (torch.from_numpy(pictures).permute(0, 3, 1, 2) / 255 - mean) / deviation
    with torch.inference_mode():
        return vit.forward_head(vit.forward_features(pixels), pre_logits=True)


@pytest.mark.parametrize("name", MODELS)
def test_prefix_and_suffix_are_the_whole_model(name: str, pictures: np.ndarray, tmp_path: Path) -> None:
    vit = make(name, tmp_path)
    expected = whole(vit, pictures)
    depth = len(vit.blocks)
    for last_blocks in (None, 0, 1, 3, depth):
        tokens = frozen_prefix(vit, pictures, last_blocks, batch_size=3)
        assert tokens.shape == (7, (SIZE // 16) ** 2 + vit.num_prefix_tokens, vit.embed_dim)
        with torch.inference_mode():
            features = suffix(vit, tokens, first_block(vit, last_blocks))
        torch.testing.assert_close(features, expected, rtol=1e-4, atol=1e-5)


def test_gradient_reaches_only_what_is_behind_the_prefix(pictures: np.ndarray, tmp_path: Path) -> None:
    vit = make("test_vit", tmp_path).requires_grad_(True)
    suffix(vit, frozen_prefix(vit, pictures, 2), first_block(vit, 2)).sum().backward()
    reached = {name.split(".")[1] for name, p in vit.blocks.named_parameters(prefix="blocks") if p.grad is not None}
    assert reached == {"4", "5"}
    assert vit.patch_embed.proj.weight.grad is None


@pytest.mark.parametrize("compute", [torch.float32, torch.bfloat16])
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16, torch.float16])
def test_reduced_precision_stays_close(
    compute: torch.dtype, dtype: torch.dtype, pictures: np.ndarray, tmp_path: Path
) -> None:
    vit = make("test_vit", tmp_path)
    tokens = frozen_prefix(vit, pictures, 2, dtype=dtype, compute=compute)
    assert tokens.dtype == dtype
    exact = frozen_prefix(vit, pictures, 2)
    error = (tokens.float() - exact).norm() / exact.norm()
    exactly_computed = compute == dtype == torch.float32
    assert error == 0 if exactly_computed else 0 < error < 2e-2
    with torch.inference_mode():
        features, expected = suffix(vit, tokens, 4), whole(vit, pictures)
    assert (features - expected).norm() < 5e-2 * expected.norm()


def test_batches_change_nothing_and_report_progress(pictures: np.ndarray, tmp_path: Path) -> None:
    vit = make("test_vit", tmp_path)
    seen: list[tuple[int, int]] = []
    tokens = frozen_prefix(vit, pictures, 2, batch_size=3, progress=lambda done, total: seen.append((done, total)))
    assert seen == [(3, 7), (6, 7), (7, 7)]
    torch.testing.assert_close(tokens, frozen_prefix(vit, pictures, 2), rtol=1e-4, atol=1e-5)


def test_read_only_memory_maps_are_read(pictures: np.ndarray, tmp_path: Path) -> None:
    np.save(tmp_path / "pictures.npy", pictures)
    vit = make("test_vit", tmp_path)
    mapped = np.load(tmp_path / "pictures.npy", mmap_mode="r")
    torch.testing.assert_close(frozen_prefix(vit, mapped, 2), frozen_prefix(vit, pictures, 2))
    assert frozen_prefix(vit, mapped[:0], 2).shape == (0, 17, 64)


def test_pictures_must_be_what_the_backbone_takes(pictures: np.ndarray, tmp_path: Path) -> None:
    vit = make("test_vit", tmp_path)
    for wrong in (pictures / 255.0, pictures[:, :32], pictures[..., :1], pictures.transpose(0, 3, 1, 2)):
        with pytest.raises(UsageError, match=r"the backbone takes uint8 \(N, 64, 64, 3\)"):
            frozen_prefix(vit, wrong, 2)


@pytest.mark.parametrize("last_blocks", [-1, 7])
def test_last_blocks_out_of_range(last_blocks: int, pictures: np.ndarray, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=f"last_blocks = {last_blocks}: the backbone has 6 blocks"):
        frozen_prefix(make("test_vit", tmp_path), pictures, last_blocks)


def test_fast_dtype_is_one_that_runs() -> None:
    dtype = fast_dtype("cpu")
    assert dtype in (torch.float32, torch.bfloat16)
    assert fast_dtype("meta") == torch.float32
