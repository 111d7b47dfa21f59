"""Linear erasure as a penalty: shrink the features along the direction of their covariance with the attribute."""

from __future__ import annotations

import torch
from torch import Tensor

from secure_fair.learning.auditors import all_groups
from secure_fair.learning.methods.base import Batch, Method, Training, ramp
from secure_fair.learning.methods.moments import Answer, clip_rows, soft_memberships
from secure_fair.learning.settings import MethodSettings


class Erase(Method):
    """Penalises the variance of the features along Cov(z, a) (cf. LEACE, Belrose et al. 2023, arXiv 2306.03819).

    Once an epoch the first ``components`` principal components of all features, whitened, are the query of one moment;
    its answer is the covariance's direction. In every batch the penalty is ``strength`` times the mean square of the
    features' score along it, whose mean is 1 before training moves them. LEACE removes that direction at once and for
    all; here the model may find another use for it, but none that the next epoch's moment would not show.
    """

    def __init__(self, settings: MethodSettings) -> None:
        self.settings = settings

    def start(self, training: Training) -> None:
        """Ask once for the group shares."""
        self.training = training
        self.auditors = training.auditors
        records, everybody = training.records, torch.zeros_like(training.labels)
        self.shares: dict[str, Tensor] = {}  # (G,)
        self.answers: dict[str, list[Answer]] = {}  # all so far
        for attribute in self.auditors.attributes:
            released = self.auditors.group_counts(attribute, records, everybody, 1)
            counts = all_groups(released.values[0], torch.tensor(float(len(records)), dtype=torch.float64))
            self.shares[attribute] = counts.clamp_min(0) / counts.clamp_min(0).sum().clamp_min(1)

    def start_epoch(self, epoch: int) -> None:
        """One moment of the whitened features gives the directions, (d, G) in the features' own coordinates."""
        features, _ = self.training.evaluate()
        self.centre = features.double().mean(0)
        centred = features.double() - self.centre
        _, variances, axes = torch.linalg.svd(centred.T @ centred / len(centred))
        kept = axes[: self.settings.components].T / variances[: self.settings.components].clamp_min(1e-12).sqrt()
        query = clip_rows(centred @ kept)
        self.directions: dict[str, Tensor] = {}
        for attribute in self.auditors.attributes:
            released = self.auditors.moment(attribute, self.training.records, query)
            totals = all_groups(released.values, query.sum(0))
            shares = self.shares[attribute].expand(len(query), -1)
            answers = self.answers.setdefault(attribute, [])
            answers.append(Answer(query, totals - query.T @ shares, released.sigma))
            covariance = query.T @ soft_memberships(answers, shares)
            covariance = covariance[:, 1:] if covariance.shape[1] == 2 else covariance  # two groups mirror each other
            self.directions[attribute] = kept @ torch.nn.functional.normalize(covariance, dim=0)

    def penalty(self, batch: Batch, progress: float) -> Tensor:
        """strength times the mean square of the scores along the directions, over the attributes."""
        centred = batch.features.float() - self.centre.to(batch.features.device).float()
        total = centred.new_zeros(())
        for directions in self.directions.values():
            total = total + (centred @ directions.to(centred)).square().mean()
        return self.settings.strength * ramp(progress, self.settings.ramp_epochs) * total
