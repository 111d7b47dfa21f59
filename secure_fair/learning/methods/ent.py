"""Entropy maximisation: the developer makes the adversary's prediction say nothing."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import torch
from torch import Tensor

from secure_fair.learning.method import Extent
from secure_fair.learning.methods.adv import Adv
from secure_fair.learning.settings import MethodSettings
from secure_fair.operations import planned
from secure_fair.privacy.plan import PlannedRelease

MOMENTS = (
    'method.release: "moments" are of attributes of the developer\'s records, and with data.auditor_records "own" '
    'nobody has them; use release "rows", or data.auditor_records "aligned"'
)


class Ent(Adv):
    """The entropy of the adversary's prediction is ascended in place of its loss (OpenReview WXExC90EVp).

    The rows depend on attributes through the adversary's weights alone. ``release`` is that of ``adv``: the adversary
    is on shares, or the developer's own. With records of the auditor's own, the one on shares is trained by the auditor
    on its own pictures, and no attribute of the developer's records takes part: on the features of the frozen backbone,
    once, or on those of the developer's adapter, which then is disclosed to the auditor at the start of every epoch.
    """

    own_records = True
    keys = (*Adv.keys, "adversary_features")

    @classmethod
    def conflicts(cls, settings: MethodSettings, own_records: bool) -> Iterator[str]:
        """Disclosing the adapter is of use where the auditor trains on its own pictures; then nobody tells moments."""
        if settings.adversary_features == "disclosed" and not own_records:
            yield (
                'method.adversary_features: "disclosed" is for data.auditor_records "own" alone, where the auditor '
                "trains on features of its own pictures; leave it out"
            )
        if settings.release == "moments" and own_records:
            yield MOMENTS

    @classmethod
    def planned(cls, settings: MethodSettings, extent: Extent) -> list[PlannedRelease]:
        """Rows that follow from the adversary's training on the auditor's own pictures; otherwise as for adv."""
        if extent.own_records:
            return [planned("entropy_rows", extent.groups, extent.steps, 1)]
        return super().planned(settings, extent)

    @classmethod
    def planned_rows(cls, extent: Extent) -> PlannedRelease:
        """The rows follow from the adversary's noised updates."""
        return planned("entropy_rows", extent.groups, extent.steps, extent.epochs)

    @classmethod
    def own_trainings(cls, settings: MethodSettings, epochs: int) -> int:
        """Once, or anew for every disclosed adapter."""
        return epochs if settings.adversary_features == "disclosed" else 1

    def start_epoch(self, epoch: int) -> None:
        """With the auditor's own records: have the adversary trained."""
        super().start_epoch(epoch)
        disclosed = self.settings.adversary_features == "disclosed"
        if not self.auditors.own_records or (epoch > 0 and not disclosed):
            return
        from secure_fair.learning.lora import adapted, adapter_state, backbone  # peft takes seconds to import

        model = adapted(self.training.model)
        adapter = adapter_state(model) if disclosed else None
        for attribute in self.auditors.attributes:
            self.auditors.train_adversary(attribute, backbone(model).num_features, adapter)

    def rows(self, attribute: str, records: np.ndarray, unit: Tensor) -> Tensor:
        """dH/du of the adversary as it stands."""
        return self.adversary.entropy_rows(attribute, records, unit)

    def centre_of(self, features: Tensor) -> Tensor:
        """Nothing where the auditor trains on rows of its own pictures, about whose mean nobody is told."""
        return torch.zeros_like(features[0]) if self.auditors.own_records else super().centre_of(features)


METHOD = Ent
