"""Additive shares as CrypTen's tensors: made from this party's share, and joined."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

import secure_fair.compat  # noqa: F401
from secure_fair.errors import UsageError

from crypten.mpc import MPCTensor  # isort: skip


@dataclass(frozen=True)
class Owned:
    """A value that its ``owner`` (rank) has in the clear, int64 ring units, and nobody has shares of; all others None.

    It becomes one of ``products.Masked``: the owner alone sends its difference from a mask that it alone knows, to
    those that are ``told`` (ranks), all where nobody is named.
    """

    owner: int
    values: Tensor | None
    shape: tuple[int, ...]
    scale: int
    told: tuple[int, ...] = ()


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


def stack(values: Sequence[MPCTensor | Owned]) -> MPCTensor | Owned:
    """Values of one shape, scale and owner as one with a dimension more, the first: one product is that of all."""
    kinds = {(v.owner, v.scale) if isinstance(v, Owned) else (None, int(v.encoder.scale)) for v in values}
    if len(kinds) != 1:
        raise UsageError(f"shared values of different owners or scales are not stacked: {sorted(map(str, kinds))}")
    ((owner, scale),) = kinds
    if owner is None:
        return from_share(torch.stack([value.share for value in values if not isinstance(value, Owned)]), scale)
    held = [value.values for value in values if isinstance(value, Owned) and value.values is not None]
    return Owned(owner, torch.stack(held) if held else None, (len(values), *_shape(values[0])), scale)


def _shape(value: MPCTensor | Owned) -> tuple[int, ...]:
    return value.shape if isinstance(value, Owned) else tuple(value.size())


def concatenate(values: Sequence[MPCTensor]) -> MPCTensor:
    """Values of the same scale as one flat shared vector, so that they are opened as one."""
    scales = {value.encoder.scale for value in values}
    if len(scales) != 1:
        raise UsageError(f"shared values of different scales {sorted(scales)} are not joined")
    return from_share(combine([value.share for value in values]), scales.pop())
