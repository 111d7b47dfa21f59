"""Counts of records by stratum and group: the moment of the strata's indicators."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

from secure_fair.operations.common.ask import Ask, Auditors, Release
from secure_fair.operations.moment import Moment


def group_counts(auditors: Auditors, attribute: str, records: np.ndarray, strata: Tensor, count: int) -> Release:
    """Have counts opened, (count, columns); ``strata`` (n,) int64 in [0, count)."""
    ask = Ask(operation="group_counts", attribute=attribute, width=count)
    return auditors.release(ask, records, [indicators(strata, count)])


class GroupCounts(Moment):
    """Each record is in one stratum: a row of the query is a unit vector, and one attribute moves one row of counts."""


def indicators(strata: Tensor, count: int) -> Tensor:
    """One-hot rows (n, count), float64."""
    return torch.nn.functional.one_hot(strata, count).double()


OPERATION = GroupCounts()
