"""An adapter as numbers: the matrices of its modules, in order, as one vector and back."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TypeAlias

import torch
from torch import Tensor

Adapter: TypeAlias = Mapping[str, tuple[Tensor, Tensor]]  # module name: A (r, d_in) and B (d_out, r)
Shape: TypeAlias = tuple[int, int]
AdapterShapes: TypeAlias = dict[str, tuple[Shape, Shape]]


def shapes_of(adapter: Adapter) -> AdapterShapes:
    """The shapes of A and B of each module."""
    return {name: (_shape(a), _shape(b)) for name, (a, b) in adapter.items()}


def flatten_adapter(adapter: Adapter) -> Tensor:
    """All matrices of an adapter, in order, as one float64 vector."""
    return torch.cat([part.double().flatten() for pair in adapter.values() for part in pair])


def unflatten_adapter(flat: Tensor, shapes: AdapterShapes) -> Adapter:
    """The adapter with these shapes from its vector, float32."""
    parts = iter(unflatten(flat, [shape for pair in shapes.values() for shape in pair]))
    return {name: (next(parts).float(), next(parts).float()) for name in shapes}


def unflatten(flat: Tensor, shapes: Sequence[Shape]) -> list[Tensor]:
    """Matrices of these shapes from one vector of all their numbers."""
    parts = flat.split([rows * width for rows, width in shapes])
    return [part.reshape(shape) for part, shape in zip(parts, shapes, strict=True)]


def alike(shapes: Sequence[Shape]) -> list[list[int]]:
    """The places of equal shapes, by the first of each: such matrices are computed with as one stack."""
    found: dict[Shape, list[int]] = {}
    for place, shape in enumerate(shapes):
        found.setdefault((shape[0], shape[1]), []).append(place)
    return list(found.values())


def row_matrices(adapter: Adapter) -> list[Tensor]:
    """The matrices A (r, d_m) in the adapter's order, float64."""
    return [a.to(torch.float64) for a, _ in adapter.values()]


def _shape(matrix: Tensor) -> Shape:
    return matrix.shape[0], matrix.shape[1]
