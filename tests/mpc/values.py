"""What the party functions of several tests share: inputs at and below the documented limits, and openings."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from secure_fair.mpc.session import Session

DEVELOPER, AUDITOR = "developer", "auditor"


def generator(seed: int) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def unit_rows(n: int, k: int, seed: int, norm: float = 1.0) -> Tensor:
    """Random rows of one norm, float64."""
    rows = torch.randn(n, k, generator=generator(seed), dtype=torch.float64)
    return norm * torch.nn.functional.normalize(rows, dim=1)


def of_norm(shape: tuple[int, ...], norm: float, seed: int) -> Tensor:
    """A random tensor of one Euclidean norm, float64."""
    values = torch.randn(shape, generator=generator(seed), dtype=torch.float64)
    return values * (norm / values.norm())


def memberships(n: int, columns: int, seed: int) -> Tensor:
    """One column of 0 and 1, or one-hot rows."""
    codes = torch.randint(0, max(2, columns), (n,), generator=generator(seed))
    return codes[:, None] if columns == 1 else torch.nn.functional.one_hot(codes, columns)


def share(session: Session, owner: str, values: Tensor, bound: float = 2.0**20) -> Any:
    """Everybody has ``values`` here, only the owner uses them."""
    return session.share(owner, values if session.name == owner else None, values.shape, bound=bound)


def own(session: Session, owner: str, values: Tensor, bound: float = 2.0**20) -> Any:
    return session.own(owner, values if session.name == owner else None, values.shape, bound=bound)


def share_integers(session: Session, owner: str, values: Tensor, bound: int = 1) -> Any:
    return session.share_integers(owner, values if session.name == owner else None, values.shape, bound=bound)


def open_to(session: Session, receiver: str, shared: Any, bound: float = 2.0**20) -> Tensor | None:
    """The value at the receiver, None elsewhere."""
    if session.name == receiver:
        return session.receive_opening(shared, bound=bound)
    session.reveal_to(receiver, shared)
    return None
