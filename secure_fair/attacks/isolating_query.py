"""A query that isolates one person: a batch as large as the policy wants it, all rows zero but one."""

from __future__ import annotations

import numpy as np
import torch

from secure_fair.attacks.common.attack import Context, ScoredAttack, balanced, blocks
from secure_fair.attacks.common.auditor import EXACT, auditor, training_plan
from secure_fair.attacks.common.statistics import Scores
from secure_fair.privacy.policy import Policy

NAME = "moment"
BATCH = 32  # persons: what a policy wants at least, unless it says otherwise
TRIALS = 160


class IsolatingQuery(ScoredAttack):
    """A minimum batch protects nobody by itself, and is not what protects here: noise does."""

    claim = "a query about one person in a batch tells no more than epsilon allows"
    view = "developer"
    needs = "a query of its own, in a batch of the policy's size"
    twin = "the same batch, of the same size, without noise"

    def scores(self, context: Context, *, protected: bool) -> Scores:
        """One batch, and one person in it, for each trial."""
        exact = not protected
        batches = blocks(TRIALS * BATCH, BATCH)
        attributes = balanced(TRIALS)  # of the one; the others' are drawn
        everybody = context.generator("others").integers(0, 2, TRIALS * BATCH)
        everybody[::BATCH] = attributes
        query = torch.zeros(BATCH, 1, dtype=torch.float64)
        query[0] = 1.0
        plan = training_plan(NAME, context.terms, exact=exact)
        with auditor(everybody, plan, EXACT if exact else Policy()) as asked:
            answers = [asked.ask(NAME, batch, query, context.terms.precision_bits)[0, 0] for batch in batches]
        return Scores.of(np.array(answers), attributes, context.generator("isolating_query"))


ATTACK = IsolatingQuery()
