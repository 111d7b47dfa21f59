"""How many columns a query can afford, and what they are good for under noise."""

import pytest
import torch

from secure_fair.learning.memberships.regression import (
    FEWEST_COLUMNS,
    MOST_COLUMNS,
    ReleasedMoment,
    affordable_columns,
    query_matrix,
    soft_memberships,
)

N, WIDTH = 1500, 64


def test_columns_are_few_under_much_noise_and_all_without() -> None:
    counts = [affordable_columns(N, 2, sigma) for sigma in (0.0, 4.0, 12.0, 35.0, 1000.0)]
    assert counts[0] == MOST_COLUMNS
    assert counts[-1] == FEWEST_COLUMNS
    assert counts == sorted(counts, reverse=True)
    assert MOST_COLUMNS > counts[2] > counts[3] > FEWEST_COLUMNS
    assert affordable_columns(100 * N, 2, 35.0) == MOST_COLUMNS  # many records stand out from the same noise
    assert affordable_columns(N, 5, 12.0) < affordable_columns(N, 2, 12.0)  # small groups from less


@pytest.mark.parametrize("sigma", [35.0, 60.0])
def test_under_much_noise_few_columns_tell_the_gap_better_than_many(sigma: float) -> None:
    """Features of falling variance, the attribute in the first of them: the gap's error over draws of noise."""
    generator = torch.Generator().manual_seed(0)
    attribute = (torch.arange(N) % 2).double()[:, None]
    features = torch.randn(N, WIDTH, generator=generator).double() / torch.arange(1, WIDTH + 1) ** 0.5
    features[:, :1] += attribute
    predicted = torch.sigmoid(2 * features[:, :1] + features[:, 1:2])
    strata, priors = torch.zeros(N, dtype=torch.int64), torch.full((N, 2), 0.5).double()
    members = torch.cat([1 - attribute, attribute], dim=1) - priors
    true = float((members.T @ (predicted - predicted.mean(0)))[1]) / N

    def error(columns: int) -> float:
        query = query_matrix(features, predicted, strata, 1, columns)
        squares = []
        for _ in range(40):
            noise = sigma * torch.randn(query.shape[1], 1, generator=generator).double()
            centred = query.T @ members + torch.cat([-noise, noise], dim=1)
            found = soft_memberships([ReleasedMoment(query, centred, sigma)], priors)
            squares.append((float((found.T @ (predicted - predicted.mean(0)))[1]) / N / true - 1) ** 2)
        return sum(squares) / len(squares)

    assert error(affordable_columns(N, 2, sigma)) < 0.6 * error(MOST_COLUMNS)
