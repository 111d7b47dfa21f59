"""Worst-case neighbours on counts: an evaluation in which every test record is the only one in its stratum."""

from __future__ import annotations

import numpy as np

from secure_fair.attacks.common.attack import AttackTerms, Ceiling, Context, ScoredAttack, balanced, blocks
from secure_fair.attacks.common.auditor import EVALUATION, EXACT, auditor, evaluation_plan, isolating
from secure_fair.attacks.common.statistics import Scores
from secure_fair.privacy.policy import Policy

BLOCK = 400  # strata of an evaluation


class CountNeighbours(ScoredAttack):
    """The developer says who is in which stratum; a count of one is that person's attribute and noise."""

    claim = "counts of test records tell of one person's attribute no more than evaluation_epsilon allows"
    view = "developer"
    needs = "strata of its own"
    twin = "the same counts without noise"

    def ceiling(self, terms: AttackTerms) -> Ceiling:
        """That of all counts of test records."""
        return terms.evaluation_ceiling

    def scores(self, context: Context, *, protected: bool) -> Scores:
        """One evaluation of each record."""
        exact = not protected
        trials = self.trials(context)
        records = blocks(max(trials // (10 if exact else 1), 2 * BLOCK), BLOCK)
        attributes = balanced(BLOCK * len(records))
        plan = evaluation_plan(context.terms, exact=exact)
        with auditor(attributes, plan, EXACT if exact else Policy()) as asked:
            counts = [asked.ask(EVALUATION, part, isolating(BLOCK), context.terms.precision_bits) for part in records]
        return Scores.of(np.concatenate(counts)[:, 0], attributes, context.generator("count_neighbours"))


ATTACK = CountNeighbours()
