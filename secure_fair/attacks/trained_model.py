"""Attribute inference from the trained adapter alone, beside one that was trained without the attribute.

Who has the model has no release, but the model is made of them: the penalty has pulled it along every person's
features, by as much as that person's soft membership. With fewer people than features the pull on each is read out of
the weights (the coefficients by which features add up to them), where they differ from those of the same training
without a penalty.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
import torch
from torch import Tensor
from torch.nn.functional import binary_cross_entropy_with_logits

from secure_fair.attacks.common.attack import Attack, Context, Outcome
from secure_fair.attacks.common.auditor import EXACT, auditor, deviation, training_plan
from secure_fair.attacks.common.epochs import unit_rows
from secure_fair.attacks.common.statistics import Scores
from secure_fair.groups import all_groups
from secure_fair.learning.gaps import distances, running
from secure_fair.learning.memberships.regression import ReleasedMoment, clip_rows, soft_memberships
from secure_fair.operations.moment import on_grid
from secure_fair.privacy.accounting import attack_auc_ceiling
from secure_fair.privacy.policy import Policy

NAME = "moment"
TRAININGS, PEOPLE, WIDTH, RANK = 16, 48, 96, 4
STEPS, RATE, STRENGTH = 30, 1.0, 40.0
HISTORY = 0.8  # share of the labels that are the attribute itself, so that there is a gap to pull at


@dataclass(frozen=True)
class Task:
    """One training's people: features (n, d), labels (n,) and attributes (n,), and where its adapter begins."""

    features: Tensor
    labels: Tensor
    attributes: np.ndarray
    head: Tensor
    start: Tensor

    @classmethod
    def drawn(cls, generator: np.random.Generator) -> Task:
        """People whose features say nothing of the attribute; half of either group."""
        attributes = generator.permutation(np.arange(PEOPLE, dtype=np.int64) % 2)
        kept = generator.random(PEOPLE) < HISTORY
        labels = np.where(kept, attributes, 1 - attributes)
        head, start = (torch.from_numpy(generator.normal(size=size)) for size in (WIDTH, (RANK, WIDTH)))
        return cls(
            torch.from_numpy(unit_rows(generator, PEOPLE, WIDTH)),
            torch.from_numpy(labels).double(),
            attributes,
            head / head.norm(),
            start / WIDTH**0.5,
        )


class TrainedModel(Attack):
    """Scores are compared among people of one label alone: the label is a proxy that is known without the model.

    All people of a training share the noise of its moments, so that the bounds are not formal.
    """

    claim = "a trained adapter tells a person's attribute no better than epsilon allows, also beside its unfair twin"
    view = "outsider"
    needs = "the adapter, everybody's features and labels, and the same training without the attribute"
    twin = "a model that was trained with exact moments"
    formal = False

    def run(self, context: Context) -> Outcome:
        """A few trainings, each of other people; beside both halves the areas under their curves, by training."""
        generator, ceiling = context.generator("trained_model"), context.terms.ceiling
        tasks = [Task.drawn(generator) for _ in range(TRAININGS)]
        unfair = [_trained(task, None) for task in tasks]
        ours, exact = ([trained(context, task, protected) for task in tasks] for protected in (True, False))
        nothing = [torch.zeros(WIDTH, dtype=torch.float64)] * TRAININGS
        halves = [[read_out(*one) for one in zip(tasks, made, unfair, strict=True)] for made in (ours, exact)]
        alone = [read_out(*one) for one in zip(tasks, ours, nothing, strict=True)]
        truth = np.concatenate([task.attributes for task in tasks])
        here, there = (Scores.of(np.concatenate(told), truth, generator) for told in halves)
        outcome = Outcome.scored(here, there, ceiling)
        areas, bare = (
            [_area(task, told) for task, told in zip(tasks, found, strict=True)] for found in (halves[0], alone)
        )
        error = 1.96 * float(np.std(areas, ddof=1)) / TRAININGS**0.5
        assert ceiling.mu is not None
        beside = {
            "AUC, lower end": float(np.mean(areas)) - error,
            "AUC, upper end": float(np.mean(areas)) + error,
            "AUC that epsilon allows": attack_auc_ceiling(ceiling.mu),
            "AUC without the unfair model": float(np.mean(bare)),
        }
        return replace(outcome, beside=beside)


def _area(task: Task, told: np.ndarray) -> float:
    """The area under the curve of one training's people."""
    return Scores(told[task.attributes == 1], told[task.attributes == 0]).area()


def read_out(task: Task, moved: Tensor, other: Tensor) -> np.ndarray:
    """The pull on each person (n,), against the gap, beyond that on all of the same label."""
    pulled = -torch.linalg.lstsq(task.features.T, (moved - other)[:, None]).solution[:, 0]
    for label in (0, 1):
        inside = task.labels == label
        pulled[inside] -= pulled[inside].mean()
    return pulled.numpy()


def trained(context: Context, task: Task, protected: bool) -> Tensor:
    """The move of the weights (d,) by a training with a penalty by released memberships."""
    priors = torch.full((PEOPLE, 2), 0.5, dtype=torch.float64)
    return _trained(task, soft_memberships(_told(context, task, priors, protected), priors))


def _told(context: Context, task: Task, priors: Tensor, protected: bool) -> Sequence[ReleasedMoment]:
    """The moments of a whole training about everybody's features."""
    epochs, everybody = context.terms.participations, np.arange(PEOPLE, dtype=np.int64)
    plan = training_plan(NAME, context.terms, participations=epochs, exact=not protected)
    query = on_grid(clip_rows(task.features))
    with auditor(task.attributes, plan, Policy() if protected else EXACT) as asked:
        told = [asked.ask(NAME, everybody, query, context.terms.precision_bits) for _ in range(epochs)]
    sigma = deviation(plan, NAME)
    return [
        ReleasedMoment(query, all_groups(torch.from_numpy(one), query.sum(0)) - query.T @ priors, sigma) for one in told
    ]


def _trained(task: Task, members: Tensor | None) -> Tensor:
    """Gradient descent on an adapter B A (d, d) of a frozen layer, as ``parity`` penalises; what moved (d,)."""
    inner = task.start.clone().requires_grad_()
    outer = torch.zeros(WIDTH, RANK, dtype=torch.float64, requires_grad=True)
    stratum, priors = torch.zeros(PEOPLE, dtype=torch.int64), torch.full((1, 2), 0.5, dtype=torch.float64)
    earlier: Tensor | None = None
    for _ in range(STEPS):
        logits = task.features @ (task.head + inner.T @ (outer.T @ task.head))
        loss = binary_cross_entropy_with_logits(logits, task.labels)
        if members is not None:
            distance = distances(torch.sigmoid(logits)[:, None], members, stratum, priors)
            if earlier is not None:
                loss = loss + STRENGTH * (4 * (earlier - earlier.mean(1, keepdim=True)) * distance).sum()
            earlier = running(earlier, distance)
        for part, slope in zip((inner, outer), torch.autograd.grad(loss, (inner, outer)), strict=True):
            part.data -= RATE * slope
    return ((inner - task.start).T @ (outer.T @ task.head)).detach()


ATTACK = TrainedModel()
