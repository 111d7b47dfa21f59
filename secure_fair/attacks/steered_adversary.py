"""An adversary on shares that the developer steers: it adds to its own share of the weights with which it starts.

Rows are then (p - a) times as long as the noise is made for, and every attribute is read out of one request.
"""

from __future__ import annotations

import numpy as np
import torch

from secure_fair.attacks.common.attack import DEVELOPER, Attack, AttackTerms, Context, Outcome
from secure_fair.attacks.common.auditor import ATTRIBUTE, TRUSTING, training_plan
from secure_fair.attacks.common.exchange import Exchange
from secure_fair.mpc.session import Session
from secure_fair.mpc.shares import from_share
from secure_fair.operations.common.state import SharedState
from secure_fair.privacy.policy import Policy

NAME = "adversary_rows"
PEOPLE = 200
WEIGHT = 14  # binary digits of the weight that is added


class SteeredAdversary(Attack):
    """The added weight belongs to a feature that nobody has: the rows are proved and honest, the weights are not."""

    claim = (
        "noised rows of an adversary on shares are refused to a developer that is not trusted to keep to the protocol"
    )
    view = "developer"
    needs = "a program of its own that adds to its share"
    twin = "an auditor whose policy says that the developer follows the protocol"

    def run(self, context: Context) -> Outcome:
        """One request about everybody."""
        codes = context.generator("steered_adversary").integers(0, 2, PEOPLE)
        ours, twin = (context.parties(play, context.terms, codes, policy)[0] for policy in (Policy(), TRUSTING))
        here, there = (0 if guesses is None else int((guesses == codes).sum()) for guesses in (ours, twin))
        return Outcome.counted(here, there, PEOPLE, most=0.0)


def play(session: Session, terms: AttackTerms, codes: np.ndarray, policy: Policy) -> np.ndarray | None:
    """One party's part; at the developer its guesses int64 (n,), None where it was refused."""
    plan = training_plan(NAME, terms, "adversary_step", exact=False)
    features = torch.tensor([[0.9, 0.0]], dtype=torch.float64).repeat(PEOPLE, 1)
    rows = Exchange(NAME, plan, policy, 2, prepare=_steer).run(session, codes, features)
    return None if rows is None or session.name != DEVELOPER else (rows[:, 1] < 0).astype(np.int64)


def _steer(state: SharedState) -> None:
    start = torch.tensor([[0], [state.session.scale << WEIGHT]], dtype=torch.int64)
    state.adversaries[ATTRIBUTE] = from_share(start, state.session.scale)


ATTACK = SteeredAdversary()
