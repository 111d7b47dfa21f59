"""The records of a comparison, the same for everybody, and what predictions of them are worth."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np

from secure_fair.fairness import metrics

# of logistic regression, scikit-learn's C: the one of the highest accuracy on the validation records is everybody's
INVERSE_PENALTIES = (0.01, 0.1, 1.0, 10.0)


@dataclass(frozen=True)
class Sample:
    """Records: ``features`` float64 (n, d), ``labels`` 0 or 1 and ``groups`` codes, both int64 (n,)."""

    features: np.ndarray
    labels: np.ndarray
    groups: np.ndarray


@dataclass(frozen=True)
class Parts:
    """Models are fitted to ``fit``, settings chosen by ``validation``, and nothing is seen of ``test`` before the end.

    ``group_count``: groups of the sensitive attribute.
    """

    fit: Sample
    validation: Sample
    test: Sample
    group_count: int

    @cached_property
    def inverse_penalty(self) -> float:
        """The C of the logistic regression that is most accurate on the validation records."""
        right = {c: self._validated(c) for c in INVERSE_PENALTIES}
        return max(right, key=lambda c: right[c])

    def logistic(self) -> Any:
        """A logistic regression of that C that has not been fitted yet."""
        return logistic(self.inverse_penalty)

    def one_hot(self, groups: np.ndarray) -> np.ndarray:
        """Group codes (n,) as float64 (n, groups)."""
        return np.eye(self.group_count)[groups]

    def _validated(self, inverse_penalty: float) -> float:
        model = logistic(inverse_penalty).fit(self.fit.features, self.fit.labels)
        return float((model.predict(self.validation.features) == self.validation.labels).mean())


def logistic(inverse_penalty: float) -> Any:
    """scikit-learn's logistic regression, by the solver that is fast where records are many and features few."""
    from sklearn.linear_model import LogisticRegression

    return LogisticRegression(C=inverse_penalty, solver="newton-cholesky")


@dataclass(frozen=True)
class Score:
    """Accuracy, and the gaps between groups as ``secure_fair.fairness.metrics`` defines them.

    ``by_chance``: the demographic-parity gap that these predictions show where groups are dealt at random.
    """

    accuracy: float
    balanced_accuracy: float
    demographic_parity: float
    equalized_odds: float
    by_chance: float

    @classmethod
    def of(cls, labels: np.ndarray, predictions: np.ndarray, groups: np.ndarray, group_count: int) -> Score:
        """The score of ``predictions`` (n,); NaN where a gap is not defined."""
        counts = metrics.confusion_counts(labels, predictions, groups, (2, group_count))
        found = (
            metrics.accuracy(counts),
            metrics.balanced_accuracy(counts),
            metrics.demographic_parity_difference(counts),
            metrics.equalized_odds_difference(counts),
            metrics.null_floor(counts)["demographic_parity_difference"],
        )
        return cls(*(float("nan") if value is None else value for value in found))
