"""An adversary's weights, read out of the rows of its entropy: they are a sum over the people that it has learned from.

Rows of ``ent`` have attributes in them through the weights alone. One row is the weights, up to a factor; where every
person has a feature to itself, entry i of one update is person i's residual and noise.
"""

from __future__ import annotations

import numpy as np
import torch

from secure_fair.attacks.common.attack import Attack, Context, Outcome, balanced
from secure_fair.attacks.common.auditor import EXACT, TRUSTING, auditor, training_plan
from secure_fair.attacks.common.statistics import Scores

NAME = "entropy_rows"
BLOCK = 400  # people of one run, with a feature each
KNOWN = 100  # more of them, of the first group, share a feature: they tell the sign
READING = 32  # records of the request that reads the weights
MOST = 4000


class EntropyWeights(Attack):
    """The first request moves the adversary from zero, the second one shows it."""

    claim = "an adversary's entropy rows tell of one person's attribute no more than its accounted update allows"
    view = "developer"
    needs = f"the attributes of {KNOWN} others; features of its own, within their bound; the protocol kept to"
    twin = "the same update without noise"

    def run(self, context: Context) -> Outcome:
        """One update of each person."""
        ceiling = context.terms.ceiling
        assert ceiling.mu is not None
        trials = min(context.cheap_trials(ceiling.mu), MOST)
        ours, twin = (self._scores(context, trials // (1 if noised else 10), noised) for noised in (True, False))
        return Outcome.scored(ours, twin, ceiling)

    def _scores(self, context: Context, trials: int, noised: bool) -> Scores:
        blocks, attributes = max(trials // BLOCK, 1), balanced(BLOCK)
        residuals = [self._residuals(context, attributes, noised) for _ in range(blocks)]
        return Scores.of(np.concatenate(residuals), np.tile(attributes, blocks), context.generator("entropy_weights"))

    def _residuals(self, context: Context, attributes: np.ndarray, noised: bool) -> np.ndarray:
        """One run; the weights (n,) of the people in units of that of those who are known."""
        first, bits = np.arange(KNOWN + BLOCK, dtype=np.int64), context.terms.precision_bits
        everybody = np.concatenate([np.ones(KNOWN), attributes, np.ones(READING)]).astype(np.int64)
        moving = torch.zeros(KNOWN + BLOCK, 1 + BLOCK, dtype=torch.float64)
        moving[:KNOWN, 0], moving[KNOWN:, 1:] = 1.0, torch.eye(BLOCK, dtype=torch.float64)
        reading = moving[:1].repeat(READING, 1)
        plan = training_plan(NAME, context.terms, "adversary_step", exact=not noised)
        with auditor(everybody, plan, TRUSTING if noised else EXACT) as asked:
            asked.ask(NAME, first, moving, bits)
            row = asked.ask(NAME, np.arange(READING, dtype=np.int64) + len(first), reading, bits)[0]
        return row[1:] / row[0]


ATTACK = EntropyWeights()
