"""The values that the gate opens, and the noise that it draws for what stays on shares."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

import torch

from secure_fair.errors import ProtocolError


class Opening(Protocol):
    """A value that can be opened: shares between parties, or plain numbers."""

    @property
    def scale(self) -> int:
        """Ring units per 1.0."""
        ...

    @property
    def shape(self) -> tuple[int, ...]:
        """The value's shape."""
        ...

    def open_to(self, receiver: str, noise: torch.Tensor | None) -> torch.Tensor | None:
        """Add ``noise`` (int64, ring units, of ``shape``), open to ``receiver``; the value if that is here."""
        ...


@dataclass(frozen=True)
class PlainOpening:
    """Plain numbers in one process, encoded, noised and decoded as shares would be. ``values``: float64."""

    values: torch.Tensor
    scale: int

    @property
    def shape(self) -> tuple[int, ...]:
        """The value's shape."""
        return tuple(self.values.shape)

    def open_to(self, receiver: str, noise: torch.Tensor | None) -> torch.Tensor:
        """The values on the ring's grid, plus noise: float64. Values must fit the ring."""
        ring = torch.round(self.values.double() * self.scale)
        if not bool(torch.isfinite(ring).all()) or bool((ring.abs() >= 2**62).any()):
            raise ProtocolError(f"a value to be opened is not below 2^62 / {self.scale}: check the query's bounds")
        integers = ring.to(torch.int64)
        return (integers if noise is None else integers + noise).double() / self.scale


class KeptNoise:
    """The gate's noise for an update that stays on shares, to be added before it is used. Nothing is opened."""

    def __init__(self, shape: tuple[int, ...], scale: int) -> None:
        self.shape = shape
        self.scale = scale
        self.noise: torch.Tensor | None = None

    def open_to(self, receiver: str, noise: torch.Tensor | None) -> None:
        """Keep the noise (int64, ring units)."""
        self.noise = noise
