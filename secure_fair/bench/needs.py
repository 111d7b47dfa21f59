"""The rounds, bytes and messages that a computation on shares needs, from public shapes.

They are counted in a lone session (``lone``), up to ``EXACT`` records as they are. For more of them they are affine in
the number of records and in that of the blocks that rows are proved in, and follow from three smaller counts: rounds
exactly, bytes but for a few digits of numbers in requests.
"""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass, fields

import numpy as np
import torch
from torch import Tensor

from secure_fair.errors import NotProved, UsageError
from secure_fair.groups import columns
from secure_fair.mpc.commitment import Roles
from secure_fair.mpc.lone import lone_session
from secure_fair.mpc.menu import MAX_ELEMENTS
from secure_fair.mpc.products import Masked
from secure_fair.mpc.schedule import Forecast
from secure_fair.mpc.session import Session
from secure_fair.operations import OPERATIONS
from secure_fair.operations.common.adapters import AdapterShapes
from secure_fair.operations.common.operation import Update
from secure_fair.operations.common.state import PublicFacts, SharedState
from secure_fair.parties.asked import ADAPTER, ENROL, INTERSECT, Asked

EXACT = 2048  # records up to which a count is made as it is
CALLS = 3  # the first asks the dealer for each item by itself, and the later ones are alike
PART = "part"  # of an intersection: an attribute's name in a lone session


@dataclass(frozen=True)
class Needs:
    """The needs of one party, the developer unless said otherwise, summed over calls.

    ``rounds``: messages that follow one another between compute parties; ``waits``: requests to the dealer that were
    not made ahead; ``verdicts``: words of verifiers, after their proofs, that the developer waits for. Bytes as
    ``OperationCost`` has them.
    """

    calls: float = 0
    rounds: float = 0
    waits: float = 0
    verdicts: float = 0
    bytes_sent: float = 0
    bytes_received: float = 0
    dealer_bytes_sent: float = 0
    dealer_bytes_received: float = 0

    def __add__(self, other: Needs) -> Needs:
        return Needs(**{f.name: getattr(self, f.name) + getattr(other, f.name) for f in fields(self)})

    def __sub__(self, other: Needs) -> Needs:
        return self + other * -1

    def __mul__(self, factor: float) -> Needs:
        return Needs(**{f.name: getattr(self, f.name) * factor for f in fields(self)})

    @property
    def bytes(self) -> float:
        """All that this party sends and receives."""
        return self.bytes_sent + self.bytes_received + self.dealer_bytes_sent + self.dealer_bytes_received


@dataclass(frozen=True)
class Parties:
    """The compute parties by name, the developer first; and the fractional bits of their numbers."""

    names: tuple[str, ...]
    precision_bits: int = 16
    own_records: bool = False
    groups: tuple[int, ...] = ()  # of an intersection's attributes
    adapters: AdapterShapes | None = None


def needs_of(parties: Parties, asked: Asked) -> Needs:
    """The needs of all calls of one kind together. UsageError for more than the engine can take."""
    check_size(asked)
    totals = _scaled(parties, asked)
    if asked.times <= CALLS:
        return totals[asked.times - 1]
    return totals[-1] + (totals[-1] - totals[-2]) * (asked.times - CALLS)


def check_size(asked: Asked) -> None:
    """UsageError for a matrix that has more numbers than one tensor on shares may have."""
    width = max(asked.ask.width if asked.ask else 0, columns(asked.groups))
    if asked.records * width > MAX_ELEMENTS:
        raise UsageError(
            f"{asked.operation} of {asked.attribute}: {asked.records:,} records of {width} numbers are "
            f"{asked.records * width:,} numbers, and the engine takes {MAX_ELEMENTS:,} at a time: use at most "
            f"{MAX_ELEMENTS // width:,} records, or fewer columns (method.components)"
        )


def _scaled(parties: Parties, asked: Asked) -> list[Needs]:
    """Totals after 1 .. CALLS calls, for all records."""
    if asked.records <= EXACT:
        return count(parties, asked, asked.records)
    block = _block(asked)
    middle = min(block or EXACT, EXACT) // 2 * 2
    low, high = (count(parties, asked, records) for records in (middle // 2, middle))
    further = count(parties, asked, block + middle // 2) if block else low
    found = []
    for one, two, three in zip(low, high, further, strict=True):
        slope = (two - one) * (2 / middle)
        a_block = three - one - slope * block  # all the same as one where there are no blocks
        start = one - slope * (middle // 2) - a_block
        blocks = -(-asked.records // block) if block else 0
        found.append(start + slope * asked.records + a_block * blocks)
    return found


def _block(asked: Asked) -> int:
    """Rows of the blocks that a bound is proved in; 0 where none is, or there are none."""
    if not asked.verifiers or asked.ask is None:
        return 0
    return OPERATIONS[asked.operation].proof_block(asked.ask, asked.records)


def count(parties: Parties, asked: Asked, records: int) -> list[Needs]:
    """Totals after 1 .. CALLS calls with so many records, counted in a lone session."""
    with lone_session(parties.names, parties.precision_bits) as session:
        if asked.operation == ENROL:
            return [_enrolled(session, asked, records)] * CALLS
        state = _state(session, parties, asked, records)
        if asked.operation == INTERSECT:
            state.intersect(asked.attribute)
            return [_spent(session, INTERSECT)] * CALLS
        if asked.operation == ADAPTER:
            state.share_sensitive(asked.attribute, asked.holders[0], None)
            return [_spent(session, ADAPTER)] * CALLS
        if OPERATIONS[asked.operation].on_adapter:
            state.share_sensitive(asked.attribute, parties.names[-1], None)
        return _released(state, asked, records)


def _released(state: SharedState, asked: Asked, records: int) -> list[Needs]:
    """As the developer asks for a release, whose value nobody looks at."""
    assert asked.ask is not None
    session, operation, forecast = state.session, OPERATIONS[asked.operation], Forecast(state.session)
    ask, rows = operation.about(asked.ask, records), _rows(asked, records, state.facts)
    private = [_rows_of_one(shape) for shape in operation.inputs(ask, rows)]
    waits, found = 0, []
    for number in range(1, CALLS + 1):
        before = session.provider.messages
        with forecast.request(ask.alike(rows)), session.operation(asked.operation):
            inputs = operation.share(state, ask, rows, private, list(asked.verifiers))
            session.receive_ring(operation.compute(state, ask, rows, inputs, Update()))
        waits += session.provider.messages - before
        forecast.ask_ahead()
        found.append(_spent(session, asked.operation, waits, len(asked.verifiers) * number))
    return found


def _enrolled(session: Session, asked: Asked, records: int) -> Needs:
    """The developer's part as a verifier: its lone session fails at the very end of each proof, when all is counted.

    Several holders are taken to have as many records each.
    """
    all_roles = [Roles.of(session, holder, None) for holder in asked.holders]
    rounds = max(roles.rounds for roles in all_roles) + 2 * sum(len(roles.verifiers) for roles in all_roles)
    for place, holder in enumerate(asked.holders):
        own = len(range(place, records, len(asked.holders)))
        facts = PublicFacts(session.parties[0], {asked.attribute: asked.groups}, {}, own, False, {})
        with suppress(NotProved):
            SharedState(session, facts).share_memberships(asked.attribute, (holder,), None, {})
    spent = _spent(session, ENROL)
    return Needs(**{**vars(spent), "calls": 1, "rounds": rounds})


def _spent(session: Session, name: str, waits: int = 0, verdicts: int = 0) -> Needs:
    cost = session.meter.summary()[name]
    return Needs(
        cost.calls,
        cost.rounds,
        waits,
        verdicts,
        cost.bytes_sent,
        cost.bytes_received,
        cost.dealer_bytes_sent,
        cost.dealer_bytes_received,
    )


def _state(session: Session, parties: Parties, asked: Asked, records: int) -> SharedState:
    """Shares of memberships, of an intersection's attributes too; those of more records than a release is about."""
    enrolled = records if asked.operation == INTERSECT else records + 1
    parts = {f"{PART} {number}": groups for number, groups in enumerate(parties.groups)}
    groups = {asked.attribute: asked.groups, **parts}
    adapters = {asked.attribute: parties.adapters} if parties.adapters else {}
    facts = PublicFacts(
        parties.names[0], groups, {asked.attribute: tuple(parts)}, enrolled, parties.own_records, adapters
    )
    state = SharedState(session, facts)
    for name in groups if enrolled else ():
        parted = asked.parted and name == asked.attribute and enrolled >= len(asked.holders)
        holders = asked.holders if parted else ()
        state.memberships[name] = _held(session, (enrolled, columns(groups[name])), holders)
        if holders:
            state.places[name] = np.argsort(np.arange(enrolled) % len(holders), kind="stable").argsort()
    return state


def _held(session: Session, shape: tuple[int, int], holders: Sequence[str]) -> Masked:
    """Memberships that auditors are committed to, as this party has them; of several, of every so many records."""
    ranks = tuple(sorted(session.parties.index(holder) for holder in holders)) or (1,)
    sizes = tuple(len(range(place, shape[0], len(ranks))) for place in range(len(ranks))) if holders else ()
    operand, mask_share = session.provider.new_committed_mask(shape, ranks, sizes)
    return Masked(operand, torch.zeros(shape, dtype=torch.int64), mask_share, mask_share, 1)


def _rows(asked: Asked, records: int, facts: PublicFacts) -> np.ndarray:
    """The records of a request: of a batch every second or so, for rows that are picked are named one by one."""
    if facts.own_records or not asked.batch:
        return np.arange(0 if facts.own_records else records, dtype=np.int64)
    return np.random.default_rng(0).permutation(facts.enrolled)[:records].astype(np.int64)


def _rows_of_one(shape: Sequence[int]) -> Tensor:
    """Rows of norm 1 that are also one-hot."""
    values = torch.zeros(tuple(shape), dtype=torch.float64)
    values[:, 0] = 1
    return values
