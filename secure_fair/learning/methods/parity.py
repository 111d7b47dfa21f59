"""Demographic parity and equalised odds as penalties that are linear in the attribute.

With p_i the predicted probability, pi_g the share of group g and a_ig the membership of record i, the distance of a
group's mean from the mean of all is d_g = (1/n) sum_i (a_ig - pi_g) (p_i - mean p) / pi_g. The penalty is
2/(G-1) sum_g (d_g - mean d)^2, which is the squared gap for two groups, and its gradient by p needs the memberships
only through that sum: any estimate of a_ig - pi_g will do whose errors are uncorrelated with p_i.

The square of a noisy estimate is biased by the variance of its noise, which collapses the classifier; so one factor
of the square is always a running mean over earlier batches.
"""

from __future__ import annotations

import math
from collections.abc import Mapping

import torch
from torch import Tensor

from secure_fair.groups import all_groups
from secure_fair.learning.auditors import Auditors
from secure_fair.learning.methods.base import Batch, Method, Training, ramp
from secure_fair.learning.methods.moments import Moments, query_matrix
from secure_fair.learning.settings import MethodSettings

MOMENTUM = 0.9
STEERING = 1.0  # log-strength per epoch and relative excess of the gap over its target
STRENGTHS = (0.05, 20.0)  # bounds of an adjusted strength
SMALLEST_SHARE = 0.01  # a noised count may say that a group is empty; its share must not


class Parity(Method):
    """Penalises gaps of the mean prediction between groups; with ``by_class`` inside each class (equalised odds).

    With a ``target_gap`` the strength, which begins at the scenario's, follows the worst gap of mean predictions as the
    releases tell it: multiplicative updates, batch by batch, towards the target (cf. the method of multipliers).
    """

    def __init__(self, settings: MethodSettings, *, by_class: bool) -> None:
        self.settings = settings
        self.by_class = by_class

    def start(self, training: Training) -> None:
        """Ask once for the group shares, in each stratum."""
        self.training = training
        self.auditors: Auditors = training.auditors
        self.strata = training.labels if self.by_class else torch.zeros_like(training.labels)
        self.count = training.classes if self.by_class else 1
        self.sizes = torch.bincount(self.strata, minlength=self.count).double()  # (S,)
        self.priors: dict[str, Tensor] = {}  # (S, G)
        self.memberships: dict[str, Tensor] = {}  # (n, G); by rows they come batch by batch
        self.distances: dict[str, Tensor] = {}  # (S, G, C'), the running mean
        self.moments = Moments(self.auditors, training.records)
        self.pull = min(max(self.settings.strength, STRENGTHS[0]), STRENGTHS[1])
        for attribute in self.auditors.attributes:
            if self.settings.release == "attributes":
                self._take_responses(attribute)
                continue
            released = self.auditors.group_counts(attribute, training.records, self.strata, self.count)
            self.priors[attribute] = shares(all_groups(released.values, self.sizes), released.sigma)

    def _take_responses(self, attribute: str) -> None:
        """Memberships for good from answers given once: corrected one-hot rows, right on average (arXiv 2002.11651)."""
        codes, correction = self.auditors.randomised_attributes(attribute, self.training.records)
        groups = len(correction)
        rows = torch.nn.functional.one_hot(codes, groups).double() @ correction
        sums = torch.zeros(self.count, groups, dtype=torch.float64).index_add(0, self.strata, rows)
        self.priors[attribute] = shares(sums)
        self.memberships[attribute] = rows - self.priors[attribute][self.strata]

    def start_epoch(self, epoch: int) -> None:
        """By moments: one query over all records, answered by one release; memberships follow from it."""
        if self.settings.release != "moments":
            return
        features, probabilities = self.training.evaluate()
        query = query_matrix(features, outputs(probabilities), self.strata, self.count, self.settings.components)
        for attribute in self.auditors.attributes:
            per_record = self.priors[attribute][self.strata]  # (n, G)
            self.memberships[attribute] = self.moments.memberships(attribute, query, per_record)

    def penalty(self, batch: Batch, progress: float) -> Tensor:
        """2 sum over strata, groups and outputs of (earlier distance) x (distance in this batch), scaled."""
        predicted = outputs(batch.logits.float().softmax(1))
        strata = self.strata[torch.from_numpy(batch.records)]
        total = predicted.new_zeros(())
        for attribute in self.auditors.attributes:
            members = self._memberships(attribute, batch, strata)
            distance = distances(predicted, members.to(predicted), strata, self.priors[attribute].to(predicted))
            earlier = self.distances.get(attribute)
            if earlier is not None:
                groups = distance.shape[1]
                pull = 4 / (groups - 1) * (earlier - earlier.mean(1, keepdim=True))
                total = total + (pull * distance).sum() / self.count
            new = distance.detach()
            self.distances[attribute] = new if earlier is None else MOMENTUM * earlier + (1 - MOMENTUM) * new
        strength = self.settings.strength
        if self.settings.target_gap is not None:
            if progress >= self.settings.ramp_epochs:  # before, the gap says nothing of the strength
                self._steer(self.settings.target_gap, len(batch.labels) / len(self.training.labels))
            strength = self.pull
        return strength * ramp(progress, self.settings.ramp_epochs) * total

    def _steer(self, target: float, epochs: float) -> None:
        excess = max(self.gaps().values()) / target - 1
        self.pull *= math.exp(STEERING * epochs * min(max(excess, -1.0), 1.0))
        self.pull = min(max(self.pull, STRENGTHS[0]), STRENGTHS[1])

    def strength(self) -> float | None:
        """What steering by the gap has come to."""
        return None if self.settings.target_gap is None else self.pull

    def _memberships(self, attribute: str, batch: Batch, strata: Tensor) -> Tensor:
        if self.settings.release != "rows":
            return self.memberships[attribute][torch.from_numpy(batch.records)]
        released = self.auditors.penalty_rows(attribute, batch.records)
        rows = all_groups(released.values, torch.ones(len(strata), dtype=torch.float64))
        return rows - self.priors[attribute][strata]

    def gaps(self) -> Mapping[str, float]:
        """Largest difference between two groups' mean predictions, by the running means (post-processing)."""
        return {name: float((distance.amax(1) - distance.amin(1)).max()) for name, distance in self.distances.items()}


def shares(counts: Tensor, sigma: float = 0.0) -> Tensor:
    """Group shares (S, G) from counts that noise of ``sigma`` may have driven below 0.

    No group is taken to be smaller than one standard deviation of the noise: distances are divided by the share.
    """
    positive = counts.clamp_min(0)
    total = positive.sum(1, keepdim=True).clamp_min(1)
    smallest = (sigma / total).clamp(SMALLEST_SHARE, 1 / counts.shape[1])
    shares = torch.maximum(positive / total, smallest)
    return shares / shares.sum(1, keepdim=True)


def outputs(probabilities: Tensor) -> Tensor:
    """The probabilities that tell everything: of class 1 for two classes, of every class otherwise."""
    return probabilities[:, 1:] if probabilities.shape[1] == 2 else probabilities


def distances(predicted: Tensor, members: Tensor, strata: Tensor, priors: Tensor) -> Tensor:
    """Distance of each group's mean prediction from its stratum's mean.

    ``predicted`` (B, C'), ``members`` (B, G) estimates of a_ig - pi_g, ``strata`` (B,), ``priors`` (S, G).
    Returns (S, G, C'); zero for a stratum with fewer than two records in the batch.
    """
    result = []
    for stratum, prior in enumerate(priors):
        inside = strata == stratum
        if int(inside.sum()) < 2:
            result.append(predicted.new_zeros(len(prior), predicted.shape[1]))
            continue
        centred = predicted[inside] - predicted[inside].mean(0)
        result.append(members[inside].T @ centred / (int(inside.sum()) * prior[:, None]))
    return torch.stack(result)
