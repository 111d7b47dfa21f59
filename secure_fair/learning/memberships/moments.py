"""Soft memberships of all records from one released moment an epoch and all before it."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import torch
from torch import Tensor

from secure_fair.errors import BudgetExceeded
from secure_fair.groups import all_groups
from secure_fair.learning.memberships.regression import ReleasedMoment, soft_memberships
from secure_fair.learning.memberships.source import MembershipSource, planned_counts
from secure_fair.learning.method import Batch, Extent, Training
from secure_fair.operations import planned
from secure_fair.operations.moment import moment, on_grid
from secure_fair.privacy.plan import PlannedRelease


class MomentSource(MembershipSource):
    """One query over all records an epoch: k numbers are released, however many records there are."""

    release = "moments"

    def __init__(self, training: Training, strata: Tensor, count: int) -> None:
        super().__init__(training, strata, count)
        self.answers: dict[str, list[ReleasedMoment]] = {attribute: [] for attribute in self.auditors.attributes}
        self.memberships: dict[str, Tensor] = {}  # (n, G)

    @staticmethod
    def planned(extent: Extent) -> list[PlannedRelease]:
        """Counts once, a moment an epoch."""
        return [planned_counts(extent), planned("moment", extent.groups, extent.epochs, extent.epochs)]

    def start_epoch(self, query: Callable[[], Tensor]) -> None:
        """Ask for the moment of the query and regress on it."""
        asked = on_grid(query())
        for attribute in self.auditors.attributes:
            self._ask(attribute, asked)
            self.memberships[attribute] = soft_memberships(self.answers[attribute], self.priors[attribute][self.strata])

    def _ask(self, attribute: str, query: Tensor) -> None:
        """BudgetExceeded where nothing was released and nothing may be; later the earlier answers do."""
        answers = self.answers[attribute]
        try:
            released = moment(self.auditors, attribute, self.training.records, query)
        except BudgetExceeded:  # an interrupted release was spent: go on with what there is
            if not answers:
                raise
            return
        priors = self.priors[attribute][self.strata]
        centred = all_groups(released.values, query.sum(0)) - query.T @ priors
        answers.append(ReleasedMoment(query, centred, released.sigma))

    def state(self) -> dict[str, Any]:
        """All answers so far, and what was made of them."""
        answers = {name: [(one.query, one.centred, one.sigma) for one in held] for name, held in self.answers.items()}
        return {"answers": answers, "memberships": self.memberships}

    def restore(self, state: Mapping[str, Any]) -> None:
        """Go on from them."""
        self.answers = {name: [ReleasedMoment(*one) for one in held] for name, held in state["answers"].items()}
        self.memberships = dict(state["memberships"])

    def of(self, attribute: str, batch: Batch) -> Tensor:
        """Those of the batch."""
        return self.memberships[attribute][torch.from_numpy(batch.records)]

    def of_all(self, attribute: str) -> Tensor | None:
        """All of them."""
        return self.memberships[attribute]
