"""Entropy maximisation: the developer makes the adversary's prediction say nothing."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

from secure_fair.learning.auditors import Release
from secure_fair.learning.lora import adapter_state, backbone
from secure_fair.learning.methods.adv import Adv


class Ent(Adv):
    """The entropy of the adversary's prediction is ascended in place of its loss (OpenReview WXExC90EVp).

    The rows depend on attributes through the adversary's weights alone. With records of the auditor's own, the
    adversary is trained by the auditor on its own pictures, and no attribute of the developer's records takes part:
    on the features of the frozen backbone, once, or on those of the developer's adapter, which then is disclosed to
    the auditor at the start of every epoch.
    """

    def start_epoch(self, epoch: int) -> None:
        """With the auditor's own records: have the adversary trained."""
        disclosed = self.settings.adversary_features == "disclosed"
        if self.settings.own_records and (disclosed or epoch == 0):
            adapter = adapter_state(self.training.model) if disclosed else None
            for attribute in self.auditors.attributes:
                self.auditors.train_adversary(attribute, backbone(self.training.model).num_features, adapter)

    def rows(self, attribute: str, records: np.ndarray, unit: Tensor) -> Release:
        """dH/du of the adversary as it stands."""
        return self.auditors.entropy_rows(attribute, records, unit)

    def centre_of(self, features: Tensor) -> Tensor:
        """Nothing where the auditor trains on rows of its own pictures, about whose mean nobody is told."""
        return torch.zeros_like(features[0]) if self.settings.own_records else super().centre_of(features)
