"""Unlearning by negation: the sensitive adapter is subtracted from the base weights before the task is learned."""

from __future__ import annotations

from secure_fair.learning.method import Extent, Method, Training
from secure_fair.learning.settings import MethodSettings
from secure_fair.operations import planned
from secure_fair.operations.sensitive_adapter import sensitive_adapter
from secure_fair.privacy.plan import PlannedRelease


class Unl(Method):
    """W <- W - strength * scaling * B_s A_s for every sensitive adapter, before the first step (arXiv 2503.05684).

    The base's weights stay as they are: the negated adapters are active beside the task's, and are saved with it.
    """

    releases = ("adapter",)
    adapter_releases = ("adapter",)
    own_records = True
    moves_features = True
    keys = ("strength", "attributes")

    @classmethod
    def planned(cls, settings: MethodSettings, extent: Extent) -> list[PlannedRelease]:
        """The adapter, once."""
        return [planned("sensitive_adapter", extent.groups, 1, 1)]

    def start(self, training: Training) -> None:
        """Fetch the adapters and negate them."""
        from secure_fair.learning.lora import adapted, add_sensitive, scaling  # peft takes seconds to import

        model = adapted(training.model)
        scale = self.settings.strength * scaling(model)
        for place, attribute in enumerate(training.auditors.attributes):
            adapter = sensitive_adapter(training.auditors, attribute)
            add_sensitive(model, adapter, -scale, f"negated{place}")


METHOD = Unl
