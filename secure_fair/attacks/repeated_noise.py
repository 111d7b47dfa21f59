"""Noise that comes again after a restart: two opposite queries, of which it cancels where it is the same."""

from __future__ import annotations

from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np

from secure_fair.attacks.common.attack import Attack, Context, Outcome, balanced
from secure_fair.attacks.common.auditor import isolating, opened, training_plan
from secure_fair.attacks.common.statistics import Scores
from secure_fair.privacy.noise import SeededNoise
from secure_fair.privacy.policy import Policy

NAME = "moment"
PEOPLE = 1000


class RepeatedNoise(Attack):
    """Half of the difference of the answers to F and to -F is the best statistic of both, and exact where noise is."""

    claim = "an auditor that is started again draws other noise than before"
    view = "developer"
    needs = "a restart of the auditor in the course of a run"
    twin = "noise from a seed, which every artefact of such a run calls NOT PRIVATE"

    def run(self, context: Context) -> Outcome:
        """One question before the restart, its opposite afterwards."""
        ours, twin = (self._scores(context, seeded) for seeded in (False, True))
        return Outcome.scored(ours, twin, context.terms.ceiling)

    def _scores(self, context: Context, seeded: bool) -> Scores:
        attributes, everybody = balanced(PEOPLE), np.arange(PEOPLE, dtype=np.int64)
        plan, answers = training_plan(NAME, context.terms, participations=2, exact=False), []
        with TemporaryDirectory(prefix="secure-fair-review-") as folder:
            for sign in (1.0, -1.0):
                noise = SeededNoise(context.seed) if seeded else None
                with opened(Path(folder), attributes, plan, Policy(), noise=noise) as asked:
                    query = sign * isolating(PEOPLE)
                    answers.append(asked.ask(NAME, everybody, query, context.terms.precision_bits)[:, 0])
        return Scores.of((answers[0] - answers[1]) / 2, attributes, context.generator("repeated_noise"))


ATTACK = RepeatedNoise()
