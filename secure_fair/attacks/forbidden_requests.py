"""Requests that neither plan nor policy has, one after the other: unknown, unplanned, of people twice, of too few."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
import torch

from secure_fair.attacks.common.attack import Attack, Context, Outcome, balanced
from secure_fair.attacks.common.auditor import ATTRIBUTE, EVALUATION, AttackedAuditor, auditor
from secure_fair.errors import Refusal
from secure_fair.operations import OPERATIONS, RULES, planned, requests
from secure_fair.operations.common.ask import Ask
from secure_fair.operations.common.operation import Update
from secure_fair.operations.common.state import PlainState
from secure_fair.privacy.openings import PlainOpening
from secure_fair.privacy.plan import make_plan
from secure_fair.privacy.policy import Policy

TRAINING, ALL = 200, 300
PEOPLE = np.arange(TRAINING, dtype=np.int64)
TESTED = np.arange(TRAINING, ALL, dtype=np.int64)


@dataclass(frozen=True)
class Wish:
    """A request that must be refused; the query is one half for each of ``width`` columns."""

    operation: str = "moment"
    records: np.ndarray = field(default_factory=lambda: PEOPLE)
    attribute: str = ATTRIBUTE
    width: int = 2


WISHES = (
    Wish("attributes"),
    Wish("penalty_rows", width=1),
    Wish("randomised_attributes"),
    Wish("adversary_rows"),
    Wish(attribute="age"),
    Wish(records=np.append(PEOPLE[:-1], 0)),
    Wish(records=PEOPLE[:31]),
    Wish(records=PEOPLE[:1]),
    Wish(records=PEOPLE + ALL),
    Wish(records=PEOPLE - 1),
    Wish(width=0),
    Wish(records=TESTED),
    Wish(EVALUATION),
    Wish(EVALUATION, np.arange(150, 250, dtype=np.int64)),
)


class ForbiddenRequests(Attack):
    """Real messages, through the auditor's own making of requests, its gate and its operations."""

    claim = "what plan and policy do not have is refused: other operations, attributes, people, sizes and budgets"
    view = "developer"
    needs = "a program of its own that asks for what it likes"
    twin = "an auditor that answers whatever can be computed"

    def run(self, context: Context) -> Outcome:
        """Every wish once."""
        terms = context.terms
        plan = make_plan(
            ATTRIBUTE,
            [planned("moment", 2, len(WISHES), len(WISHES))],
            rules=RULES,
            epsilon=terms.epsilon,
            delta=terms.delta,
            evaluation=[planned(EVALUATION, 2, len(WISHES), len(WISHES))],
            evaluation_epsilon=terms.evaluation_epsilon,
        )
        attributes = balanced(ALL)
        with auditor(attributes, plan, Policy(), training=TRAINING) as asked:
            ours = sum(_answered(asked, wish) for wish in WISHES)
            twin = sum(_computed(asked.state, wish) for wish in WISHES)
        return Outcome.counted(ours, twin, len(WISHES), most=0.0)


def _ask(wish: Wish) -> tuple[Ask, list[torch.Tensor]]:
    ask = Ask(operation=wish.operation, attribute=wish.attribute, width=wish.width)
    return ask, [torch.full((len(wish.records), wish.width), 0.5, dtype=torch.float64)]


def _answered(asked: AttackedAuditor, wish: Wish) -> bool:
    ask, private = _ask(wish)
    try:
        *_, grant = asked.gate.admit_together(requests(ask, wish.records, asked.facts))
    except Refusal:
        return False
    value = OPERATIONS[wish.operation].plain(asked.state, ask, wish.records, private, Update())
    return asked.gate.release(grant, PlainOpening(value, 2**16)) is not None


def _computed(state: PlainState, wish: Wish) -> bool:
    """The same without a gate: answered unless the arithmetic itself fails."""
    ask, private = _ask(wish)
    try:
        return OPERATIONS[wish.operation].plain(state, ask, wish.records, private, Update()).numel() > 0
    except (KeyError, IndexError, Refusal):
        return False


ATTACK = ForbiddenRequests()
