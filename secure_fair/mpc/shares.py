"""Additive shares as CrypTen's tensors: made from this party's share, and joined."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

import secure_fair.compat  # noqa: F401
from secure_fair.errors import UsageError

from crypten.mpc import MPCTensor  # isort: skip


def from_share(share: Tensor, scale: int) -> MPCTensor:
    """A shared tensor from this party's share; ``scale`` (a power of two) is the ring units per 1.0."""
    return MPCTensor.from_shares(share, precision=scale.bit_length() - 1)


def lift(shared: MPCTensor, scale: int) -> MPCTensor:
    """The same value in at least ``scale`` ring units per 1.0: every party multiplies its share. No message."""
    factor = scale // int(shared.encoder.scale)
    return from_share(shared.share * factor, scale) if factor > 1 else shared


def combine(shares: Sequence[Tensor]) -> Tensor:
    """One flat tensor of all of them."""
    return torch.cat([share.reshape(-1) for share in shares])


def concatenate(values: Sequence[MPCTensor]) -> MPCTensor:
    """Values of the same scale as one flat shared vector, so that they are opened as one."""
    scales = {value.encoder.scale for value in values}
    if len(scales) != 1:
        raise UsageError(f"shared values of different scales {sorted(scales)} are not joined")
    return from_share(combine([value.share for value in values]), scales.pop())
