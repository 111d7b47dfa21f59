"""Memberships from randomised responses given once: corrected so that they are right on average, then smoothed."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

from secure_fair.learning.memberships.regression import smoothed
from secure_fair.learning.memberships.source import MembershipSource, shares
from secure_fair.learning.method import Batch, Extent, Training
from secure_fair.operations import planned
from secure_fair.operations.randomised_attributes import corrected, randomised_attributes
from secure_fair.privacy.plan import PlannedRelease


class ResponseSource(MembershipSource):
    """One answer of each person, whatever is made of it afterwards (arXiv 2002.11651).

    What the lies add to a record's row is many times as large as the truth at a small epsilon. So the rows are smoothed
    by the epoch's query, with the prior that moments have and at no epsilon.
    """

    release = "attributes"

    def __init__(self, training: Training, strata: Tensor, count: int) -> None:
        self.answers: dict[str, Tensor] = {}  # codes (n,) by attribute: an intersection's follow from them
        self.rows: dict[str, Tensor] = {}  # corrected, less the priors: (n, G)
        self.memberships: dict[str, Tensor] = {}  # (n, G)
        super().__init__(training, strata, count)

    @staticmethod
    def planned(extent: Extent) -> list[PlannedRelease]:
        """One answer a person."""
        return [planned("randomised_attributes", extent.groups, 1, 1)]

    def take_priors(self, attribute: str) -> Tensor:
        """Shares (S, G) from the corrected answers, which also give the memberships."""
        components = self.auditors.components(attribute)
        counts = [len(self.auditors.groups(component)) for component in components]
        answers = [self._answered(component) for component in components]
        codes, correction = corrected(answers, counts, [self.auditors.epsilon] * len(components))
        rows = torch.nn.functional.one_hot(codes, len(correction)).double() @ correction
        sums = torch.zeros(self.count, len(correction), dtype=torch.float64).index_add(0, self.strata, rows)
        priors = shares(sums)
        self.rows[attribute] = self.memberships[attribute] = rows - priors[self.strata]
        return priors

    def start_epoch(self, query: Callable[[], Tensor]) -> None:
        """Smooth the rows by the query; exact ones stay as they are."""
        if self.auditors.epsilon is None:
            return
        asked = query()
        for attribute, rows in self.rows.items():
            priors = self.priors[attribute][self.strata]
            lies = (rows.square().mean(0) - (priors * (1 - priors)).mean(0)).clamp_min(0)  # their variance
            self.memberships[attribute] = smoothed(rows, asked, lies, priors)

    def _answered(self, attribute: str) -> Tensor:
        if attribute not in self.answers:
            self.answers[attribute] = randomised_attributes(self.auditors, attribute, self.training.records)
        return self.answers[attribute]

    def of(self, attribute: str, batch: Batch) -> Tensor:
        """Those of the batch."""
        return self.memberships[attribute][torch.from_numpy(batch.records)]

    def of_all(self, attribute: str) -> Tensor | None:
        """All of them."""
        return self.memberships[attribute]
