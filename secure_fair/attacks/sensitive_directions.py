"""The row space of an auditor's sensitive adapter, from one gradient of orth: directions are not protected.

2 A_t A_s^T A_s has its rows in the space of the rows of A_s (design of orth), whatever protects the records that A_s
was trained on. DP-SGD bounds what the adapter tells of one record; what it knows of the attribute is P2.
"""

from __future__ import annotations

import numpy as np
import torch

from secure_fair.attacks.common.attack import Attack, Context, Outcome
from secure_fair.operations.orthogonality import plain_orthogonality

RANK, WIDTH, ADAPTERS = 4, 64, 50
FOUND = 0.99  # cosine of a direction with the space that is guessed


class SensitiveDirections(Attack):
    """Each row of A_s is won where it lies in the space that the developer guesses."""

    claim = "a developer that asks for no gradient knows no direction of the adapter (asked, it does: P2)"
    view = "developer"
    needs = "one gradient of orth, by an adapter of its own"
    twin = "a developer with that gradient"

    def run(self, context: Context) -> Outcome:
        """Several adapters."""
        generator, without, with_it = context.generator("sensitive_directions"), 0, 0
        for _ in range(ADAPTERS):
            task, sensitive = (torch.from_numpy(generator.normal(size=(RANK, WIDTH))) for _ in range(2))
            (gradient,) = plain_orthogonality([task], [sensitive])
            without += _found(task.numpy(), sensitive.numpy())
            with_it += _found(gradient.numpy(), sensitive.numpy())
        return Outcome.counted(without, with_it, RANK * ADAPTERS, most=0.0)


def _found(guess: np.ndarray, directions: np.ndarray) -> int:
    """How many rows of ``directions`` lie in the row space of ``guess``."""
    basis = np.linalg.qr(guess.T)[0]
    cosines = np.linalg.norm(directions @ basis, axis=1) / np.linalg.norm(directions, axis=1)
    return int((cosines > FOUND).sum())


ATTACK = SensitiveDirections()
