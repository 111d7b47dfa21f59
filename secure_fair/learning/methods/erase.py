"""Linear erasure as a penalty: no direction of the features may go with the attribute."""

from __future__ import annotations

import torch
from torch import Tensor

from secure_fair.groups import all_groups
from secure_fair.learning.methods.base import Batch, Method, Training, ramp
from secure_fair.learning.methods.moments import Moments, clip_rows
from secure_fair.learning.methods.parity import MOMENTUM, distances, shares
from secure_fair.learning.settings import MethodSettings


class Erase(Method):
    """Penalises Cov(z, a), which is zero exactly where no linear classifier beats a constant one.

    (Belrose et al. 2023, arXiv 2306.03819, theorem 3.1. LEACE itself projects finished features; here they are
    trained.) Once an epoch the first ``components`` principal components of all features, whitened, are the query of
    one moment, whose answer gives soft memberships. The penalty is ``strength`` times the share of the components'
    variance that lies between the groups, sum_g pi_g |d_g|^2 with d_g the distance of a group's mean from the mean of
    all, one factor of the square being a running mean (see ``Parity``, which does the same with predictions).
    """

    def __init__(self, settings: MethodSettings) -> None:
        self.settings = settings

    def start(self, training: Training) -> None:
        """Ask once for the group shares."""
        self.training = training
        self.auditors = training.auditors
        records, everybody = training.records, torch.zeros_like(training.labels)
        self.priors: dict[str, Tensor] = {}  # (1, G)
        self.moments = Moments(self.auditors, records)
        for attribute in self.auditors.attributes:
            released = self.auditors.group_counts(attribute, records, everybody, 1)
            counts = all_groups(released.values, torch.tensor([float(len(records))], dtype=torch.float64))
            self.priors[attribute] = shares(counts, released.sigma)

    def start_epoch(self, epoch: int) -> None:
        """One moment of the whitened features gives memberships (n, G) and the groups' means, before any batch."""
        features, _ = self.training.evaluate()
        self.centre = features.double().mean(0)
        centred = features.double() - self.centre
        _, variances, axes = torch.linalg.svd(centred.T @ centred / len(centred))
        kept = slice(self.settings.components)
        query = clip_rows(centred @ axes[kept].T / variances[kept].clamp_min(1e-12).sqrt())
        self.basis = axes[kept].T
        scores = _scaled(centred @ self.basis)
        self.memberships: dict[str, Tensor] = {}
        self.distances: dict[str, Tensor] = {}
        for attribute in self.auditors.attributes:
            prior = self.priors[attribute]
            members = self.moments.memberships(attribute, query, prior.expand(len(query), -1))
            self.memberships[attribute] = members
            self.distances[attribute] = distances(scores, members, torch.zeros(len(scores)), prior)

    def penalty(self, batch: Batch, progress: float) -> Tensor:
        """The groups' earlier distances times those in this batch, over components, groups and attributes."""
        centred = batch.features.float() - self.centre.to(batch.features.device).float()
        scores = _scaled(centred @ self.basis.to(centred))
        everybody = torch.zeros(len(scores), device=scores.device)
        total = scores.new_zeros(())
        for attribute, earlier in self.distances.items():
            members = self.memberships[attribute][torch.from_numpy(batch.records)].to(scores)
            prior = self.priors[attribute].to(scores)
            distance = distances(scores, members, everybody, prior)
            earlier = earlier.to(scores)
            total = total + 2 * (prior[..., None] * earlier * distance).sum()
            self.distances[attribute] = MOMENTUM * earlier + (1 - MOMENTUM) * distance.detach()
        return self.settings.strength * ramp(progress, self.settings.ramp_epochs) * total


def _scaled(scores: Tensor) -> Tensor:
    """Scores (B, k) of total variance 1: shrinking all features alike is no way out."""
    return scores / (scores - scores.mean(0)).square().sum(1).mean().sqrt().clamp_min(1e-6)
