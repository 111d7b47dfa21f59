"""Every method's penalty has the gradient that its formula promises, written here a second time with autograd."""

from __future__ import annotations

from pathlib import Path
from typing import ClassVar

import numpy as np
import pytest
import torch
from torch import Tensor

from secure_fair.errors import BudgetExceeded
from secure_fair.groups import all_groups, membership_matrix
from secure_fair.learning.lora import adapter_state, features, row_matrices, set_active
from secure_fair.learning.memberships.regression import (
    ENCODING_MARGIN,
    FEWEST_COLUMNS,
    MOST_COLUMNS,
    ReleasedMoment,
    query_matrix,
    soft_memberships,
)
from secure_fair.learning.memberships.source import shares
from secure_fair.learning.method import Batch, Method, Training
from secure_fair.learning.methods import METHODS, make_method
from secure_fair.learning.methods.orth import scores
from secure_fair.learning.sensitive import Sensitive
from secure_fair.learning.settings import MethodSettings
from secure_fair.learning.train import Classifier
from secure_fair.operations.adversary_step import plain_adversary
from secure_fair.operations.moment import moment
from tests import asks
from tests.learning.clear import TOKENS, WIDTH, People, classifier, people

N = 60
STRENGTH = 3.0


def drawn(seed: int, *shape: int) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def codes(groups: int, n: int = N) -> np.ndarray:
    """Every group, in different numbers."""
    return np.minimum(np.arange(n) % (2 * groups - 1), groups - 1).astype(np.int64)


def labels(classes: int, n: int = N) -> Tensor:
    return torch.randint(classes, (n,), generator=torch.Generator().manual_seed(5))


def start(method: Method, held: People, y: Tensor, classes: int = 2, model: Classifier | None = None) -> None:
    """Start a method on records whose features and probabilities are of no account."""
    model = model or classifier(classes)
    evaluate = (drawn(1, len(y), WIDTH).float(), drawn(2, len(y), classes).softmax(1).float())
    method.start(Training(y, classes, model.backbone, held.auditors, lambda: evaluate, model.head))
    method.start_epoch(0)


def batch_of(logits: Tensor, y: Tensor, z: Tensor | None = None) -> Batch:
    return Batch(np.arange(len(y), dtype=np.int64), y, torch.zeros(len(y), WIDTH) if z is None else z, logits)


# parity and odds


def squared_gaps(logits: Tensor, a: np.ndarray, groups: int, strata: Tensor) -> Tensor:
    """2 sum_g (mean of group g - mean of the groups' means)^2, mean over strata, sum over outputs."""
    p = logits.softmax(1)
    p = p[:, 1:] if p.shape[1] == 2 else p
    total = p.new_zeros(())
    for stratum in strata.unique():
        inside = strata == stratum
        means = torch.stack([p[inside & torch.from_numpy(a == group)].mean(0) for group in range(groups)])
        total = total + 2 * (means - means.mean(0)).square().sum()
    return total / len(strata.unique())


@pytest.mark.parametrize("classes", [2, 3])
@pytest.mark.parametrize("by_class", [False, True], ids=["parity", "odds"])
@pytest.mark.parametrize("groups", [2, 5])
def test_parity_descends_the_squared_gap(tmp_path: Path, groups: int, by_class: bool, classes: int) -> None:
    """The running mean is that of the same batch here, so the penalty's gradient must be the square's own."""
    y, a = labels(classes, 200), codes(groups, 200)
    strata = y if by_class else torch.zeros_like(y)
    chosen = MethodSettings(name="odds" if by_class else "parity", release="rows", strength=STRENGTH, ramp=0)
    held = people(tmp_path, chosen, {"a": a}, {"a": groups}, epochs=2, batch_size=200)
    method = make_method(chosen)
    start(method, held, y, classes)
    logits = drawn(3, 200, classes).float().requires_grad_()
    assert float(method.penalty(batch_of(logits, y), 0.0).detach()) == 0.0  # nothing earlier to compare with
    (found,) = torch.autograd.grad(method.penalty(batch_of(logits, y), 1.0), logits)
    exact = logits.detach().double().requires_grad_()
    (expected,) = torch.autograd.grad(STRENGTH * squared_gaps(exact, a, groups, strata), exact)
    assert float(expected.norm()) > 1e-3
    torch.testing.assert_close(found.double(), expected, rtol=1e-4, atol=1e-7)


def test_for_two_groups_the_square_is_the_gap_s() -> None:
    logits, a = drawn(3, N, 2), codes(2)
    p = logits.softmax(1)[:, 1]
    gap = p[torch.from_numpy(a == 1)].mean() - p[torch.from_numpy(a == 0)].mean()
    torch.testing.assert_close(squared_gaps(logits, a, 2, torch.zeros(N)), gap.square())


def test_the_gap_shown_is_the_gap(tmp_path: Path) -> None:
    chosen = MethodSettings(name="parity", release="rows")
    held = people(tmp_path, chosen, {"a": codes(5)}, {"a": 5}, batch_size=N)
    method = make_method(chosen)
    start(method, held, labels(2))
    logits = drawn(3, N, 2).float()
    method.penalty(batch_of(logits, labels(2)), 0.0)
    p = logits.softmax(1)[:, 1]
    means = [float(p[torch.from_numpy(codes(5) == group)].mean()) for group in range(5)]
    assert method.gaps()["a"] == pytest.approx(max(means) - min(means), abs=1e-6)


def test_one_factor_of_the_square_is_of_earlier_batches(tmp_path: Path) -> None:
    """Noise that is fresh in every batch then averages to nothing; its square would not."""
    chosen = MethodSettings(name="parity", release="rows", strength=1.0, ramp=0)
    held = people(tmp_path, chosen, {"a": codes(2)}, {"a": 2}, epochs=2, batch_size=N)
    method = make_method(chosen)
    start(method, held, labels(2))
    first, second = drawn(3, N, 2).float(), drawn(4, N, 2).float()
    method.penalty(batch_of(first, labels(2)), 0.0)
    ones = torch.from_numpy(codes(2) == 1)

    def gap(logits: Tensor) -> Tensor:
        p = logits.softmax(1)[:, 1]
        return p[ones].mean() - p[~ones].mean()

    penalty = method.penalty(batch_of(second, labels(2)), 0.0)
    torch.testing.assert_close(penalty, 2 * gap(first) * gap(second), rtol=1e-4, atol=1e-7)


# moments


@pytest.mark.parametrize("strata", [1, 2, 3])
def test_query_rows_are_within_the_bound_and_inside_their_block(strata: int) -> None:
    place = torch.arange(300) % strata
    query = query_matrix(30 * drawn(1, 300, WIDTH), drawn(2, 300, 1).sigmoid(), place, strata, 8)
    assert query.shape == (300, 8 * strata)
    assert float(query.norm(dim=1).max()) <= 1
    assert float(query.norm(dim=1).min()) > 0
    for stratum in range(strata):
        outside = query[place != stratum, 8 * stratum : 8 * (stratum + 1)]
        assert float(outside.abs().sum()) == 0


def test_a_query_survives_constant_predictions_and_few_records() -> None:
    features_, constant = drawn(1, 50, WIDTH), torch.full((50, 1), 0.5)
    place = torch.zeros(50, dtype=torch.int64)
    place[:1] = 1  # alone in its stratum
    query = query_matrix(features_, constant, place, 2, 40)
    assert bool(query.isfinite().all())
    assert float(query[:1].abs().sum()) == 0


def correlated(n: int, groups: int) -> tuple[Tensor, Tensor, np.ndarray]:
    """Features, predictions and an attribute that all hang together."""
    z = drawn(1, n, WIDTH)
    a = (z[:, 0] + z[:, 1] + 0.5 * drawn(4, n)).argsort().argsort() * groups // n
    p = (z[:, 0] - 0.3 * z[:, 2] + 0.5 * drawn(5, n)).sigmoid()[:, None]
    return z, p, a.numpy()


@pytest.mark.parametrize("groups", [2, 4])
@pytest.mark.parametrize("strata", [1, 2])
def test_memberships_from_a_moment_reproduce_the_covariance_with_the_prediction(groups: int, strata: int) -> None:
    """Which is the gap: mean of m (p - mean p) against mean of (a - prior) (p - mean p), by group and stratum."""
    z, p, a = correlated(4000, groups)
    place = torch.arange(4000) % strata
    columns = torch.nn.functional.one_hot(torch.from_numpy(a), groups).double()
    priors = torch.stack([columns[place == s].mean(0) for s in range(strata)])[place]
    query = query_matrix(z, p, place, strata, 12)
    memberships = soft_memberships([ReleasedMoment(query, query.T @ (columns - priors), 0.0)], priors)
    for stratum in range(strata):
        inside = place == stratum
        centred = p[inside] - p[inside].mean(0)
        found = memberships[inside].T @ centred / inside.sum()
        expected = (columns - priors)[inside].T @ centred / inside.sum()
        assert float(expected.norm()) > 0.01
        assert float((found - expected).norm() / expected.norm()) < 0.1


def test_memberships_solve_the_regression() -> None:
    """Without noise the residual is orthogonal to the query, but for the small ridge."""
    z, p, a = correlated(4000, 3)
    columns = torch.nn.functional.one_hot(torch.from_numpy(a), 3).double()
    priors = columns.mean(0).expand(4000, 3)
    query = query_matrix(z, p, torch.zeros(4000, dtype=torch.int64), 1, 12)
    memberships = soft_memberships([ReleasedMoment(query, query.T @ (columns - priors), 0.0)], priors)
    left = query.T @ (columns - priors - memberships)
    assert float(left.norm()) < 0.02 * float((query.T @ (columns - priors)).norm())


def test_the_more_noise_the_smaller_the_memberships() -> None:
    z, p, a = correlated(2000, 2)
    columns = torch.nn.functional.one_hot(torch.from_numpy(a), 2).double()
    priors = columns.mean(0).expand(2000, 2)
    query = query_matrix(z, p, torch.zeros(2000, dtype=torch.int64), 1, 12)
    sizes = [
        float(soft_memberships([ReleasedMoment(query, query.T @ (columns - priors), sigma)], priors).norm())
        for sigma in (0.0, 5.0, 50.0, 5000.0)
    ]
    assert sizes == sorted(sizes, reverse=True)
    assert sizes[-1] < 0.01 * sizes[0]


def test_several_noisy_answers_tell_more_than_the_last_alone() -> None:
    """The same space asked four times: the error of the estimated covariance falls, on average over the noise."""
    z, p, a = correlated(2000, 2)
    columns = torch.nn.functional.one_hot(torch.from_numpy(a), 2).double()
    priors = columns.mean(0).expand(2000, 2)
    query = query_matrix(z, p, torch.zeros(2000, dtype=torch.int64), 1, 12)
    truth = ((columns - priors).T @ (p - p.mean())).flatten()

    def error(count: int) -> float:
        squares = []
        for trial in range(20):
            answers = [
                ReleasedMoment(
                    query, query.T @ (columns - priors) + 20 * drawn(100 * trial + i, 12, 1) * torch.tensor([1, -1]), 20
                )
                for i in range(count)
            ]
            found = (soft_memberships(answers, priors).T @ (p - p.mean())).flatten()
            squares.append(float((found - truth).square().sum()))
        return sum(squares) / len(squares)

    assert error(4) < 0.6 * error(1)


def test_moments_ask_once_an_epoch_and_never_in_a_batch(tmp_path: Path) -> None:
    chosen = MethodSettings(name="parity", release="moments", components=4)
    held = people(tmp_path, chosen, {"a": codes(2)}, {"a": 2}, epochs=3)
    method = make_method(chosen)
    start(method, held, labels(2))
    for _ in range(5):
        method.penalty(batch_of(drawn(3, N, 2).float(), labels(2)), 0.5)
    method.start_epoch(1)
    assert held.opened() == ["group_counts", "moment", "moment"]


@pytest.mark.parametrize("groups", [2, 3])
@pytest.mark.parametrize("epochs", [1, 4])
def test_the_planned_noise_is_that_of_the_answers_mean(tmp_path: Path, groups: int, epochs: int) -> None:
    chosen = MethodSettings(name="parity", release="moments")
    held = people(tmp_path, chosen, {"a": codes(groups)}, {"a": groups}, epochs=epochs, epsilon=1.0)
    made = moment(held.auditors, "a", np.arange(N), drawn(1, N, 3).clamp(-0.5, 0.5)).sigma
    assert made > 1.0
    assert held.auditors.noise("moment", "a", N) == pytest.approx(made / epochs**0.5, rel=1e-3)
    assert held.auditors.noise("adversary_rows", "a", N) == 0.0  # not in the plan


def test_without_noise_a_query_has_all_its_columns(tmp_path: Path) -> None:
    for epsilon, expected in ((None, MOST_COLUMNS), (0.01, FEWEST_COLUMNS)):
        chosen = MethodSettings(name="parity", release="moments")
        held = people(tmp_path / str(epsilon), chosen, {"a": codes(2)}, {"a": 2}, epsilon=epsilon)
        method = make_method(chosen)
        start(method, held, labels(2))
        assert method.source.columns(None) == expected  # type: ignore[attr-defined]
        assert method.source.columns(5) == 5  # type: ignore[attr-defined]


# adversary


@pytest.mark.parametrize("groups", [2, 4])
def test_adv_ascends_the_adversary_s_loss(tmp_path: Path, groups: int) -> None:
    """The gradient by the features is minus strength / B times that of the loss on unit rows, weights as they stood."""
    chosen = MethodSettings(name="adv", release="rows", strength=STRENGTH, ramp=0)
    held = people(tmp_path, chosen, {"a": codes(groups)}, {"a": groups}, epochs=4, batch_size=N)
    method = make_method(chosen)
    start(method, held, labels(2))
    a = membership_matrix(codes(groups), groups).double()
    weights = torch.zeros(WIDTH, a.shape[1], dtype=torch.float64)
    centre: Tensor | None = None
    for step in range(4):
        z = drawn(10 + step, N, WIDTH).float().requires_grad_()
        (found,) = torch.autograd.grad(method.penalty(batch_of(torch.zeros(N, 2), labels(2), z), 0.0), z)
        exact = z.detach().double().requires_grad_()
        mean = exact.detach().mean(0)
        centre = mean if centre is None else 0.9 * centre + 0.1 * mean
        unit = (1 - ENCODING_MARGIN) * (exact - centre) / (exact - centre).norm(dim=1, keepdim=True)
        if groups == 2:
            loss = torch.nn.functional.binary_cross_entropy_with_logits(unit @ weights, a, reduction="sum")
        else:
            loss = torch.nn.functional.cross_entropy(unit @ weights, a.argmax(1), reduction="sum")
        (rising,) = torch.autograd.grad(loss, exact)
        expected = -STRENGTH / N * rising
        assert step == 0 or float(expected.norm()) > 1e-4  # the adversary begins at zero and knows nothing
        torch.testing.assert_close(found.double(), expected, rtol=1e-3, atol=2e-6)
        _, weights = plain_adversary(unit.detach(), a, weights)


# orthogonality, erasure, negation


def sensitive_of(model: Classifier, rank: int = 3) -> Sensitive:
    return Sensitive(
        {
            name: (drawn(20 + i, rank, a.shape[1]).float(), drawn(40 + i, b.shape[0], rank).float())
            for i, (name, (a, b)) in enumerate(adapter_state(model.backbone).items())
        },
        accuracy=1.0,
    )


@pytest.mark.parametrize("release", ["adapter", "gradient"])
def test_orth_descends_the_overlap_of_the_row_spaces(tmp_path: Path, release: str) -> None:
    chosen = MethodSettings(name="orth", release=release, strength=STRENGTH, orthogonality="weights", ramp=0)
    model = classifier()
    theirs = sensitive_of(model)
    held = people(tmp_path, chosen, {"a": codes(2)}, {"a": 2}, sensitive={"a": theirs})
    method = make_method(chosen)
    start(method, held, labels(2), model=model)
    task = list(row_matrices(model.backbone).values())
    found = torch.autograd.grad(method.penalty(batch_of(torch.zeros(N, 2), labels(2)), 0.0), task)
    exact = [matrix.detach().double().requires_grad_() for matrix in task]
    overlap = sum(
        (mine @ rows.double().T).square().sum() for mine, (rows, _) in zip(exact, theirs.adapter.values(), strict=True)
    )
    expected = torch.autograd.grad(STRENGTH * overlap, exact)
    for one, other in zip(found, expected, strict=True):
        torch.testing.assert_close(one.double(), other, rtol=1e-3, atol=1e-3)


def test_explaining_away_keeps_how_often_each_class_is_predicted(tmp_path: Path) -> None:
    chosen = MethodSettings(name="orth", release="adapter", sensitive_scale=3.0, orthogonality="rows")
    model = classifier(3)
    held = people(tmp_path, chosen, {"a": codes(2)}, {"a": 2}, sensitive={"a": sensitive_of(model)})
    tokens, y = drawn(1, N, TOKENS, WIDTH).float(), labels(3)
    with torch.no_grad():
        model.head.weight += drawn(2, 3, WIDTH).float()

    def evaluate() -> tuple[Tensor, Tensor]:
        with torch.no_grad():
            z, logits = model(tokens)
        return z, logits.softmax(1)

    method = make_method(chosen)
    method.start(Training(y, 3, model.backbone, held.auditors, evaluate, model.head))
    during = evaluate()[1].mean(0)
    with torch.no_grad():
        set_active(model.backbone, ["task"])
        dropped = evaluate()[1].mean(0)
        set_active(model.backbone, ["task", "sensitive"])
    assert float((dropped - during).abs().max()) > 0.02  # or there is nothing to set right
    method.finish()
    torch.testing.assert_close(evaluate()[1].mean(0), during, atol=1e-4, rtol=0)


def test_orth_has_the_sensitive_adapter_active_in_training_and_drops_it(tmp_path: Path) -> None:
    chosen = MethodSettings(name="orth", release="adapter", sensitive_scale=1.0)
    model = classifier()
    held = people(tmp_path, chosen, {"a": codes(2)}, {"a": 2}, sensitive={"a": sensitive_of(model)})
    tokens = drawn(1, 6, TOKENS, WIDTH).float()
    with torch.no_grad():
        before = features(model.backbone, tokens)
        method = make_method(chosen)
        start(method, held, labels(2), model=model)
        during = features(model.backbone, tokens)
        method.finish()
        after = features(model.backbone, tokens)
    assert float((during - before).norm()) > 0.01 * float(before.norm())
    torch.testing.assert_close(after, before)


@pytest.mark.parametrize("classes", [2, 3])
def test_orth_descends_the_covariance_with_what_the_sensitive_adapter_sees(tmp_path: Path, classes: int) -> None:
    """The running mean is that of the same batch here, so the penalty's gradient must be that of 4 sum Cov^2."""
    chosen = MethodSettings(name="orth", release="adapter", strength=STRENGTH, orthogonality="predictions", ramp=0)
    model = classifier(classes)
    held = people(tmp_path, chosen, {"a": codes(3)}, {"a": 3}, sensitive={"a": sensitive_of(model)})
    tokens, y = drawn(1, N, TOKENS, WIDTH).float(), labels(classes)

    def evaluate() -> tuple[Tensor, Tensor]:
        with torch.no_grad():
            z, logits = model(tokens)
        return z, logits.softmax(1)

    method = make_method(chosen)
    before, _ = evaluate()
    method.start(Training(y, classes, model.backbone, held.auditors, evaluate, model.head))
    torch.testing.assert_close(evaluate()[0], before)  # it is not active in training
    with torch.no_grad():
        set_active(model.backbone, ["task", "sensitive0"])
        seen = scores(before, evaluate()[0], 2)
        set_active(model.backbone, ["task"])
    torch.testing.assert_close(seen.std(0), torch.ones(2, dtype=torch.float64))
    assert abs(float(torch.corrcoef(seen.T)[0, 1])) < 1e-6
    logits = drawn(3, N, classes).float().requires_grad_()
    assert float(method.penalty(batch_of(logits, y), 0.0).detach()) == 0.0  # nothing earlier to compare with
    (found,) = torch.autograd.grad(method.penalty(batch_of(logits, y), 1.0), logits)
    exact = logits.detach().double().requires_grad_()
    p = exact.softmax(1)[:, 1:] if classes == 2 else exact.softmax(1)
    (expected,) = torch.autograd.grad(4 * STRENGTH * (seen.T @ (p - p.mean(0)) / N).square().sum(), exact)
    assert float(expected.norm()) > 1e-3
    torch.testing.assert_close(found.double(), expected, rtol=1e-3, atol=1e-6)


def test_scores_find_the_direction_that_changed() -> None:
    z, a = drawn(1, 500, WIDTH), drawn(2, 500, 1)
    changed = z + a @ drawn(3, 1, WIDTH) + 0.05 * drawn(4, 500, WIDTH)
    found = scores(z, changed, 1)
    assert abs(float(torch.corrcoef(torch.cat([found, a], dim=1).T)[0, 1])) > 0.99


@pytest.mark.parametrize(("target", "stronger"), [(0.02, True), (0.6, False)])
def test_the_strength_follows_the_target_gap(tmp_path: Path, target: float, stronger: bool) -> None:
    chosen = MethodSettings(name="parity", release="rows", strength=2.0, target_gap=target)
    held = people(tmp_path, chosen, {"a": codes(2)}, {"a": 2}, epochs=20, batch_size=N)
    method = make_method(chosen)
    start(method, held, labels(2))
    apart = torch.from_numpy(codes(2)).float()[:, None] * torch.tensor([-1.0, 1.0])
    method.penalty(batch_of(apart, labels(2)), 0.5)
    assert method.strength() == 2.0  # not while the strength still rises
    for _ in range(2):
        method.penalty(batch_of(apart, labels(2)), 1.0)
    gap, strength = method.gaps()["a"], method.strength()
    assert strength is not None
    assert 0.02 < gap < 0.6
    assert (strength > 3.0) if stronger else (strength < 1.5)


def test_without_a_target_no_strength_is_adjusted() -> None:
    assert make_method(MethodSettings(name="parity", release="rows")).strength() is None


def test_unl_subtracts_the_sensitive_adapter_and_leaves_the_base(tmp_path: Path) -> None:
    chosen = MethodSettings(name="unl", release="adapter", strength=0.5)
    model = classifier()
    theirs = sensitive_of(model)
    held = people(tmp_path, chosen, {"a": codes(2)}, {"a": 2}, sensitive={"a": theirs})
    name = next(iter(theirs.adapter))
    layer = model.backbone.get_base_model().get_submodule(name)
    inputs = drawn(5, 3, layer.in_features).float()
    with torch.no_grad():
        before, base = layer(inputs), layer.get_base_layer().weight.clone()
        method = make_method(chosen)
        start(method, held, labels(2), model=model)
        method.finish()
        rows, columns = theirs.adapter[name]
        expected = before - 0.5 * 2.0 * inputs @ (columns @ rows).T
        torch.testing.assert_close(layer(inputs), expected, rtol=1e-3, atol=1e-3)
    assert torch.equal(layer.get_base_layer().weight, base)


class Watched(MethodSettings):
    """Settings that note which of their keys are read."""

    read: ClassVar[set[str]] = set()

    def __getattribute__(self, name: str) -> object:
        Watched.read.add(name)
        return super().__getattribute__(name)


@pytest.mark.parametrize("name", METHODS)
def test_the_keys_that_a_method_declares_are_those_that_it_uses(tmp_path: Path, name: str) -> None:
    """Any other is refused, and one that does nothing would be taken for an effect."""
    release = METHODS[name].noised_release  # what it has by default with noise uses all keys
    model, plain = classifier(), MethodSettings(name=name, release=release)
    epsilon = 1.0 if METHODS[name].releases == ("attributes",) else None  # answers are smoothed where they may lie
    sensitive = {"a": sensitive_of(model)} if METHODS[name].adapter_releases else None
    held = people(tmp_path, plain, {"a": codes(2)}, {"a": 2}, batch_size=N, sensitive=sensitive, epsilon=epsilon)
    method = make_method(Watched(name=name, release=release))
    Watched.read.clear()
    start(method, held, labels(2), model=model)
    method.penalty(batch_of(drawn(3, N, 2).float(), labels(2), drawn(4, N, WIDTH).float()), 0.5)
    method.finish()
    whom = {"attributes"}  # is for whoever tells the method whom to ask about
    assert Watched.read & MethodSettings.model_fields.keys() - {"release"} == set(METHODS[name].keys) - whom


def test_erase_finds_the_direction_and_shrinks_it(tmp_path: Path) -> None:
    """Descending the penalty on the features themselves takes away their covariance with the attribute."""
    z, p, a = correlated(600, 2)
    z = z.float()
    chosen = MethodSettings(name="erase", release="moments", strength=1.0, components=WIDTH, ramp=0)
    held = people(tmp_path, chosen, {"a": a}, {"a": 2})
    method = make_method(chosen)
    probabilities = torch.cat([1 - p, p], dim=1).float()
    y = labels(2, 600)
    method.start(Training(y, 2, classifier().backbone, held.auditors, lambda: (z, probabilities), classifier().head))
    method.start_epoch(0)
    moved = z.clone().requires_grad_()
    ones = torch.from_numpy(a == 1)

    def gap(features_: Tensor) -> float:
        return float((features_[ones].mean(0) - features_[~ones].mean(0)).norm())

    for _ in range(300):
        (gradient,) = torch.autograd.grad(method.penalty(batch_of(torch.zeros(600, 2), y, moved), 0.0), moved)
        moved = (moved - 60.0 * gradient).detach().requires_grad_()
    assert gap(moved.detach()) < 0.2 * gap(z)
    assert float((moved.detach() - z).norm()) < 0.5 * float(z.norm())  # the rest is still there


@pytest.mark.parametrize("name", ["parity", "odds", "erase"])
def test_a_budget_that_is_used_up_ends_the_moments_not_the_training(tmp_path: Path, name: str) -> None:
    z, p, a = correlated(400, 2)
    held = people(
        tmp_path, MethodSettings(name=name, release="moments"), {"a": a}, {"a": 2}, epsilon=1.0, evaluation_epsilon=1.0
    )
    method = make_method(MethodSettings(name=name, release="moments"))
    y = labels(2, 400)
    probabilities = torch.cat([1 - p, p], dim=1).float()
    method.start(
        Training(y, 2, classifier().backbone, held.auditors, lambda: (z.float(), probabilities), classifier().head)
    )
    memberships = []
    for epoch in range(8):  # the plan has one, and a few in reserve
        method.start_epoch(epoch)
        memberships.append(method.source.of_all("a"))
    assert held.opened().count("moment") < 8
    torch.testing.assert_close(memberships[-1], memberships[-2])
    with pytest.raises(BudgetExceeded):
        asks.moment(held.auditors, "a", method.training.records, z)


# randomised response


def test_rr_memberships_are_right_on_average(tmp_path: Path) -> None:
    """The corrected answers reproduce the gap, where the answers themselves would show a fraction of it."""
    _, p, a = correlated(20_000, 2)
    chosen = MethodSettings(name="rr", release="attributes", ramp=0)
    held = people(tmp_path, chosen, {"a": a}, {"a": 2}, epsilon=1.0, evaluation_epsilon=1.0)
    y = labels(2, 20_000)
    method = make_method(chosen)
    method.start(Training(y, 2, classifier().backbone, held.auditors, lambda: (p, p), classifier().head))
    logits = torch.cat([1 - p, p], dim=1).log().float()
    method.penalty(batch_of(logits, y), 0.0)
    ones = torch.from_numpy(a == 1)
    exact = float(p[ones].mean() - p[~ones].mean())
    # one answer moves the gap by about 2 / n / (2 truth - 1); its standard deviation over 20,000 records is 0.007
    assert method.gaps()["a"] == pytest.approx(exact, abs=0.04)
    assert exact > 0.1
    assert held.opened() == ["randomised_attributes"]


@pytest.mark.parametrize("epsilon", [0.3, 3.0])
def test_responses_are_smoothed_by_what_the_features_tell(tmp_path: Path, epsilon: float) -> None:
    """Nearer to the truth than the corrected answers alone, with the same gap; the better the more they lie."""
    z, p, a = correlated(4000, 2)
    chosen = MethodSettings(name="rr", release="attributes", ramp=0)
    held = people(tmp_path, chosen, {"a": a}, {"a": 2}, epsilon=epsilon, evaluation_epsilon=1.0)
    probabilities = torch.cat([1 - p, p], dim=1)
    method = make_method(chosen)
    method.start(
        Training(
            labels(2, 4000), 2, classifier().backbone, held.auditors, lambda: (z, probabilities), classifier().head
        )
    )
    columns = torch.nn.functional.one_hot(torch.from_numpy(a), 2).double()
    truth = columns - columns.mean(0)

    def error() -> float:
        return float((method.source.of_all("a") - truth).square().mean())

    raw = error()
    method.start_epoch(0)
    assert error() < {0.3: 0.05, 3.0: 0.8}[epsilon] * raw
    assert held.opened() == ["randomised_attributes"]
    told, expected = (float((m[:, 1:].T @ (p - p.mean())) / 4000) for m in (method.source.of_all("a"), truth))
    # the standard deviation of the answers' own estimate is 0.05 at epsilon 0.3 and 0.004 at 3
    assert told == pytest.approx(expected, abs={0.3: 0.15, 3.0: 0.02}[epsilon])


# what they share


def test_all_groups_restores_the_first_of_two() -> None:
    a = codes(2)
    columns = membership_matrix(a, 2)
    assert columns.shape == (N, 1)
    both = all_groups(columns.double().sum(0), torch.tensor(float(N)))
    assert both.tolist() == [float((a == 0).sum()), float((a == 1).sum())]


def test_the_ramp_rises_over_its_epochs() -> None:
    rising = make_method(MethodSettings(name="erm", ramp=2.0))
    assert [rising.ramped(progress) for progress in (0.0, 0.5, 1.0, 2.0, 9.0)] == [0.0, 0.25, 0.5, 1.0, 1.0]
    assert make_method(MethodSettings(name="erm", ramp=0.0)).ramped(0.0) == 1.0


def test_noise_makes_no_group_smaller_than_itself() -> None:
    counts = torch.tensor([[700.0, -40.0, 300.0], [10.0, 5.0, -3.0]], dtype=torch.float64)
    exact, noised = shares(counts), shares(counts, 100.0)
    torch.testing.assert_close(exact[0, 1], torch.tensor(0.01 / 1.01, dtype=torch.float64))
    torch.testing.assert_close(noised[0, 1], torch.tensor(0.1 / 1.1, dtype=torch.float64))
    torch.testing.assert_close(noised[1], torch.full((3,), 1 / 3, dtype=torch.float64), atol=0.2, rtol=0)
    torch.testing.assert_close(noised.sum(1), torch.ones(2, dtype=torch.float64))
