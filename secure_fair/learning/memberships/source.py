"""A source of memberships: estimates of A - prior for every record, made from what auditors released."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, ClassVar

import torch
from torch import Tensor

from secure_fair.groups import all_groups
from secure_fair.learning.gaps import outputs
from secure_fair.learning.memberships.regression import MOST_COLUMNS, affordable_columns, query_matrix
from secure_fair.learning.method import Batch, Extent, Training
from secure_fair.operations import planned
from secure_fair.operations.group_counts import group_counts
from secure_fair.privacy.plan import PlannedRelease

COUNTS_WEIGHT = 0.1  # of the budget that another release gets: shares of groups are known well enough with it
SMALLEST_SHARE = 0.01  # a noised count may say that a group is empty; its share must not


class MembershipSource:
    """Estimates of a_ig - pi_g, right on average, with errors that do not go with the developer's predictions.

    Records are in ``strata`` (n,) int64, ``count`` of them; ``priors`` (S, G) are the groups' shares in each, by
    attribute.
    """

    release: ClassVar[str]

    def __init__(self, training: Training, strata: Tensor, count: int) -> None:
        self.training = training
        self.auditors = training.auditors
        self.strata = strata
        self.count = count
        self.priors: dict[str, Tensor] = {}
        for attribute in self.auditors.attributes:
            self.priors[attribute] = self.take_priors(attribute)

    def columns(self, asked: int | None) -> int:
        """Columns of a query's block for one stratum: as many as ``asked``, or as stand out from the noise."""
        if asked is not None:
            return asked
        records = len(self.training.labels)
        noises = {name: self.auditors.noise("moment", name, records) for name in self.auditors.attributes}
        sizes = {name: len(self.auditors.groups(name)) for name in noises}
        found = [affordable_columns(records // self.count, sizes[name], sigma) for name, sigma in noises.items()]
        return min(found, default=MOST_COLUMNS)

    def query(self, features: Tensor, probabilities: Tensor, columns: int) -> Tensor:
        """The query (n, S * columns) that memberships are to be found along, rows of norm at most 1.

        From features (n, d) and predictions (n, C) of all records.
        """
        return query_matrix(features, outputs(probabilities), self.strata, self.count, columns)

    @staticmethod
    def planned(extent: Extent) -> list[PlannedRelease]:
        """The releases of one attribute."""
        raise NotImplementedError

    def take_priors(self, attribute: str) -> Tensor:
        """Shares (S, G) from one release of counts."""
        sizes = torch.bincount(self.strata, minlength=self.count).double()
        released = group_counts(self.auditors, attribute, self.training.records, self.strata, self.count)
        return shares(all_groups(released.values, sizes), released.sigma)

    def start_epoch(self, query: Callable[[], Tensor]) -> None:
        """Called before each epoch with what makes the epoch's query (n, k), for whoever asks one."""

    def of(self, attribute: str, batch: Batch) -> Tensor:
        """Estimates (B, G) for the records of a batch."""
        raise NotImplementedError

    def of_all(self, attribute: str) -> Tensor | None:
        """Estimates (n, G) for all records, where they are known before the batches come."""
        return None

    def state(self) -> dict[str, Any]:
        """The part that is carried from one epoch to the next, beside the priors."""
        return {}

    def restore(self, state: Mapping[str, Any]) -> None:
        """Go on from a ``state``."""


def planned_counts(extent: Extent) -> PlannedRelease:
    """The one release of counts from which priors are taken."""
    return planned("group_counts", extent.groups, 1, 1, COUNTS_WEIGHT)


def shares(counts: Tensor, sigma: float = 0.0) -> Tensor:
    """Group shares (S, G) from counts that noise of ``sigma`` may have driven below 0.

    No group is taken to be smaller than one standard deviation of the noise: distances are divided by the share.
    """
    positive = counts.clamp_min(0)
    total = positive.sum(1, keepdim=True).clamp_min(1)
    smallest = (sigma / total).clamp(SMALLEST_SHARE, 1 / counts.shape[1])
    shares = torch.maximum(positive / total, smallest)
    return shares / shares.sum(1, keepdim=True)
