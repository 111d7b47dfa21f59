"""The auditor's adversary on its own pictures, and the entropy that the developer ascends with it."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from torch import Tensor

from secure_fair.learning.adversary import train_linear
from secure_fair.learning.methods import make_method
from secure_fair.learning.methods.adv import unit_rows
from secure_fair.learning.settings import MethodSettings
from secure_fair.operations.common.state import ADVERSARY_BALL
from tests.learning.clear import WIDTH, people
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
