"""What a scenario says of model and method, and what every party derives from it without loading a model.

timm and peft take seconds to import; the dealer has no use for them, and an auditor only where it trains an adapter.
"""

from __future__ import annotations

from dataclasses import dataclass

ADVERSARY_RATE = 0.05  # gradient step of the adversary on its summed loss
ADVERSARY_BALL = 8.0  # bound on the norm of its weights, so that logits on unit rows are bounded too


@dataclass(frozen=True)
class ModelSettings:
    """Which backbone, and where the adapters sit."""

    backbone: str
    weights: str
    image_size: int
    rank: int
    alpha: float
    targets: tuple[str, ...]
    last_blocks: int | None


@dataclass(frozen=True)
class MethodSettings:
    """How a method pulls: see the scenario reference for what each number does.

    ``own_records``: the auditors hold nothing of the developer's records, only pictures of their own.
    """

    name: str
    release: str | None = None
    strength: float = 1.0
    components: int = 16
    ramp_epochs: float = 1.0
    sensitive_scale: float = 0.0
    orthogonality: str = "weights"
    target_gap: float | None = None
    own_records: bool = False
    adversary_features: str = "frozen"

    def own_trainings(self, epochs: int) -> int:
        """How often the auditor trains an adversary on its own pictures."""
        if self.name != "ent" or not self.own_records:
            return 0
        return epochs if self.adversary_features == "disclosed" else 1


def batches_per_epoch(records: int, batch_size: int) -> int:
    """Batches of ``batch_size`` records or slightly more, all alike: a short last one would be refused by a gate."""
    return max(1, records // batch_size)
