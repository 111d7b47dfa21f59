"""The adversaries of adv and ent: the auditor's on its own pictures, the one on shares, the developer's own."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor

from secure_fair.groups import membership_matrix
from secure_fair.learning.adversaries import FittedAdversary, unit_rows
from secure_fair.learning.adversary import train_linear
from secure_fair.learning.method import Training
from secure_fair.learning.methods import make_method
from secure_fair.learning.methods.adv import Adv
from secure_fair.learning.settings import MethodSettings
from secure_fair.learning.train import Classifier, Labelled, predict, train
from secure_fair.operations.adversary_step import plain_adversary
from secure_fair.operations.common.state import ADVERSARY_BALL
from tests.learning.clear import NOBODY, TOKENS, WIDTH, classifier, people, settings
from tests.learning.test_methods import STRENGTH, N, batch_of, codes, drawn, labels, start


def separable(groups: int, n: int = 600) -> tuple[Tensor, Tensor]:
    """Unit rows, and a group that three of their features tell."""
    z = drawn(1, n, WIDTH).float()
    found = torch.stack([z[:, group % 3] * (-1) ** (group // 3) for group in range(groups)], dim=1).argmax(1)
    return unit_rows(z), found


@pytest.mark.parametrize("groups", [2, 5])
@pytest.mark.parametrize("target", [None, (8.0, 1e-5)], ids=["exact", "private"])
def test_a_linear_adversary_learns_within_its_ball(groups: int, target: tuple[float, float] | None) -> None:
    rows, a = separable(groups)
    weights, done = train_linear(rows, a, groups, target)
    assert weights.shape == (WIDTH, 1 if groups == 2 else groups)
    assert float(weights.norm()) <= ADVERSARY_BALL
    logits = rows.double() @ weights
    predicted = (logits[:, 0] > 0).long() if groups == 2 else logits.argmax(1)
    chance = float(torch.bincount(a).max()) / len(a)
    assert float((predicted == a).double().mean()) > chance + 0.15
    if target is None:
        assert done is None
    else:
        assert done is not None
        assert done.private
        assert done.epsilon <= target[0]


@pytest.mark.parametrize("groups", [2, 4])
def test_ent_ascends_the_entropy_of_the_adversary_as_it_stands(tmp_path: Path, groups: int) -> None:
    chosen = MethodSettings(name="ent", release="rows", strength=STRENGTH, ramp=0)
    held = people(tmp_path, chosen, {"a": codes(groups)}, {"a": groups}, epochs=3, batch_size=N)
    method = make_method(chosen)
    start(method, held, labels(2))
    centre: Tensor | None = None
    for step in range(3):
        z = drawn(10 + step, N, WIDTH).float().requires_grad_()
        weights = held.auditors.state.adversary("a", WIDTH)
        (found,) = torch.autograd.grad(method.penalty(batch_of(torch.zeros(N, 2), labels(2), z), 0.0), z)
        mean = z.detach().mean(0)
        centre = mean if centre is None else 0.9 * centre + 0.1 * mean
        exact = z.detach().double().requires_grad_()
        u = unit_rows(exact - centre.double()) @ weights
        logits = torch.cat([torch.zeros_like(u), u], dim=1) if groups == 2 else u
        entropy = -(logits.softmax(1) * logits.log_softmax(1)).sum()
        (rising,) = torch.autograd.grad(entropy, exact)
        assert step == 0 or float(rising.norm()) > 1e-3
        torch.testing.assert_close(found.double(), -STRENGTH / N * rising, rtol=1e-3, atol=2e-5)
    assert held.opened() == ["adversary_step", "entropy_rows"] * 3


# the developer's own adversary, fitted to estimates


def own_adversary(
    folder: Path, name: str, z: Tensor, a: Tensor, groups: int, *, epsilon: float | None = None
) -> tuple[Adv, FittedAdversary, Tensor, list[str]]:
    """The method by moments after two rounds over the records of features ``z``, its adversary, the records' unit rows
    and what was opened."""
    n, rounds = len(a), 2 * (len(a) // N)
    chosen = MethodSettings(name=name, release="moments", strength=STRENGTH, components=WIDTH, ramp=0)
    held = people(folder, chosen, {"a": a.numpy()}, {"a": groups}, epsilon=epsilon, evaluation_epsilon=epsilon)
    method = make_method(chosen)
    assert isinstance(method, Adv)
    evaluate = (z, torch.full((n, 2), 0.5))
    model = classifier()
    method.start(Training(labels(2, n), 2, model.backbone, held.auditors, lambda: evaluate, model.head))
    method.start_epoch(0)
    assert isinstance(method.adversary, FittedAdversary)
    unit = unit_rows(z - z.mean(0))
    for step in range(rounds):
        records = np.arange(n, dtype=np.int64)[step % (n // N) :: n // N]
        method.rows("a", records, unit[torch.from_numpy(records)])
    return method, method.adversary, unit, held.opened()


@pytest.mark.parametrize("groups", [2, 4])
@pytest.mark.parametrize("name", ["adv", "ent"])
def test_by_moments_the_rows_are_those_of_estimated_memberships(tmp_path: Path, name: str, groups: int) -> None:
    """The loss sum_i log sum_g exp(u_ig) - <estimate_i, u_i>, or the entropy, of the weights as they stood."""
    z, a = separable(groups, N)
    method, own, unit, opened = own_adversary(tmp_path, name, z, a, groups)
    assert opened == ["group_counts", "moment"]
    weights = own.weights["a"]
    assert float(weights.norm()) > 0.1
    found = method.rows("a", np.arange(N), unit)
    estimates = own.source.memberships["a"] + own.source.priors["a"]
    exact = unit.double().requires_grad_()
    u = exact @ weights
    u = torch.cat([torch.zeros_like(u), u], dim=1) if groups == 2 else u
    loss = (torch.logsumexp(u, dim=1) - (estimates * u).sum(1)).sum()
    entropy = -(u.softmax(1) * u.log_softmax(1)).sum()
    (expected,) = torch.autograd.grad(loss if name == "adv" else entropy, exact)
    assert float(expected.norm()) > 1e-3
    torch.testing.assert_close(found, expected, rtol=1e-6, atol=1e-8)
    held = estimates[:, 1:] if groups == 2 else estimates
    torch.testing.assert_close(own.weights["a"], plain_adversary(unit, held, weights)[1])


@pytest.mark.parametrize("epsilon", [None, 1.0], ids=["exact", "epsilon 1"])
@pytest.mark.parametrize("groups", [2, 4])
def test_an_adversary_on_estimates_predicts_as_one_on_memberships_does(
    tmp_path: Path, groups: int, epsilon: float | None
) -> None:
    """Where rows tell the attribute; where they do not, it predicts no better than chance."""
    n = 40 * N

    def accuracy(weights: Tensor, unit: Tensor, a: Tensor) -> float:
        logits = unit.double() @ weights
        predicted = (logits[:, 0] > 0).long() if groups == 2 else logits.argmax(1)
        return float((predicted == a).double().mean())

    z, a = separable(groups, n)
    _, own, unit, _ = own_adversary(tmp_path / "told", "adv", z, a, groups, epsilon=epsilon)
    found = accuracy(own.weights["a"], unit, a)
    told = torch.zeros(WIDTH, 1 if groups == 2 else groups, dtype=torch.float64)
    members = membership_matrix(a.numpy(), groups)
    for step in range(80):
        _, told = plain_adversary(unit[step % 40 :: 40], members[step % 40 :: 40], told)
    assert found > accuracy(told, unit, a) - 0.1
    chance = float(torch.bincount(a).max()) / n
    assert found > chance + 0.2
    mixed = a[torch.randperm(n, generator=torch.Generator().manual_seed(3))]
    _, other, unit, _ = own_adversary(tmp_path / "untold", "adv", z, mixed, groups, epsilon=epsilon)
    assert abs(accuracy(other.weights["a"], unit, mixed) - chance) < 0.08


RECORDS = 480


def planted() -> tuple[Labelled, np.ndarray]:
    """Records whose tokens tell the attribute plainly and the label less; the two go together three times in four."""
    generator = torch.Generator().manual_seed(4)
    label = torch.arange(RECORDS) % 2
    attribute = torch.where(torch.rand(RECORDS, generator=generator) < 0.75, label, 1 - label)
    tokens = torch.randn(RECORDS, TOKENS, WIDTH, generator=generator)
    tokens[:, :, 0] += 0.5 * (2 * label[:, None] - 1)
    tokens[:, :, 1] += 1.5 * (2 * attribute[:, None] - 1)
    return Labelled(tokens, label), attribute.numpy()


def after(folder: Path, chosen: MethodSettings) -> tuple[Classifier, Tensor, Tensor]:
    """The classifier trained on the planted records, its features and its probabilities."""
    data, attribute = planted()
    with_settings = settings(epochs=6, learning_rate=3e-3)
    held = people(folder, chosen, {"a": attribute}, {"a": 2}, epochs=with_settings.epochs)
    model = classifier()
    train(model, data, make_method(chosen), held.auditors, with_settings)
    return model, *predict(model, data, with_settings)


def told_by(z: Tensor, attribute: np.ndarray) -> float:
    """How often an adversary that knows every attribute reads it off the features."""
    rows, a = unit_rows(z - z.mean(0)), torch.from_numpy(attribute)
    weights, _ = train_linear(rows, a, 2, None)
    return float((((rows - rows.mean(0)).double() @ weights)[:, 0] > 0).long().eq(a).double().mean())


def gap(probabilities: Tensor, attribute: np.ndarray) -> float:
    ones = torch.from_numpy(attribute == 1)
    return float(probabilities[ones, 1].mean() - probabilities[~ones, 1].mean())


@pytest.mark.parametrize("name", ["adv", "ent"])
def test_what_is_read_off_the_features_falls_and_with_it_the_gap(tmp_path: Path, name: str) -> None:
    data, attribute = planted()
    _, z, p = after(tmp_path / "erm", NOBODY)
    _, fair_z, fair_p = after(tmp_path / name, MethodSettings(name=name, release="moments", strength=1.0, components=8))
    assert told_by(z, attribute) > 0.9
    assert told_by(fair_z, attribute) < told_by(z, attribute) - 0.03
    assert gap(p, attribute) > 0.4
    assert abs(gap(fair_p, attribute)) < 0.6 * gap(p, attribute)
    assert float((fair_p.argmax(1) == data.labels).double().mean()) > 0.65  # and the label is still told


@pytest.mark.parametrize("name", ["adv", "ent"])
def test_at_strength_0_nothing_changes(tmp_path: Path, name: str) -> None:
    plain, _, _ = after(tmp_path / "erm", NOBODY)
    unmoved, _, _ = after(tmp_path / name, MethodSettings(name=name, release="moments", strength=0.0))
    for one, other in zip(plain.parameters(), unmoved.parameters(), strict=True):
        assert torch.equal(one, other)
