"""Counts of records by stratum and group: the moment of the strata's indicators."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor

from secure_fair.mpc.bounds import RowSum
from secure_fair.mpc.commitment import commit_bits
from secure_fair.mpc.products import Masked
from secure_fair.operations.common.ask import Ask, Auditors, Release
from secure_fair.operations.common.sizes import RunSizes
from secure_fair.operations.common.state import SharedState
from secure_fair.operations.moment import Moment


def group_counts(auditors: Auditors, attribute: str, records: np.ndarray, strata: Tensor, count: int) -> Release:
    """Have counts opened, (count, columns); ``strata`` (n,) int64 in [0, count)."""
    ask = Ask(operation="group_counts", attribute=attribute, width=count)
    return auditors.release(ask, records, [indicators(strata, count)])


class GroupCounts(Moment):
    """Each record is in one stratum: a row of the query is a unit vector, and one attribute moves one row of counts."""

    def foreseen(self, ask: Ask, sizes: RunSizes) -> tuple[Ask, int]:
        """The method's strata of all training records."""
        return ask.model_copy(update={"width": sizes.strata}), sizes.training

    def proof_block(self, ask: Ask, records: int) -> int:
        """Bits are proved without sums over blocks."""
        return 0

    def commit(
        self,
        state: SharedState,
        values: Tensor | None,
        shape: tuple[int, int],
        verifiers: Sequence[str],
        told: Sequence[str] | None = None,
    ) -> Masked:
        """Commit the developer to its indicators and prove that each row has a single one."""
        developer, rule = state.facts.developer, RowSum.ONE
        return commit_bits(state.session, [developer], values, shape, rule=rule, verifiers=verifiers, told=told)


def indicators(strata: Tensor, count: int) -> Tensor:
    """One-hot rows (n, count), float64."""
    return (strata[:, None] == torch.arange(count)).double()


OPERATION = GroupCounts()
