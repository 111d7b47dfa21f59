"""Reconstruction from sums over batches: every step another batch of the same people, every epoch another order."""

from __future__ import annotations

import numpy as np
import torch

from secure_fair.attacks.common.attack import Context, ScoredAttack, balanced
from secure_fair.attacks.common.auditor import EXACT, auditor, deviation, training_plan
from secure_fair.attacks.common.epochs import OpenedMoments, unit_rows
from secure_fair.attacks.common.statistics import Scores
from secure_fair.privacy.policy import Policy

NAME = "moment"
PEOPLE, BATCH = 512, 128
WIDTH = 48  # numbers of each sum: fewer than people in it


class BatchSums(ScoredAttack):
    """A step's gradient of a fairness penalty is a sum over its batch, weighted by what the developer knows.

    The estimates share noise, so their bounds are not formal.
    """

    claim = "sums over the batches of all steps do not give the attributes of those who are in them"
    view = "developer"
    needs = "to know its batches, which it draws itself"
    twin = "the same sums without noise"
    formal = False

    def scores(self, context: Context, *, protected: bool) -> Scores:
        """As many epochs as a record takes part in."""
        exact = not protected
        generator, terms = context.generator("batch_sums"), context.terms
        attributes = generator.permutation(balanced(PEOPLE))
        plan, queries, answers = training_plan(NAME, terms, participations=terms.participations, exact=exact), [], []
        with auditor(attributes, plan, EXACT if exact else Policy()) as asked:
            for _ in range(terms.participations):
                for batch in np.split(generator.permutation(PEOPLE), PEOPLE // BATCH):
                    query = np.zeros((PEOPLE, WIDTH))
                    query[batch] = unit_rows(generator, BATCH, WIDTH)
                    queries.append(query)
                    answers.append(asked.ask(NAME, batch, torch.from_numpy(query[batch]), terms.precision_bits)[:, 0])
        told = OpenedMoments(np.concatenate(queries, axis=1), np.concatenate(answers), deviation(plan, NAME) ** 2)
        return Scores.of(told.ratios(np.full(PEOPLE, 0.5)), attributes, generator)


ATTACK = BatchSums()
