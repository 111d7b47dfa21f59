"""Direction of an adversary's gradient rows: row i is (p_i - a_i) w, and w points where the developer has moved it.

Li et al. (2022) read labels out of split learning so, by direction and by norm.
"""

from __future__ import annotations

import numpy as np
import torch

from secure_fair.attacks.common.attack import Context, ScoredAttack, balanced
from secure_fair.attacks.common.auditor import EXACT, TRUSTING, AttackedAuditor, auditor, training_plan
from secure_fair.attacks.common.statistics import Scores

NAME = "adversary_rows"
KNOWN = 500  # people of the first group whose attribute the developer knows, in each step
STEPS = 8


class AdversaryDirections(ScoredAttack):
    """The adversary starts at zero; people whose attribute is known move its weights along the first feature.

    Everybody else's features are zero, so that p is one half and the row's first entry has the attribute's sign.
    """

    claim = "an adversary's gradient rows tell of one person's attribute no more than epsilon allows"
    view = "developer"
    needs = f"the attributes of {KNOWN * STEPS} others; features of its own, within their bound; the protocol kept to"
    twin = "the same rows and updates without noise"

    def scores(self, context: Context, *, protected: bool) -> Scores:
        """One row of each person, and one update."""
        exact = not protected
        trials = self.trials(context)
        known, attributes = KNOWN * STEPS, balanced(trials)
        plan = training_plan(NAME, context.terms, "adversary_step", exact=exact)
        with auditor(
            np.append(np.ones(known, dtype=np.int64), attributes), plan, EXACT if exact else TRUSTING
        ) as asked:
            for step in range(STEPS):
                self._ask(asked, np.arange(step * KNOWN, (step + 1) * KNOWN), 0.5, context)
            rows = self._ask(asked, np.arange(known, known + trials), 0.0, context)
        return Scores.of(-rows[:, 0], attributes, context.generator("adversary_directions"))

    def _ask(self, asked: AttackedAuditor, records: np.ndarray, entry: float, context: Context) -> np.ndarray:
        features = torch.zeros(len(records), 2, dtype=torch.float64)
        features[:, 0] = entry
        return asked.ask(NAME, records.astype(np.int64), features, context.terms.precision_bits)


ATTACK = AdversaryDirections()
