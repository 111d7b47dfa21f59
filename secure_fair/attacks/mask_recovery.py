"""Recovery of a mask generator's state: 312 masks that a peer knows, and all that are drawn after them.

Over the wire, against stock CrypTen and against this engine, the same attack is a test of the engine.
"""

from __future__ import annotations

import numpy as np
import torch

from secure_fair.attacks.common import mersenne
from secure_fair.attacks.common.attack import Attack, Context, Outcome
from secure_fair.randomness import PRG, KeySource

AHEAD = 400


class MaskRecovery(Attack):
    """A party learns masks of its own operands; the other party's come from the same generator."""

    claim = "masks that a party knows tell it no other mask"
    view = "auditor"
    needs = f"{mersenne.ELEMENTS} masks of one generator"
    twin = "torch's generator, from which stock CrypTen draws its masks"

    def run(self, context: Context) -> Outcome:
        """Predict the masks that follow."""
        count = mersenne.ELEMENTS + AHEAD
        ours = PRG(KeySource.fresh().derive("masks")).ring((count,)).numpy()
        generator = torch.Generator().manual_seed(context.seed)
        twin = torch.randint(-(2**63), 2**63 - 1, (count,), generator=generator, dtype=torch.long).numpy()
        return Outcome.counted(_predicted(ours), _predicted(twin), AHEAD, most=0.0)


def _predicted(masks: np.ndarray) -> int:
    """How many of the later masks are told by the first ones."""
    told = mersenne.after(masks[: mersenne.ELEMENTS], AHEAD)
    return int((told == masks[mersenne.ELEMENTS :]).sum())


ATTACK = MaskRecovery()
