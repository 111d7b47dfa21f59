"""Confirmed sums: a developer that tells other counts than were computed is found out, and one that does not is not."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from secure_fair.mpc import confirmation
from secure_fair.mpc.bounds import RowSum
from secure_fair.mpc.commitment import commit_bits
from secure_fair.mpc.confirmation import Told, confirm, prove, stand_by
from secure_fair.mpc.products import Masked
from secure_fair.mpc.session import Session
from tests.mpc.harness import Failed, Settings, run, run_fresh
from tests.mpc.values import AUDITOR, DEVELOPER, memberships

BRIEF = Settings(timeout=8.0)
N, STRATA, GROUPS, SCALE = 200, 4, 3, 2**16
NOISE = torch.arange(STRATA * GROUPS).reshape(STRATA, GROUPS) * 30_001 - 100_000


def strata() -> Tensor:
    draw = torch.from_numpy(np.random.default_rng(4).integers(0, STRATA, N))
    return torch.nn.functional.one_hot(draw, STRATA)


def query_of(session: Session) -> Masked:
    """The developer's commitment to its strata."""
    own = strata() if session.name == DEVELOPER else None
    return commit_bits(session, [DEVELOPER], own, (N, STRATA), rule=RowSum.ONE)


def truth() -> Told:
    """What an honest developer has been told, noise and all."""
    return Told(strata().T @ memberships(N, GROUPS, 2) * SCALE + NOISE, strata().sum(0))


def party(session: Session, told: Told, shift: int = 0, weak: bool = False, other: int = 0) -> Any:
    """All three roles. ``shift``: what a developer that knows the factor adds to its T; ``weak``: the factor is 1;
    ``other``: the auditor counts everybody of stratum so often in place of once."""
    confirmation.PART_ELEMENTS = 300  # so that there are three parts
    query = query_of(session)
    if session.name == AUDITOR:
        if weak:
            confirmation.secrets.randbits = lambda bits: 1 << bits - 1  # type: ignore[assignment]  # so that it is 1
        members = memberships(N, GROUPS, 2) * (1 + other)
        found = confirm(session, query, DEVELOPER, members, NOISE, SCALE, N + 100.0)
        return found.values, found.sizes
    if session.name == DEVELOPER:
        if shift:
            honest = session.receive_ring

            def receive(shared: Any) -> Tensor:
                opened = honest(shared)
                opened[0, 0] += shift
                return opened

            session.receive_ring = receive  # type: ignore[method-assign]
        return prove(session, query, AUDITOR, told)
    return stand_by(session, query, DEVELOPER, AUDITOR, GROUPS)


@pytest.mark.parametrize("parties", [2, 3])
def test_what_was_computed_is_confirmed(parties: int) -> None:
    told = truth()
    values, sizes = run(party, told, parties=parties)[1]
    assert torch.equal(values, told.values)
    assert torch.equal(sizes, told.sizes)


def moved(values: int = 0, sizes: int = 0) -> Told:
    """One count told higher by so many; one record told to be in another stratum."""
    told = truth()
    told.values[0, 0] += values * SCALE
    told.sizes[0] += sizes
    told.sizes[1] -= sizes
    return told


@pytest.mark.parametrize(
    ("told", "shift", "weak"),
    [
        (moved(values=1), 0, False),
        (moved(values=-1), 0, False),
        (moved(values=1), 1, False),  # as if the factor were 1
        (moved(sizes=1), 0, False),
        (moved(values=5000), 0, False),  # beyond what can be
    ],
    ids=["one more", "one less", "with a guess", "sizes", "beyond"],
)
def test_another_count_is_not(told: Told, shift: int, weak: bool) -> None:
    outcomes = run_fresh(party, told, shift, weak, settings=BRIEF)
    assert any(isinstance(outcome, Failed) for outcome in outcomes)
    assert not isinstance(outcomes[1], tuple)  # the auditor confirms nothing


def test_with_a_factor_that_the_developer_knows_the_same_lie_goes_through() -> None:
    """The twin: nothing but the factor keeps a developer from telling what it likes."""
    outcomes = run_fresh(party, moved(values=1), 1, True, settings=BRIEF)
    values, _ = outcomes[1]
    assert values[0, 0] == truth().values[0, 0] + SCALE


def test_a_part_of_a_count_is_none() -> None:
    told = truth()
    told.values[1, 1] += 1
    outcome = run_fresh(party, told, settings=BRIEF)[1]
    assert isinstance(outcome, Failed)
    assert "counts that are none" in str(outcome)


def test_an_auditor_that_multiplies_something_else_learns_one_bit_and_is_named() -> None:
    """Twice the memberships, in the hope that nobody notices: the developer does, and tells nothing more."""
    outcome = run_fresh(party, truth(), 0, False, 1, settings=BRIEF)[0]
    assert isinstance(outcome, Failed)
    assert "auditor checks other counts than were computed" in str(outcome)
