"""The linear adversaries that adv and ent train against: one on shares, or one of the developer's own.

Both answer with gradient rows by the developer's unit feature rows, and then move one step.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Protocol

import numpy as np
import torch
from torch import Tensor

from secure_fair.groups import columns
from secure_fair.learning.memberships.moments import MomentSource
from secure_fair.learning.memberships.regression import ENCODING_MARGIN
from secure_fair.learning.method import Training
from secure_fair.operations.adversary_rows import adversary_rows
from secure_fair.operations.adversary_step import plain_adversary
from secure_fair.operations.common.ask import Auditors
from secure_fair.operations.entropy_rows import entropy_rows, plain_entropy


class Adversary(Protocol):
    """One linear map per attribute, which begins at zero and moves one step for each batch of unit rows (B, d)."""

    def start_epoch(self) -> None:
        """Called before each epoch."""

    def loss_rows(self, attribute: str, records: np.ndarray, unit: Tensor) -> Tensor:
        """dL/du (B, d) of the adversary's summed loss, as it stands before the step."""

    def entropy_rows(self, attribute: str, records: np.ndarray, unit: Tensor) -> Tensor:
        """dH/du (B, d) of the entropy of what it predicts, as it stands before the step."""

    def state(self) -> dict[str, Any]:
        """The part that is carried from one epoch to the next and is not on shares."""

    def restore(self, state: Mapping[str, Any]) -> None:
        """Go on from a ``state``."""


class SharedAdversary:
    """Its weights stay on shares, and every batch's rows are a release."""

    def __init__(self, auditors: Auditors) -> None:
        self.auditors = auditors

    def start_epoch(self) -> None:
        """Nothing to do."""

    def loss_rows(self, attribute: str, records: np.ndarray, unit: Tensor) -> Tensor:
        """Opened, with their noise."""
        return adversary_rows(self.auditors, attribute, records, unit).values

    def entropy_rows(self, attribute: str, records: np.ndarray, unit: Tensor) -> Tensor:
        """Opened, with their noise."""
        return entropy_rows(self.auditors, attribute, records, unit).values

    def state(self) -> dict[str, Any]:
        """Nothing: every party has its share of the weights."""
        return {}

    def restore(self, state: Mapping[str, Any]) -> None:
        """Nothing to do."""


class FittedAdversary:
    """The developer's own, in the clear, fitted to memberships that it estimates from a moment an epoch.

    An adversary's loss is linear in the attributes, given its prediction: sum_i u_i (p_i - a_i) is its gradient, of
    which the attributes' part is a moment of the unit rows. So estimates of a_i that reproduce the covariance of rows
    and attributes take their place (``soft_memberships``). Whatever is made of the released moments is post-processing:
    a step costs nothing, and there is nothing on shares that a developer could tamper with.
    """

    def __init__(self, training: Training, components: int | None) -> None:
        """``components``: columns of a moment's query; None: as the noise allows."""
        self.training = training
        self.components = components
        self.strata = torch.zeros_like(training.labels)
        self.source = MomentSource(training, self.strata, 1)
        self.weights: dict[str, Tensor] = {}  # (d, 1 or G), float64

    def start_epoch(self) -> None:
        """Have the moment of this epoch's features and predictions opened."""
        self.source.start_epoch(self._query)

    def loss_rows(self, attribute: str, records: np.ndarray, unit: Tensor) -> Tensor:
        """The plain twin of the adversary on shares, on estimates."""
        estimates, weights = self._estimates(attribute, records), self._standing(attribute, unit.shape[1])
        rows, self.weights[attribute] = plain_adversary(unit, estimates, weights)
        return rows

    def entropy_rows(self, attribute: str, records: np.ndarray, unit: Tensor) -> Tensor:
        """They depend on attributes through the weights alone."""
        rows = plain_entropy(unit, self._standing(attribute, unit.shape[1]))
        self.loss_rows(attribute, records, unit)
        return rows

    def state(self) -> dict[str, Any]:
        """Weights, and the source's answers."""
        return {"weights": self.weights, "source": self.source.state()}

    def restore(self, state: Mapping[str, Any]) -> None:
        """Go on from them."""
        self.weights = dict(state["weights"])
        self.source.restore(state["source"])

    def _query(self) -> Tensor:
        features, probabilities = self.training.evaluate()
        unit = unit_rows(features - features.mean(0))
        return self.source.query(unit, probabilities, self.source.columns(self.components))

    def _estimates(self, attribute: str, records: np.ndarray) -> Tensor:
        """Estimated memberships (B, 1 or G) in columns as attributes are held: right on average, not within [0, 1]."""
        members = self.source.memberships[attribute][torch.from_numpy(records)] + self.source.priors[attribute]
        return members[:, 1:] if members.shape[1] == 2 else members

    def _standing(self, attribute: str, width: int) -> Tensor:
        held = columns(len(self.training.auditors.groups(attribute)))
        return self.weights.setdefault(attribute, torch.zeros(width, held, dtype=torch.float64))


def unit_rows(features: Tensor) -> Tensor:
    """Rows of norm 1, less what their encoding may add, of the features (B, d)."""
    return (1 - ENCODING_MARGIN) * torch.nn.functional.normalize(features, dim=1)
