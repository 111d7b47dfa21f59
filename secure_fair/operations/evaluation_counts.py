"""Counts of test records by label, prediction and group, from which the released audit is made."""

from __future__ import annotations

import numpy as np
from torch import Tensor

from secure_fair.operations.common.ask import Ask, Auditors, Release
from secure_fair.operations.common.sizes import RunSizes
from secure_fair.operations.group_counts import GroupCounts, indicators
from secure_fair.privacy.release_cache import Question

NAME = "evaluation_counts"


def evaluation_counts(
    auditors: Auditors, attribute: str, records: np.ndarray, strata: Tensor, count: int
) -> Release | None:
    """Have counts (count, columns) of test records opened, once: the same question is answered from memory.

    ``strata`` (n,) int64 in [0, count). None where the scenario releases no evaluation.
    """
    if not auditors.evaluated:
        return None

    def ask(query: str) -> tuple[Tensor, float]:
        wanted = Ask(operation=NAME, attribute=attribute, width=count, query=query)
        released = auditors.release(wanted, records, [indicators(strata, count)])
        return released.values, released.sigma

    return Release(*auditors.cache.recall(question_of(auditors, attribute, records, strata, count), ask))


def question_of(auditors: Auditors, attribute: str, records: np.ndarray, strata: Tensor, count: int) -> Question:
    """The question as it is remembered."""
    answering = ", ".join(auditors.answering(attribute))
    return Question(NAME, attribute, answering, auditors.people(records), strata, count)


class EvaluationCounts(GroupCounts):
    """As group counts; what sets them apart is the budget that they draw on."""

    def foreseen(self, ask: Ask, sizes: RunSizes) -> tuple[Ask, int]:
        """Test records by label and prediction."""
        return ask.model_copy(update={"width": sizes.classes**2}), sizes.test


OPERATION = EvaluationCounts()
