"""The two halves of a backbone: the frozen prefix, computed once per picture, and the adapted suffix."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from torch import Tensor

import secure_fair.compat  # noqa: F401
from secure_fair.errors import UsageError
from secure_fair.learning.backbone import normalisation

from timm.models.vision_transformer import VisionTransformer  # isort: skip

SHORT_SEQUENCE = 128  # tokens


def fast_dtype(device: torch.device | str) -> torch.dtype:
    """bfloat16 where the device multiplies it in hardware (AVX512-BF16, AMX, recent GPUs), else float32."""
    kind = torch.device(device).type
    if kind == "cuda":
        fast = torch.cuda.is_bf16_supported(including_emulation=False)
    elif kind == "cpu":
        fast = torch.cpu._is_avx512_bf16_supported() or torch.cpu._is_amx_tile_supported()
    else:
        fast = False
    return torch.bfloat16 if fast else torch.float32


def first_block(vit: VisionTransformer, last_blocks: int | None) -> int:
    """Index of the first adapted block when the last `last_blocks` are adapted; None or 0 is all of them."""
    depth = len(vit.blocks)
    if last_blocks is None or last_blocks == 0:
        return 0
    if not 0 < last_blocks <= depth:
        raise UsageError(f"last_blocks = {last_blocks}: the backbone has {depth} blocks, so 0 (all) to {depth}")
    return depth - last_blocks


def frozen_prefix(
    vit: VisionTransformer,
    pictures: np.ndarray,
    last_blocks: int | None,
    *,
    batch_size: int = 128,
    dtype: torch.dtype = torch.float32,
    compute: torch.dtype | None = None,
    device: torch.device | str = "cpu",
    progress: Callable[[int, int], None] | None = None,
) -> Tensor:
    """The tokens that enter the first adapted block, (N, tokens, d), in host memory.

    Args:
        vit: a backbone; it is moved to `device`.
        pictures: uint8 (N, H, W, 3) in the backbone's image size; may be a memory map, read batch by batch.
        last_blocks: how many of the last blocks are adapted; None or 0 is all, then only the embeddings are computed.
        dtype: of the result.
        compute: bfloat16 runs the blocks under autocast, float32 does not (see `fast_dtype`); None is as `dtype`.
        progress: called with (pictures done, N) after each batch.
    """
    vit = vit.to(device).eval()
    height, width = vit.patch_embed.img_size
    if pictures.dtype != np.uint8 or pictures.shape[1:] != (height, width, 3):
        raise UsageError(
            f"pictures are {pictures.dtype} {pictures.shape}; the backbone takes uint8 (N, {height}, {width}, 3)"
        )
    compute = dtype if compute is None else compute
    blocks = vit.blocks[: first_block(vit, last_blocks)]
    mean, std = (values.to(device).view(1, 3, 1, 1) for values in normalisation(vit))
    total = len(pictures)
    result = torch.empty(total, vit.patch_embed.num_patches + vit.num_prefix_tokens, vit.embed_dim, dtype=dtype)
    for start in range(0, total, batch_size):
        batch = np.array(pictures[start : start + batch_size])  # a copy: torch refuses read-only memory maps
        pixels = torch.from_numpy(batch).to(device).permute(0, 3, 1, 2).float() / 255
        with torch.inference_mode(), _autocast(device, compute):
            tokens = vit.norm_pre(vit.patch_drop(vit._pos_embed(vit.patch_embed((pixels - mean) / std))))
            result[start : start + len(batch)] = blocks(tokens).to("cpu", dtype)
        if progress is not None:
            progress(min(start + batch_size, total), total)
    return result


def suffix(vit: VisionTransformer, tokens: Tensor, first: int) -> Tensor:
    """Pooled features (B, d) from the tokens (B, tokens, d) that enter block `first`: the rest of the backbone."""
    choose_attention(vit, tokens.device, tokens.shape[1])
    # Tokens may be stored in half precision; parameters are float32, and so is the sum over the blocks.
    return vit.forward_head(vit.norm(vit.blocks[first:](tokens.float())), pre_logits=True)


def choose_attention(vit: VisionTransformer, device: torch.device | str, length: int) -> None:
    """Fused attention or not: it saves memory, but for few tokens on a CPU its gradient takes several times as long."""
    blocks: Any = vit.blocks
    for block in blocks:
        block.attn.fused_attn = torch.device(device).type != "cpu" or length > SHORT_SEQUENCE


def _autocast(device: torch.device | str, dtype: torch.dtype) -> torch.autocast:
    return torch.autocast(torch.device(device).type, dtype=torch.bfloat16, enabled=dtype == torch.bfloat16)
