"""Averaging: the same moment over and over, until the gate refuses, then after a restart, then in other runs."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np

from secure_fair.attacks.common.attack import Attack, Context, Outcome, balanced, blocks
from secure_fair.attacks.common.auditor import AttackedAuditor, isolating, opened, training_plan
from secure_fair.attacks.common.statistics import Scores
from secure_fair.errors import BudgetExceeded
from secure_fair.privacy.plan import Plan
from secure_fair.privacy.policy import Policy

NAME = "moment"
BLOCK = 400  # columns of a query
RUNS = ("run", "run", "second", "third", "fourth")  # the second time it is resumed
MOST = 100  # answers about one record, should nobody refuse: more would be won for certain


class Averaging(Attack):
    """Noise that is drawn anew averages out; the mean of all answers is the best statistic of them."""

    claim = "all answers together, over epochs, restarts and runs, tell no more than the policy's epsilon for life"
    view = "developer"
    needs = "as many answers as it is given"
    twin = "a policy without an epsilon for life: every run has its own"

    def run(self, context: Context) -> Outcome:
        """The policy's epsilon for life is that of one run."""
        terms, ceiling = context.terms, context.terms.ceiling
        assert ceiling.mu is not None
        trials = context.cheap_trials(ceiling.mu) // 2  # each has many releases
        policies = (Policy(epsilon=terms.epsilon, delta=terms.delta), Policy())
        ours, twin = (self._scores(context, trials, policy) for policy in policies)
        return Outcome.scored(ours, twin, ceiling)

    def _scores(self, context: Context, trials: int, policy: Policy) -> Scores:
        terms, records = context.terms, blocks(max(trials, 2 * BLOCK), BLOCK)
        attributes = balanced(BLOCK * len(records))
        plan = training_plan(NAME, terms, participations=terms.participations, reserve=terms.reserve, exact=False)
        with TemporaryDirectory(prefix="secure-fair-review-") as folder:
            means = _everything(Path(folder), attributes, records, plan, policy, terms.precision_bits)
        return Scores.of(means, attributes, context.generator("averaging"))


def _everything(
    folder: Path, attributes: np.ndarray, records: Sequence[np.ndarray], plan: Plan, policy: Policy, bits: int
) -> np.ndarray:
    """The mean of all answers about each record, float64 (n,)."""
    sums, counts = np.zeros(len(attributes)), np.zeros(len(attributes))
    for run in RUNS:
        with opened(folder, attributes, plan, policy, run) as asked:
            for part in records:
                for answer in _until_refused(asked, part, bits, MOST - int(counts[part[0]])):
                    sums[part] += answer
                    counts[part] += 1
    return sums / np.maximum(counts, 1)


def _until_refused(asked: AttackedAuditor, records: np.ndarray, bits: int, most: int) -> list[np.ndarray]:
    answers: list[np.ndarray] = []
    while len(answers) < most:
        try:
            answers.append(asked.ask(NAME, records, isolating(BLOCK), bits)[:, 0])
        except BudgetExceeded:
            break
    return answers


ATTACK = Averaging()
