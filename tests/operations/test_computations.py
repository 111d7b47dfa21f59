"""Every operation agrees with its plain twin, for two, three and four parties, up to the documented limits."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from secure_fair.errors import UsageError
from secure_fair.mpc import approximations
from secure_fair.mpc.approximations import polynomial, sigmoid, softmax
from secure_fair.mpc.bounds import RowSum
from secure_fair.mpc.commitment import commit_bits, commit_rows
from secure_fair.mpc.session import Session
from secure_fair.mpc.shares import Owned, from_share, stack
from secure_fair.operations import OPERATIONS
from secure_fair.operations.common.ask import Ask
from secure_fair.operations.common.state import PublicFacts, SharedState
from secure_fair.operations.orthogonality import FINER
from secure_fair.privacy.noise import ring_sigma
from tests.mpc.harness import run
from tests.mpc.values import (
    AUDITOR,
    DEVELOPER,
    memberships,
    of_norm,
    open_to,
    share,
    share_integers,
    unit_rows,
)
from tests.operations import computations as ops

PARTIES = [2, 3, 4]
PROBABILITY_ERROR = 2.5e-4  # of a sigmoid or softmax of any of the shapes here


def row_error(norm: float) -> float:
    """Rows are probabilities times w: so are their errors."""
    return PROBABILITY_ERROR * max(1.0, norm)


def opened(session: Session, *shared: Any) -> list[Tensor | None]:
    return [open_to(session, DEVELOPER, value) for value in shared]


# moments


def moments(session: Session, shapes: list[tuple[int, int, int]]) -> list[Tensor | None]:
    results = []
    for n, k, groups in shapes:
        f = share(session, DEVELOPER, unit_rows(n, k, 1))
        a = share_integers(session, AUDITOR, memberships(n, groups, 2))
        results += opened(session, ops.moment(session, f, a))
        fixed = ops.fix(session, a)
        results += opened(session, ops.moment(session, f, fixed), ops.moment(session, f, fixed))
        rows = torch.arange(n - 1, -1, -2)
        part = from_share(f.share[rows], session.scale)
        results += opened(session, ops.moment(session, part, fixed.rows(rows)))
    return results


@pytest.mark.parametrize("parties", PARTIES)
def test_moment_is_exact_but_for_the_encoding_of_the_query(parties: int) -> None:
    shapes = [(3, 2, 1), (1, 1, 1), (500, 16, 1), (500, 7, 5)]
    results = iter(run(moments, shapes, parties=parties)[0])
    for n, k, groups in shapes:
        f = torch.round(unit_rows(n, k, 1) * 65536) / 65536
        a = memberships(n, groups, 2)
        for _ in range(3):
            assert torch.equal(next(results), ops.plain_moment(f, a))
        rows = torch.arange(n - 1, -1, -2)
        assert torch.equal(next(results), ops.plain_moment(f[rows], a[rows]))


@settings(max_examples=20)
@given(
    n=st.integers(1, 40),
    k=st.integers(1, 12),
    groups=st.sampled_from([1, 2, 7]),
    dim=st.integers(1, 30),
    ball=st.floats(0.5, 8.0),
    rate=st.floats(1e-4, 10.0),
)
def test_any_shape_ball_and_rate(n: int, k: int, groups: int, dim: int, ball: float, rate: float) -> None:
    result = run(moments, [(n, k, groups)])[0][0]
    assert torch.equal(
        result, ops.plain_moment(torch.round(unit_rows(n, k, 1) * 65536) / 65536, memberships(n, groups, 2))
    )
    results = run(adversaries, [(n, dim, groups, ball, ball, rate)])[0]
    z, a, w = unit_rows(n, dim, 7), memberships(n, groups, 8), of_norm((dim, groups), ball, 9)
    for value, expected in zip(results, ops.plain_adversary(z, a, w, learning_rate=rate, ball=ball), strict=True):
        assert float((value - expected).abs().max()) < row_error(ball)


def counts(session: Session) -> Tensor | None:
    strata = share_integers(session, DEVELOPER, memberships(300, 4, 5))
    groups = share_integers(session, AUDITOR, memberships(300, 3, 6))
    return open_to(session, DEVELOPER, ops.moment(session, strata, groups))


def test_counts_of_strata_by_groups_are_exact_integers() -> None:
    strata, groups = memberships(300, 4, 5), memberships(300, 3, 6)
    result = run(counts)[0]
    assert torch.equal(result, (strata.T @ groups).double())
    assert result.sum() == 300


def penalties(session: Session, weights: Tensor) -> list[Tensor | None]:
    a = share_integers(session, AUDITOR, memberships(64, 5, 3))
    return opened(
        session, ops.weighted_rows(session, a, weights), ops.weighted_rows(session, ops.fix(session, a), weights)
    )


@pytest.mark.parametrize("weights", [torch.eye(5, dtype=torch.int64), of_norm((5, 3), 2.0, 4)], ids=["eye", "real"])
def test_penalty_rows(weights: Tensor) -> None:
    expected = memberships(64, 5, 3).double() @ weights.double()
    tolerance = 0 if not weights.is_floating_point() else 2**-17
    for result in run(penalties, weights, parties=3)[0]:
        assert float((result - expected).abs().max()) <= tolerance


def scales_of_openings(session: Session) -> list[int]:
    """Of counts, of moments of committed and of shared queries, of rows."""
    people = commit_bits(
        session, [AUDITOR], memberships(9, 1, 1) if session.name == AUDITOR else None, (9, 1), rule=RowSum.ANY
    )
    mine = session.name == DEVELOPER
    strata = commit_bits(session, [DEVELOPER], memberships(9, 4, 2) if mine else None, (9, 4), rule=RowSum.ONE)
    query = commit_rows(session, DEVELOPER, unit_rows(9, 4, 3) if mine else None, (9, 4))
    products = [ops.moment(session, f, people) for f in (strata, query, share(session, DEVELOPER, unit_rows(9, 4, 3)))]
    rows = ops.weighted_rows(session, people, torch.eye(1, dtype=torch.int64))
    return [int(value.encoder.scale) for value in (*products, rows)]


def test_noise_is_as_large_as_it_is_told_to_be() -> None:
    """Noise is whole ring units, rounded up: at one unit per 1.0 a sigma of 0.6 would become 2."""
    assert ring_sigma(0.6, 1) == 2
    for scale in run(scales_of_openings)[0]:
        assert ring_sigma(0.6, scale) / scale == pytest.approx(0.6, rel=1e-4)


# the adversary

ADVERSARIES = [
    # batch, dim, columns, norm of w, ball, rate
    (128, 192, 1, 4.0, 8.0, 0.05),
    (64, 48, 1, 8.0, 8.0, 0.05),
    (32, 16, 1, 0.0, 8.0, 0.05),
    (16, 768, 1, 4.0, 4.0, 1e-4),
    (8, 5, 1, 0.4, 0.5, 100.0),
    (128, 192, 5, 4.0, 8.0, 0.05),
    (64, 48, 3, 8.0, 8.0, 0.01),
    (16, 16, 2, 8.0, 8.0, 0.05),
    (16, 16, 10, 4.0, 4.0, 1.0),
    (1, 1, 2, 0.5, 0.5, 0.05),
]


def adversaries(session: Session, cases: list[tuple[int, int, int, float, float, float]]) -> list[Any]:
    results = []
    for batch, dim, columns, norm, ball, rate in cases:
        z = share(session, DEVELOPER, unit_rows(batch, dim, 7))
        a = share_integers(session, AUDITOR, memberships(batch, columns, 8))
        w = share(session, DEVELOPER, of_norm((dim, columns), norm, 9))
        results += opened(session, *ops.adversary(session, z, a, w, learning_rate=rate, ball=ball))
    return results


@pytest.mark.parametrize("parties", PARTIES)
def test_adversary_rows_and_weights(parties: int) -> None:
    cases = ADVERSARIES if parties < 4 else ADVERSARIES[5:7]
    results = iter(run(adversaries, cases, parties=parties)[0])
    for batch, dim, columns, norm, ball, rate in cases:
        z, a, w = unit_rows(batch, dim, 7), memberships(batch, columns, 8), of_norm((dim, columns), norm, 9)
        rows, weights = ops.plain_adversary(z, a, w, learning_rate=rate, ball=ball)
        assert float((next(results) - rows).abs().max()) < row_error(norm)
        assert float((next(results) - weights).abs().max()) < PROBABILITY_ERROR


def aligned_logits(session: Session, ball: float, columns: int) -> list[Tensor | None]:
    """Rows along the columns of w: the largest logits that there can be."""
    w = of_norm((columns, columns), ball, 10) if columns > 1 else torch.full((1, 1), ball, dtype=torch.float64)
    z = torch.nn.functional.normalize(torch.cat([w.T, -w.T, torch.zeros_like(w)]), dim=1)
    a = memberships(len(z), columns, 11)
    rows, _ = ops.adversary(
        session,
        share(session, DEVELOPER, z),
        share_integers(session, AUDITOR, a),
        share(session, DEVELOPER, w),
        learning_rate=0.1,
        ball=ball,
    )
    return [open_to(session, DEVELOPER, rows), ops.plain_adversary(z, a, w, learning_rate=0.1, ball=ball)[0]]


@pytest.mark.parametrize("columns", [1, 2, 5])
@pytest.mark.parametrize("ball", [0.5, 4.0, 8.0])
def test_adversary_rows_at_the_largest_logits(ball: float, columns: int) -> None:
    result, expected = run(aligned_logits, ball, columns)[0]
    assert float((result - expected).abs().max()) < row_error(ball)


def many_steps(session: Session, steps: int) -> list[Tensor | None]:
    z, a = share(session, DEVELOPER, unit_rows(32, 8, 12)), share_integers(session, AUDITOR, memberships(32, 3, 13))
    w = share(session, DEVELOPER, torch.zeros(8, 3, dtype=torch.float64))
    for _ in range(steps):
        _, w = ops.adversary(session, z, a, w, learning_rate=0.05, ball=4.0)
    return opened(session, w)


def test_adversary_trained_on_shares_ends_where_the_plain_one_does() -> None:
    weights = torch.zeros(8, 3, dtype=torch.float64)
    for _ in range(40):
        _, weights = ops.plain_adversary(
            unit_rows(32, 8, 12), memberships(32, 3, 13), weights, learning_rate=0.05, ball=4.0
        )
    assert float(weights.norm()) > 0.5
    assert float((run(many_steps, 40)[0][0] - weights).abs().max()) < 5e-3


@pytest.mark.parametrize("columns", [1, 4])
def test_no_attributes_and_no_rate_take_the_weights_out_of_the_ball(columns: int) -> None:
    for ball in (0.5, 2.0, 8.0):
        for seed in range(5):
            z = torch.cat([unit_rows(1, 6, seed)] * 50)  # all rows pull the same way
            a = torch.zeros(50, columns, dtype=torch.int64)
            a[:, 0] = 1
            w = of_norm((6, columns), ball, seed)
            for _ in range(60):
                _, w = ops.plain_adversary(z, a, w, learning_rate=100.0, ball=ball)
                assert float(w.norm()) <= ball * (1 + 1e-12)


def noised_steps(session: Session, steps: int) -> list[Tensor | None]:
    z, a = share(session, DEVELOPER, unit_rows(32, 8, 12)), share_integers(session, AUDITOR, memberships(32, 1, 13))
    w = share(session, DEVELOPER, torch.zeros(8, 1, dtype=torch.float64))
    for step in range(steps):
        noise = (update_noise(step) * session.scale**2).long() if session.name == AUDITOR else None
        _, w = ops.adversary(session, z, a, w, learning_rate=0.5, ball=4.0, update=ops.Update(3.0, noise))
    return opened(session, w)


def update_noise(step: int) -> Tensor:
    return 3.0 * torch.randn(8, 1, generator=torch.Generator().manual_seed(step), dtype=torch.float64)


@pytest.mark.parametrize("parties", [2, 3])
def test_adversary_with_noised_updates(parties: int) -> None:
    weights = torch.zeros(8, 1, dtype=torch.float64)
    exact = weights
    for step in range(10):
        inputs = unit_rows(32, 8, 12), memberships(32, 1, 13)
        _, weights = ops.plain_adversary(
            *inputs, weights, learning_rate=0.5, ball=4.0, update=ops.Update(3.0, update_noise(step))
        )
        _, exact = ops.plain_adversary(*inputs, exact, learning_rate=0.5, ball=4.0, update=ops.Update(3.0))
        assert float(weights.norm()) <= 4.0
    assert float((weights - exact).norm()) > 0.1
    assert float((run(noised_steps, 10, parties=parties)[0][0] - weights).abs().max()) < 2e-3


def entropies(session: Session, cases: list[tuple[int, int, int, float, float, float]]) -> list[Any]:
    results = []
    for batch, dim, columns, norm, ball, _ in cases:
        z = share(session, DEVELOPER, unit_rows(batch, dim, 7))
        w = share(session, DEVELOPER, of_norm((dim, columns), norm, 9))
        results.append(open_to(session, DEVELOPER, ops.entropy(session, z, w, ball=ball)))
    return results


@pytest.mark.parametrize("parties", PARTIES)
def test_entropy_rows(parties: int) -> None:
    cases = ADVERSARIES if parties < 4 else ADVERSARIES[5:7]
    results = run(entropies, cases, parties=parties)[0]
    for (batch, dim, columns, norm, ball, _), found in zip(cases, results, strict=True):
        expected = ops.plain_entropy(unit_rows(batch, dim, 7), of_norm((dim, columns), norm, 9))
        assert found.shape == (batch, dim)
        assert float((found - expected).abs().max()) < row_error(norm), (batch, dim, columns, norm, ball)


@pytest.mark.parametrize("columns", [1, 2, 5])
def test_entropy_rows_are_the_gradient_of_the_entropy(columns: int) -> None:
    z = unit_rows(20, 6, 1).requires_grad_()
    u = z @ of_norm((6, columns), 5.0, 2)
    logits = torch.cat([torch.zeros_like(u), u], dim=1) if columns == 1 else u
    entropy = -(logits.softmax(1) * logits.log_softmax(1)).sum()
    (expected,) = torch.autograd.grad(entropy, z)
    torch.testing.assert_close(ops.plain_entropy(z.detach(), of_norm((6, columns), 5.0, 2)), expected)


def test_pull_is_at_most_the_ball_for_every_step_that_the_rate_allows() -> None:
    t = torch.linspace(0, 1 + ops.MAX_STEP, 100_001, dtype=torch.float64)
    pulled = t * (1 - ops.PULL * t**8)
    assert float(pulled.max()) <= 1 + 1e-12
    assert float(pulled.min()) >= 0
    assert float(((t - pulled) / t.clamp(min=1e-9))[t <= 0.5].max()) < 2e-4


@pytest.mark.parametrize(
    ("rate", "ball"), [(0.0, 4.0), (-1.0, 4.0), (math.nan, 4.0), (1.0, 8.1), (1.0, 0.4), (1.0, math.nan)]
)
def test_adversary_refuses_rates_and_balls_out_of_range(rate: float, ball: float) -> None:
    with pytest.raises(UsageError):
        ops.plain_adversary(unit_rows(2, 2, 0), memberships(2, 1, 0), torch.zeros(2, 1), learning_rate=rate, ball=ball)


# approximations


def approximated(session: Session, points: int) -> dict[str, Tensor | None]:
    results = {}
    for bound in (0.5, 1.0, 3.0, 4.0, 4.5, 8.0):
        x = torch.linspace(-bound, bound, points, dtype=torch.float64)[:, None]
        logits = share(session, DEVELOPER, x)
        squared = from_share(logits.share * session.scale, session.scale**2)
        results[f"sigmoid {bound}"] = open_to(session, DEVELOPER, sigmoid(session, squared, bound))
        for groups in (2, 3, 10):
            shared = share(session, DEVELOPER, spread(bound, groups, points))
            squared = from_share(shared.share * session.scale, session.scale**2)
            results[f"softmax {bound} {groups}"] = open_to(session, DEVELOPER, softmax(session, squared, bound))
    return results


def spread(bound: float, groups: int, points: int) -> Tensor:
    """Logits of every norm up to the bound, one of them or all but one large, and random ones."""
    one = torch.eye(groups, dtype=torch.float64)[0]
    rest = (1 - one) / math.sqrt(groups - 1)
    scales = torch.linspace(-bound, bound, points, dtype=torch.float64)[:, None]
    return torch.cat([scales * one, scales * rest, unit_rows(points, groups, 14, bound)])


@pytest.mark.parametrize("parties", [2, 3])
def test_sigmoid_and_softmax_within_their_documented_errors(parties: int) -> None:
    for name, result in run(approximated, 101, parties=parties)[0].items():
        kind, bound, *groups = name.split()
        if kind == "sigmoid":
            expected = torch.sigmoid(torch.linspace(-float(bound), float(bound), 101, dtype=torch.float64)[:, None])
            error = 1e-4
        else:
            expected = torch.softmax(spread(float(bound), int(groups[0]), 101), dim=1)
            error = 5e-4
        assert float((result - expected).abs().max()) < error, name


def chebyshev(session: Session, coefficients: list[float]) -> Tensor | None:
    u = share(session, DEVELOPER, torch.linspace(-1, 1, 41, dtype=torch.float64))
    return open_to(session, DEVELOPER, polynomial(session, u, np.array(coefficients)))


@pytest.mark.parametrize("degree", [1, 2, 3, 5, 15, 16])
def test_polynomials_of_any_degree(degree: int) -> None:
    coefficients = [(-1) ** j / (1 + j * j) for j in range(degree + 1)]
    expected = torch.from_numpy(np.polynomial.chebyshev.chebval(np.linspace(-1, 1, 41), coefficients))
    assert float((run(chebyshev, coefficients)[0] - expected).abs().max()) < 1e-3


@pytest.mark.parametrize("groups", [2, 3, 5, 8])
def test_largest_mean_exp_bounds_every_logit_vector(groups: int) -> None:
    for bound in (0.5, 4.0, 8.0):
        x = spread(bound, groups, 501)
        x = x - x.mean(1, keepdim=True)
        one = torch.eye(groups, dtype=torch.float64)[0] - 1 / groups
        x = torch.cat([x, (bound * one / one.norm())[None]])
        largest = approximations.largest_mean_exp(groups, bound)
        assert float(x.exp().mean(1).max()) <= largest * (1 + 1e-9)
        assert float(x.exp().mean(1).max()) >= largest * 0.99  # and it is reached


# orthogonality


def orthogonalities(
    session: Session, shapes: list[tuple[int, int, int]], fix: bool, times: int = 1
) -> list[Tensor | None]:
    task = [share(session, DEVELOPER, of_norm((r, d), 1.0, i)) for i, (r, _, d) in enumerate(shapes)]
    sensitive: list[Any] = [share(session, AUDITOR, of_norm((r, d), 1.0, 50 + i)) for i, (_, r, d) in enumerate(shapes)]
    if fix:
        sensitive = [ops.fix(session, matrix) for matrix in sensitive]
    results = []
    for _ in range(2):
        gradients = ops.orthogonality(session, task, sensitive, times)
        results += opened(session, ops.concatenate([gradient.flatten() for gradient in gradients]))
    return results


@pytest.mark.parametrize("fix", [False, True])
@pytest.mark.parametrize("parties", PARTIES)
def test_orthogonality_gradient(parties: int, fix: bool) -> None:
    shapes = [(8, 8, 192), (8, 4, 768), (1, 1, 1)]
    task = [of_norm((r, d), 1.0, i).requires_grad_() for i, (r, _, d) in enumerate(shapes)]
    sensitive = [of_norm((r, d), 1.0, 50 + i) for i, (_, r, d) in enumerate(shapes)]
    sum((t @ s.T).square().sum() for t, s in zip(task, sensitive, strict=True)).backward()
    by_autograd = torch.cat([t.grad.reshape(-1) for t in task])
    plain = torch.cat([g.reshape(-1) for g in ops.plain_orthogonality([t.detach() for t in task], sensitive)])
    assert torch.allclose(by_autograd, plain, atol=1e-12)
    for result in run(orthogonalities, shapes, fix, parties=parties)[0]:
        assert float((result - plain).abs().max()) < 2e-4


@pytest.mark.parametrize("parties", PARTIES)
def test_an_enlarged_gradient_has_less_of_the_rounding(parties: int) -> None:
    """Adam divides by a gradient's size: where it is small, rounding is what moves the adapter."""
    shapes = [(8, 8, 192)]
    task, sensitive = of_norm((8, 192), 1.0, 0), of_norm((8, 192), 1.0, 50)
    (plain,) = ops.plain_orthogonality([task], [sensitive])
    errors = {}
    for times in (1, 16):
        result = run(orthogonalities, shapes, False, times, parties=parties)[0][0]
        errors[times] = float((result / times - plain.flatten()).square().mean().sqrt())
    assert errors[16] < errors[1] / 2


MODULES = {"a": ((4, 6), (5, 4)), "b": ((4, 9), (5, 4)), "c": ((4, 6), (5, 4)), "d": ((3, 6), (5, 3))}
TASK_SHAPES = [(2, 6), (3, 9), (2, 6), (2, 6)]


def adapter_matrices() -> tuple[list[Tensor], list[Tensor]]:
    """The sensitive adapter's row matrices, and the task adapter's."""
    sensitive = [of_norm(shape, 1.0, 60 + i) for i, (shape, _) in enumerate(MODULES.values())]
    return sensitive, [of_norm(shape, 1.0, 70 + i) for i, shape in enumerate(TASK_SHAPES)]


def of_an_adapter(session: Session) -> tuple[Tensor | None, int]:
    """The operation on modules of several shapes, as the parties make it; and the rounds of its computation."""
    facts = PublicFacts(DEVELOPER, {"male": 2}, {}, 0, own_records=False, adapters={"male": MODULES})
    state, ask = SharedState(session, facts), Ask(operation="orthogonality", attribute="male", shapes=TASK_SHAPES)
    sensitive, task = adapter_matrices()
    state.share_sensitive("male", AUDITOR, sensitive if session.name == AUDITOR else None)
    operation, nobody = OPERATIONS["orthogonality"], np.empty(0, dtype=np.int64)
    inputs = operation.share(state, ask, nobody, task if session.name == DEVELOPER else [], [])
    before = session.communicator.rounds
    value = operation.compute(state, ask, nobody, inputs, ops.Update())
    rounds = session.communicator.rounds - before
    return open_to(session, DEVELOPER, value), rounds


@pytest.mark.parametrize("parties", PARTIES)
def test_gradients_come_in_the_order_of_the_modules_however_they_are_stacked(parties: int) -> None:
    sensitive, task = adapter_matrices()
    plain = torch.cat([gradient.flatten() for gradient in ops.plain_orthogonality(task, sensitive)])
    result, rounds = run(of_an_adapter, parties=parties)[0]
    assert float((result / FINER - plain).abs().max()) < 2e-4
    if parties == 2:
        assert rounds == 2  # however many stacks there are


@pytest.mark.parametrize("other", [Owned(1, None, (2, 3), 1 << 16), Owned(0, None, (2, 3), 1)], ids=["owner", "scale"])
def test_only_what_is_alike_is_stacked(other: Owned) -> None:
    first = Owned(0, None, (2, 3), 1 << 16)
    assert stack([first, first]) == Owned(0, None, (2, 2, 3), 1 << 16)
    with pytest.raises(UsageError, match="different owners or scales are not stacked"):
        stack([first, other])
