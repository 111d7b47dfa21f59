"""Refusals as an oracle: whether a request is refused, and in which words, tells the group of one person in it."""

from __future__ import annotations

from collections import Counter

import numpy as np

from secure_fair.attacks.common.attack import Attack, Context, Outcome, balanced
from secure_fair.attacks.common.auditor import AttackedAuditor, auditor, training_plan
from secure_fair.errors import BudgetExceeded, Refusal
from secure_fair.privacy.policy import Policy

NAME = "moment"
TARGETS, BATCH = 120, 32
SMALLEST = 5  # people of a group, below which the twin refuses


class Refusals(Attack):
    """Batches of people whose attribute is known, and one whose is not: the group sizes turn on that one.

    What each answer speaks for is learned from the first half of the targets.
    """

    claim = "refusals follow from public data: they are the same whatever the attributes are"
    view = "developer"
    needs = "the attributes of the others in a batch"
    twin = f"an auditor that refuses groups of fewer than {SMALLEST}, to protect them"

    def run(self, context: Context) -> Outcome:
        """A request in order and one that is too small, about each target."""
        targets = context.generator("refusals").permutation(balanced(TARGETS))
        known = np.zeros((TARGETS, BATCH), dtype=np.int64)
        known[:, 0], known[:, 1:SMALLEST] = targets, 1
        plan = training_plan(NAME, context.terms, exact=False)
        with auditor(known.reshape(-1), plan, Policy()) as asked:
            ours, twin = ([_said(asked, place, careful) for place in range(TARGETS)] for careful in (False, True))
        return Outcome.counted(_right(ours, targets), _right(twin, targets), TARGETS // 2, most=0.5)


def _said(asked: AttackedAuditor, target: int, careful: bool) -> str:
    records = np.arange(target * BATCH, (target + 1) * BATCH, dtype=np.int64)
    said = []
    for part in (records, records[:-1]):
        try:
            if careful and asked.codes["attribute"][part].sum() < SMALLEST:
                raise Refusal("a group is too small")
            asked.admit(NAME, part, 1)
            said.append("admitted")
        except (Refusal, BudgetExceeded) as error:
            said.append(str(error))
    return "\n".join(said)


def _right(said: list[str], truth: np.ndarray) -> int:
    """How many of the second half are guessed right by what the first half has taught."""
    half, votes = len(said) // 2, Counter[str]()
    for words, attribute in zip(said[:half], truth[:half], strict=True):
        votes[words] += 1 if attribute else -1
    guesses = np.array([votes[words] > 0 for words in said[half:]])
    return int((guesses == truth[half:].astype(bool)).sum())


ATTACK = Refusals()
