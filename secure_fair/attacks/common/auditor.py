"""An auditor in this process to ask: the program's own requests, gate, noise, ledger and plain operations."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
import torch
from torch import Tensor

from secure_fair.attacks.common.attack import AUDITOR, DEVELOPER, AttackTerms
from secure_fair.groups import membership_matrix
from secure_fair.operations import OPERATIONS, RULES, planned, requests
from secure_fair.operations.common.adapters import Adapter
from secure_fair.operations.common.ask import Ask
from secure_fair.operations.common.operation import Update
from secure_fair.operations.common.state import PlainState, PublicFacts
from secure_fair.privacy.entries import Receipt
from secure_fair.privacy.gate import Gate
from secure_fair.privacy.ledger import Ledger
from secure_fair.privacy.noise import NoiseSource, SystemNoise
from secure_fair.privacy.openings import PlainOpening
from secure_fair.privacy.plan import Plan, make_plan
from secure_fair.privacy.policy import Policy
from secure_fair.privacy.randomised_response import Responses
from secure_fair.privacy.request import Grant
from secure_fair.randomness import PRG, KeySource

ATTRIBUTE = "attribute"
EVALUATION = "evaluation_counts"
EXACT = Policy(allow_exact=True)
TRUSTING = Policy(developer="follows the protocol", auditors="follow the protocol")


@dataclass(frozen=True)
class AttackedPeople:
    """Record ids (n,), none twice, and whose each record is, where that is known."""

    ids: Sequence[str]
    persons: Sequence[str] | None = None

    @classmethod
    def numbered(cls, count: int, *, store: str = "") -> AttackedPeople:
        """So many records of as many people that nobody tells apart; another ``store`` has other ids."""
        return cls([f"{store}{number:032x}" for number in range(count)])


class AttackedAuditor:
    """One auditor of people with one attribute of two groups, in one run; an operation's ``Holder`` too.

    Everybody's record is for training or everybody's for test, as the plan has it.
    """

    def __init__(
        self,
        folder: Path,
        attributes: np.ndarray,
        plan: Plan,
        policy: Policy,
        *,
        run: str = "run",
        people: AttackedPeople | None = None,
        noise: NoiseSource | None = None,
        training: int | None = None,
    ) -> None:
        """``attributes``: int64 (n,), 0 or 1. A folder that was used before has the ledger of the same people.

        ``people``: their ids, and whose each record is; ``noise``: the gate's, unless another is named; ``training``:
        how many records are for training, where it is neither all nor none.
        """
        people = people or AttackedPeople.numbered(len(attributes))
        self.codes: Mapping[str, np.ndarray] = {ATTRIBUTE: attributes}
        self.groups: Mapping[str, tuple[str, ...]] = {ATTRIBUTE: ("no", "yes")}
        self.adapters: dict[str, Adapter] = {}
        self.scale = 1
        self.responses = Responses(folder / "responses", PRG(KeySource.fresh().derive("responses")))
        self.ledger = Ledger(folder / "ledger", AUDITOR, simulated=True)
        ids = people.ids
        self.gate = Gate(
            auditor=AUDITOR,
            run=run,
            ids=ids,
            training=(0 if plan.allows(EVALUATION) else len(ids)) if training is None else training,
            known=ids,
            plans={ATTRIBUTE: plan},
            policy=policy,
            rules=RULES,
            ledger=self.ledger,
            noise=noise or SystemNoise(),
            persons=people.persons,
        )
        self.facts = PublicFacts(DEVELOPER, {ATTRIBUTE: 2}, {}, len(ids), False, {})
        self.receipts: list[Receipt] = []
        self.state = PlainState(self.facts)
        self.state.memberships[ATTRIBUTE] = membership_matrix(attributes, 2)

    @property
    def names(self) -> Sequence[str]:
        """Those whose records are enrolled."""
        return self.gate.names

    @property
    def people(self) -> np.ndarray:
        """The place of each one's first record."""
        return self.gate.people

    @property
    def held(self) -> np.ndarray:
        """The records that are this auditor's."""
        return self.gate.held

    def admit(self, operation: str, records: np.ndarray, width: int) -> tuple[Ask, list[Grant]]:
        """The developer's message, and what the gate grants for it: updates that stay on shares first."""
        shapes = [(len(records), width)] if operation == "entropy_rows" else []
        ask = Ask(operation=operation, attribute=ATTRIBUTE, width=width, shapes=shapes)
        return ask, self.gate.admit_together(requests(ask, records, self.facts))

    def ask(self, operation: str, records: np.ndarray, query: Tensor | None, precision_bits: int) -> np.ndarray:
        """Answer the developer, float64, who asks with ``query`` (n, k), or None where it brings nothing."""
        ask, (*updates, grant) = self.admit(operation, records, 0 if query is None else query.shape[1])
        scale = 2**precision_bits
        if RULES[operation].on_shares:
            update, private = self._noised(updates, scale), [] if query is None else [query]
            value = OPERATIONS[operation].plain(self.state, ask, records, private, update)
        else:
            value, scale = OPERATIONS[operation].send(self, ask, records, grant)
        opened = self.gate.release(grant, PlainOpening(value, scale))
        self.receipts.append(grant.receipt)
        assert opened is not None  # the receiver is in this process
        return opened.numpy()

    def _noised(self, updates: Sequence[Grant], scale: int) -> Update:
        """Spend what an adversary's update costs, and draw its noise."""
        if not updates:
            return Update()
        (update,) = updates
        noise = self.gate.release(update, PlainOpening(torch.zeros(update.request.shape).double(), scale**2))
        sigma = update.receipt.sigma or 0.0
        return Update(sigma, noise if sigma else None)


@contextmanager
def auditor(
    attributes: np.ndarray,
    plan: Plan,
    policy: Policy,
    *,
    people: AttackedPeople | None = None,
    training: int | None = None,
) -> Iterator[AttackedAuditor]:
    """An auditor with a ledger of its own, which is gone afterwards."""
    with (
        TemporaryDirectory(prefix="secure-fair-review-") as folder,
        opened(Path(folder), attributes, plan, policy, people=people, training=training) as one,
    ):
        yield one


@contextmanager
def opened(
    folder: Path,
    attributes: np.ndarray,
    plan: Plan,
    policy: Policy,
    run: str = "run",
    *,
    people: AttackedPeople | None = None,
    noise: NoiseSource | None = None,
    training: int | None = None,
) -> Iterator[AttackedAuditor]:
    """The auditor of a run, with what its folder remembers of earlier ones."""
    one = AttackedAuditor(folder, attributes, plan, policy, run=run, people=people, noise=noise, training=training)
    try:
        yield one
    finally:
        one.ledger.close()


def training_plan(
    operation: str,
    terms: AttackTerms,
    *beside: str,
    participations: int = 1,
    reserve: int = 0,
    exact: bool,
    records_per_person: int | None = None,
) -> Plan:
    """A plan of one operation, and those that go with it, that spends the whole epsilon on so many releases of a
    record, and the reserve."""
    return make_plan(
        ATTRIBUTE,
        [planned(name, 2, participations, participations) for name in (operation, *beside)],
        rules=RULES,
        epsilon=None if exact else terms.epsilon,
        delta=terms.delta,
        reserve_releases=reserve,
        records_per_person=records_per_person,
    )


def evaluation_plan(terms: AttackTerms, *, participations: int = 1, exact: bool) -> Plan:
    """A plan of counts of test records alone, which spends the whole epsilon of evaluation on so many of them."""
    return make_plan(
        ATTRIBUTE,
        [],
        rules=RULES,
        epsilon=None,
        delta=terms.delta,
        evaluation=[planned(EVALUATION, 2, participations, participations)],
        evaluation_epsilon=None if exact else terms.evaluation_epsilon,
        reserve_releases=0,
    )


def isolating(count: int) -> Tensor:
    """The query in which every one of so many records has a column to itself: rows of norm 1."""
    return torch.eye(count, dtype=torch.float64)


def deviation(plan: Plan, operation: str) -> float:
    """The public standard deviation of the noise on one answer; 0 where it is exact."""
    multiplier = plan.multipliers[operation] or 0.0
    return multiplier * RULES[operation].moves(2) if math.isfinite(multiplier) else 0.0
