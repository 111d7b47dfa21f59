"""Reconstruction from the moments of a whole training: fewer numbers than people each epoch, as many over all."""

from __future__ import annotations

import numpy as np

from secure_fair.attacks.common.attack import Context, ScoredAttack, balanced
from secure_fair.attacks.common.epochs import told_over_epochs
from secure_fair.attacks.common.statistics import Scores

PEOPLE = 512
TRAININGS = 3


class MomentsOverEpochs(ScoredAttack):
    """Features move from epoch to epoch, so that each moment is another set of equations of the same attributes.

    The estimates of one training share its noise, so their bounds are not formal.
    """

    claim = "the moments of all epochs together do not give the attributes of those who were trained on"
    view = "developer"
    needs = "features that are not the same in every epoch"
    twin = "the same moments without noise"
    formal = False

    def scores(self, context: Context, *, protected: bool) -> Scores:
        """A few trainings, each of other people."""
        exact = not protected
        generator, ratios, truth = context.generator("moments_over_epochs"), [], []
        for _ in range(TRAININGS):
            truth.append(generator.permutation(balanced(PEOPLE)))
            told = told_over_epochs(context, truth[-1], generator, exact=exact)
            ratios.append(told.ratios(np.full(PEOPLE, 0.5)))
        return Scores.of(np.concatenate(ratios), np.concatenate(truth), generator)


ATTACK = MomentsOverEpochs()
