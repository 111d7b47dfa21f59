"""Memberships of a batch's records as they are released batch by batch: a noised row for each record."""

from __future__ import annotations

import torch
from torch import Tensor

from secure_fair.groups import all_groups
from secure_fair.learning.memberships.source import MembershipSource, planned_counts
from secure_fair.learning.method import Batch, Extent
from secure_fair.operations import planned
from secure_fair.operations.penalty_rows import penalty_rows
from secure_fair.privacy.plan import PlannedRelease


class RowSource(MembershipSource):
    """Every record's row is released anew in every epoch, each time with its share of the budget."""

    release = "rows"

    @staticmethod
    def planned(extent: Extent) -> list[PlannedRelease]:
        """Counts once, a release a batch."""
        return [planned_counts(extent), planned("penalty_rows", extent.groups, extent.steps, extent.epochs)]

    def of(self, attribute: str, batch: Batch) -> Tensor:
        """The rows of the batch, less the priors."""
        released = penalty_rows(self.auditors, attribute, batch.records)
        rows = all_groups(released.values, torch.ones(len(batch.records), dtype=torch.float64))
        return rows - self.priors[attribute][self.strata[torch.from_numpy(batch.records)]]
