"""The strongest attacker on what one training has released: it knows the noise, and everybody else's attribute.

That is the adversary that differential privacy speaks of, at the queries that a run has really made: most rows are
shorter than they may be, so that a run tells less than its epsilon allows. Of Gaussian releases its power against one
person follows from mu alone, and it is the best there is (Neyman and Pearson 1933; Dong, Roth and Su 2022, 2.2);
mu^2 adds up over releases. Nothing is estimated: noise that the people of one moment share cannot pass for knowledge.
An adapter that an auditor has trained tells of that auditor's own people (``secret_batches``).
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field, replace

import numpy as np
from scipy.special import ndtr, ndtri
from torch import Tensor

from secure_fair.attacks.common.secret_batches import Batches
from secure_fair.errors import UsageError
from secure_fair.groups import row_change
from secure_fair.privacy.accounting import gaussian_mu, truth_probability

SUMS, ROWS, ANSWERS = ("moment", "group_counts"), ("penalty_rows",), ("randomised_attributes",)
ADAPTERS = ("sensitive_adapter", "orthogonality")  # post-processing of the auditor's training
EVALUATION = "evaluation_counts"  # has a budget of its own, and is about other records


@dataclass
class Strongest:
    """The power that the releases of one training give over the attribute of each of so many ``records``.

    ``groups`` of the attribute: the attacker tells two of them apart. ``epsilon`` of randomised responses; None: the
    truth. ``batches`` of the training of an adapter on these records; None: it was exact.
    """

    records: int
    groups: int = 2
    epsilon: float | None = None
    batches: Batches | None = None
    squares: np.ndarray = field(init=False)  # of every record's mu
    answered: bool = False
    trained: bool = False

    def __post_init__(self) -> None:
        self.squares = np.zeros(self.records)

    def saw(self, operation: str, records: np.ndarray, private: Sequence[Tensor], sigma: float) -> None:
        """Add one release about ``records``, with noise of ``sigma``; ``private``: what the developer brought.

        Raises UsageError for an operation whose power is not known here.
        """
        if operation in SUMS:
            lengths = (private[0].double().numpy() ** 2).sum(1)
        elif operation in ROWS:
            lengths = np.ones(len(records))
        elif operation in ANSWERS:  # once for ever: the same answer again says nothing new
            self.answered = True
            return
        elif operation in ADAPTERS:
            self.trained = True
            return
        elif operation == EVALUATION:
            return
        else:
            known = ", ".join((*SUMS, *ROWS, *ANSWERS, *ADAPTERS))
            raise UsageError(f"--attack: what {operation} tells is not known; known are {known}")
        with np.errstate(divide="ignore", invalid="ignore"):
            self.squares[records] += np.where(lengths > 0, lengths * row_change(self.groups) ** 2 / sigma**2, 0.0)

    def first(self, records: int) -> Strongest:
        """The same about the first so many records."""
        found = replace(self, records=records)
        found.squares = self.squares[:records]
        return found

    def area(self) -> float:
        """The area under its curve, a mean over the records."""
        if self.answered:
            return responses_area(self.epsilon, self.groups)
        if self.trained:
            return 1.0 if self.batches is None else self.batches.area()
        return float(ndtr(np.sqrt(self.squares / 2)).mean())

    def hit_rate(self, alarms: float) -> float:
        """Its hit rate at this rate of false ``alarms`` about each, a mean over the records."""
        if self.answered:
            return responses_hit_rate(alarms, self.epsilon, self.groups)
        if self.trained:
            return 1.0 if self.batches is None else self.batches.hit_rate(alarms)
        return float(ndtr(np.sqrt(self.squares) + ndtri(alarms)).mean())


def responses_area(epsilon: float | None, groups: int) -> float:
    """The same of one randomised response: its answer names either group, or a third, which says nothing of the two."""
    if epsilon is None:
        return 1.0
    truth = truth_probability(epsilon, groups)
    lie = (1 - truth) / (groups - 1)
    neither = 1 - truth - lie
    return truth * (neither + truth) + neither * truth + (2 * truth * lie + neither**2) / 2


def responses_hit_rate(alarms: float, epsilon: float | None, groups: int) -> float:
    """The same of one randomised response, for alarms no more frequent than lies: hits are e^epsilon times as frequent.

    ValueError for more frequent ones.
    """
    if epsilon is None:
        return 1.0
    lie = (1 - truth_probability(epsilon, groups)) / (groups - 1)
    if alarms > lie:
        raise ValueError(f"{alarms} false alarms: an answer lies with probability {lie:.4g}, and that is the most")
    return alarms * math.exp(epsilon)


def most_area(epsilon: float, delta: float) -> float:
    """The largest area that (epsilon, delta) of Gaussian releases allows: Phi(mu / sqrt 2)."""
    return float(ndtr(gaussian_mu(epsilon, delta) / math.sqrt(2)))
