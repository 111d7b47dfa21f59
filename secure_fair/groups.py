"""The algebra of groups: how memberships are held in columns, and what those of an intersection are.

An attribute with two groups is held as one column, membership of group 1; one with more as a column for each.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from itertools import product

import numpy as np
import torch
from torch import Tensor

from secure_fair.data.records import YES_NO


def columns(groups: int) -> int:
    """Columns in which an attribute is held: membership of group 1 for two groups, else one for each."""
    return 1 if groups == 2 else groups


def row_change(groups: int) -> float:
    """Norm of the change of one record's membership row when its group changes."""
    return 1.0 if groups == 2 else math.sqrt(2.0)


def membership_matrix(codes: np.ndarray, groups: int, dtype: torch.dtype = torch.int64) -> Tensor:
    """Group codes (n,) as membership columns (n, 1 or G), int64 unless said otherwise; a row of zeros for -1,
    somebody else's record."""
    held = torch.from_numpy(np.asarray(codes, dtype=np.int64))
    named = torch.arange(groups)[1:] if groups == 2 else torch.arange(groups)
    return (held[:, None] == named).to(dtype)


def joint_groups(groups: Mapping[str, Sequence[str]]) -> tuple[str, ...]:
    """Names of an intersection's groups, in the order of their codes: all combinations, the last attribute fastest.

    ``groups``: of each attribute, by its name, which stands in for groups called "no" and "yes".
    """
    named = [
        (f"not {attribute}", attribute) if tuple(names) == YES_NO else tuple(names)
        for attribute, names in groups.items()
    ]
    return tuple(" & ".join(names) for names in product(*named))


def joint_codes(codes: Sequence[np.ndarray], groups: Sequence[int]) -> np.ndarray:
    """Group codes (n,) of an intersection from those of its attributes, which have so many ``groups``."""
    total = np.zeros(len(codes[0]), dtype=np.int64)
    for held, count in zip(codes, groups, strict=True):
        total = total * count + held
    return total


def all_groups(held: Tensor, total: Tensor) -> Tensor:
    """From columns as held (..., 1 or G) to all groups (..., G); ``total`` (...,) is the sum over the groups."""
    if held.shape[-1] > 1:
        return held
    return torch.cat([total[..., None] - held, held], dim=-1)
