"""Unlearning by negation: the sensitive adapter is subtracted from the base weights before the task is learned."""

from __future__ import annotations

from secure_fair.learning.lora import negate_into_base, scaling
from secure_fair.learning.methods.base import Method, Training
from secure_fair.learning.settings import MethodSettings


class Unl(Method):
    """W <- W - strength * scaling * B_s A_s for every sensitive adapter, before the first step (arXiv 2503.05684)."""

    def __init__(self, settings: MethodSettings) -> None:
        self.settings = settings

    def start(self, training: Training) -> None:
        """Fetch the adapters and negate them."""
        scale = self.settings.strength * scaling(training.model)
        for attribute in training.auditors.attributes:
            negate_into_base(training.model, training.auditors.sensitive_adapter(attribute), scale)
