"""The oracle in the clear: its answers are the truth, through the gate, with noise where it is planned."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import torch

from secure_fair.errors import BudgetExceeded, Refusal
from secure_fair.learning.sensitive import Sensitive
from secure_fair.learning.settings import MethodSettings
from secure_fair.operations.common.adapters import flatten_adapter, shapes_of, unflatten_adapter
from secure_fair.operations.randomised_attributes import corrected
from secure_fair.privacy.randomised_response import debias
from tests import asks
from tests.learning.clear import People, people

N = 120
EVERYBODY = np.arange(N, dtype=np.int64)
CODES = {"sex": EVERYBODY % 2, "origin": EVERYBODY // 7 % 3}
GROUPS = {"sex": 2, "origin": 3}


def held(folder: Path, name: str, release: str | None, **options: object) -> People:
    return people(folder, MethodSettings(name=name, release=release), CODES, GROUPS, **options)  # type: ignore[arg-type]


def columns(attribute: str) -> np.ndarray:
    """Membership of group 1 for two groups, of each group for more."""
    one_hot = np.eye(GROUPS[attribute])[CODES[attribute]]
    return one_hot[:, 1:] if GROUPS[attribute] == 2 else one_hot


@pytest.mark.parametrize("attribute", CODES)
def test_counts_and_moments_are_sums_over_the_memberships(tmp_path: Path, attribute: str) -> None:
    answers = held(tmp_path, "parity", "moments").auditors
    strata = torch.from_numpy(EVERYBODY % 4)
    counts = asks.group_counts(answers, attribute, EVERYBODY, strata, 4).values.numpy()
    expected = np.stack([columns(attribute)[stratum::4].sum(0) for stratum in range(4)])
    assert np.array_equal(counts, expected)
    records = EVERYBODY[::-1][:70].copy()  # not in the table's order
    query = torch.rand(70, 5, generator=torch.Generator().manual_seed(0), dtype=torch.float64) / 3
    moment = asks.moment(answers, attribute, records, query).values.numpy()
    assert moment == pytest.approx(query.numpy().T @ columns(attribute)[records], abs=1e-3)


@pytest.mark.parametrize("attribute", CODES)
def test_rows_are_the_memberships_of_the_records_asked_for(tmp_path: Path, attribute: str) -> None:
    answers = held(tmp_path, "parity", "rows", batch_size=40).auditors
    records = np.array([7, 3, 100, 55], dtype=np.int64)
    assert np.array_equal(asks.penalty_rows(answers, attribute, records).values.numpy(), columns(attribute)[records])


def test_every_answer_is_in_the_ledger_and_nothing_else(tmp_path: Path) -> None:
    everything = held(tmp_path, "parity", "moments", test=40)
    training, test = EVERYBODY[:80], EVERYBODY[80:]
    assert everything.opened() == []
    asks.group_counts(everything.auditors, "sex", training, torch.zeros(80, dtype=torch.int64), 1)
    asks.moment(everything.auditors, "origin", training, torch.zeros(80, 2))
    counted = torch.zeros(40, dtype=torch.int64)
    assert asks.evaluation_counts(everything.auditors, "sex", test, counted, 1) is not None
    assert everything.opened() == ["group_counts", "moment", "evaluation_counts"]


@pytest.mark.parametrize("epsilon", [None, 1.0])
def test_an_evaluation_is_asked_for_once(tmp_path: Path, epsilon: float | None) -> None:
    everything = held(tmp_path, "parity", "moments", epsilon=epsilon, evaluation_epsilon=epsilon, test=N)
    strata = torch.from_numpy(EVERYBODY % 4)
    first = asks.evaluation_counts(everything.auditors, "sex", EVERYBODY, strata, 4)
    again = asks.evaluation_counts(everything.auditors, "sex", EVERYBODY[::-1].copy(), strata.flip(0), 4)
    other = asks.evaluation_counts(everything.auditors, "origin", EVERYBODY, strata, 4)
    assert first is not None
    assert again is not None
    assert other is not None
    assert torch.equal(first.values, again.values)
    assert first.sigma == again.sigma
    assert (first.sigma > 0) == (epsilon is not None)
    assert other.values.shape == (4, 3)
    assert everything.opened() == ["evaluation_counts"] * 2


def test_noise_has_the_planned_size(tmp_path: Path) -> None:
    noised = held(tmp_path, "parity", "moments", epsilon=1.0, evaluation_epsilon=1.0).auditors
    query = torch.zeros(N, 400, dtype=torch.float64)
    query[:, 0] = 0.5
    released = asks.moment(noised, "sex", EVERYBODY, query)
    assert released.sigma > 1
    # 399 draws: their standard deviation is within four of its own standard errors of sigma
    assert float(released.values[1:].std()) == pytest.approx(released.sigma, rel=4 / np.sqrt(2 * 399))
    exact = 0.5 * columns("sex").sum()
    assert abs(float(released.values[0, 0]) - exact) < 6 * released.sigma


def test_refusals_and_budgets_hold_in_the_clear_too(tmp_path: Path) -> None:
    answers = held(tmp_path, "parity", "moments", epsilon=1.0, evaluation_epsilon=1.0, minimum_batch=32).auditors
    with pytest.raises(Refusal, match="minimum_batch is 32"):
        asks.moment(answers, "sex", EVERYBODY[:31], torch.zeros(31, 2))
    with pytest.raises(Refusal, match="penalty_rows"):
        asks.penalty_rows(answers, "sex", EVERYBODY)
    asks.moment(answers, "sex", EVERYBODY, torch.zeros(N, 2))  # as planned
    asks.moment(
        answers, "sex", EVERYBODY, torch.zeros(N, 2)
    )  # the reserve; what is planned for the counts pays for none
    with pytest.raises(BudgetExceeded):
        asks.moment(answers, "sex", EVERYBODY, torch.zeros(N, 2))


def test_randomised_answers_stay_the_same_for_ever(tmp_path: Path) -> None:
    answers = held(tmp_path, "rr", "attributes", epsilon=1.0, evaluation_epsilon=1.0).auditors
    first = asks.randomised_attributes(answers, "origin", EVERYBODY)
    _, correction = corrected([first], [3], [answers.epsilon])
    assert torch.equal(correction, torch.from_numpy(debias(3, 1.0)))
    again = asks.randomised_attributes(answers, "origin", EVERYBODY)
    assert torch.equal(first, again)
    assert 0 < int((first.numpy() == CODES["origin"]).sum()) < N
    drawn = [json.loads(line) for file in (tmp_path / "responses").rglob("*.jsonl") for line in file.open()]
    assert len(drawn) >= N


def test_an_adapter_comes_as_it_was_trained(tmp_path: Path) -> None:
    generator = torch.Generator().manual_seed(0)
    shapes = {"blocks.0.attn.qkv": (16, 48), "blocks.1.mlp.fc1": (16, 64)}
    adapter = {
        name: (torch.randn(2, wide, generator=generator), torch.randn(out, 2, generator=generator))
        for name, (wide, out) in shapes.items()
    }
    theirs = Sensitive(adapter, 1.0)
    answers = held(tmp_path, "orth", "adapter", sensitive={"sex": theirs}).auditors
    found = asks.sensitive_adapter(answers, "sex")
    assert list(found) == list(adapter)
    for name, (a, b) in adapter.items():
        torch.testing.assert_close(found[name][0], a, atol=2**-16, rtol=0)
        torch.testing.assert_close(found[name][1], b, atol=2**-16, rtol=0)
    restored = unflatten_adapter(flatten_adapter(adapter), shapes_of(adapter))
    assert all(torch.equal(restored[n][i], adapter[n][i]) for n in adapter for i in (0, 1))
