"""Shares as something that a gate opens."""

from __future__ import annotations

from dataclasses import dataclass

from torch import Tensor

from secure_fair.mpc.session import Session

from crypten.mpc import MPCTensor  # isort: skip


@dataclass
class SharedOpening:
    """Shares that the gate may open to one party, by sending this party's share to it alone."""

    session: Session
    shared: MPCTensor

    @property
    def scale(self) -> int:
        """Ring units per 1.0."""
        return int(self.shared.encoder.scale)

    @property
    def shape(self) -> tuple[int, ...]:
        """The value's shape."""
        return tuple(self.shared.size())

    def open_to(self, receiver: str, noise: Tensor | None) -> None:
        """Send this party's share, noise (int64, ring units) added; nothing is learned here."""
        self.session.reveal_to(receiver, self.shared, noise=noise)
