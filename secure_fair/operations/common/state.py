"""The state between requests: memberships, adversaries and adapters, on shares or, in the plain twin, in the clear."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import reduce

import numpy as np
import torch
from torch import Tensor

from secure_fair.errors import UsageError
from secure_fair.groups import columns, membership_matrix
from secure_fair.mpc.bounds import RowSum
from secure_fair.mpc.commitment import commit_bits
from secure_fair.mpc.products import Masked, add_public, fix, mask, multiply
from secure_fair.mpc.session import Session
from secure_fair.mpc.shares import from_share
from secure_fair.operations.common.adapters import AdapterShapes, alike

from crypten.mpc import MPCTensor  # isort: skip

MOST_ADAPTER_ENTRY = 2.0**10  # bound on the entries of a sensitive adapter and of a task adapter's matrices
ADVERSARY_BALL = 8.0  # bound on the norm of an adversary's weights, so that logits on unit rows are bounded too


@dataclass(frozen=True)
class PublicFacts:
    """The facts that every party of a run knows, from which each makes the requests itself.

    ``groups``: how many, of each attribute and intersection (named in ``intersections``, with its attributes);
    ``enrolled``: records in the table; ``adapters``: shapes of the auditors' sensitive adapters by attribute.
    ``own_records``: the auditors hold pictures of their own, and nothing of the developer's.
    """

    developer: str
    groups: Mapping[str, int]
    intersections: Mapping[str, Sequence[str]]
    enrolled: int
    own_records: bool
    adapters: Mapping[str, AdapterShapes]


@dataclass
class SharedState:
    """One compute party's share of what stays."""

    session: Session
    facts: PublicFacts
    memberships: dict[str, Masked] = field(default_factory=dict)  # (enrolled, columns), masked once for all requests
    places: dict[str, np.ndarray] = field(default_factory=dict)  # each record's row there, where parts are held
    adversaries: dict[str, MPCTensor] = field(default_factory=dict)  # (d, columns)
    sensitive: dict[str, list[Masked]] = field(default_factory=dict)  # stacks (m, r, d) of modules alike

    def members(self, attribute: str, records: np.ndarray) -> Masked:
        """Memberships (n, columns) of these records."""
        rows = self.places[attribute][records] if attribute in self.places else np.array(records)
        return self.memberships[attribute].rows(torch.from_numpy(rows))

    def by_holder(self, attribute: str, records: np.ndarray) -> dict[str, np.ndarray]:
        """Where among these records each holder's are, where parts are held, in the order of their memberships, so that
        of a range of records they are a range; nothing where one holds all. A record of nobody is in no part."""
        if attribute not in self.places:
            return {}
        operand, rows = self.memberships[attribute].operand, self.places[attribute][records]
        order = np.argsort(rows)
        parts = np.split(order, np.searchsorted(rows[order], np.cumsum(operand.sizes)))
        owners = [self.session.parties[rank] for rank in operand.owners]
        return {name: part for name, part in zip(owners, parts[:-1], strict=True) if len(part)}

    def adversary(self, attribute: str, width: int) -> MPCTensor:
        """The attribute's adversary (width, columns); before its first step a zero that nobody chose."""
        if attribute not in self.adversaries:
            start = torch.zeros(width, columns(self.facts.groups[attribute]), dtype=torch.int64)
            self.adversaries[attribute] = from_share(start, self.session.scale)
        return self.adversaries[attribute]

    def share_memberships(
        self, attribute: str, holders: Sequence[str], codes: np.ndarray | None, parts: Mapping[str, np.ndarray]
    ) -> None:
        """The attribute's ``holders`` commit to their columns and prove to everybody that they are memberships.

        Bits, in one group a row. Where there are several holders, each of its own people alone (``parts``, public: bool
        (enrolled,)), one holder's below the other's. What was proved is what all later products use.
        """
        groups = self.facts.groups[attribute]
        shape = (self.facts.enrolled, columns(groups))
        rule = RowSum.ANY if groups == 2 else RowSum.ONE
        own = {name: np.flatnonzero(parts[name]) for name in self.session.parties if name in holders and name in parts}
        own = {name: records for name, records in own.items() if len(records)}
        if any(len(records) < self.facts.enrolled for records in own.values()):
            self.places[attribute] = places_of(list(own.values()), self.facts.enrolled)
            self.session.note("parts", attribute, *own, hashlib.sha256(self.places[attribute].data).hexdigest())
        if own:
            codes = None if codes is None or self.session.name not in own else codes[own[self.session.name]]
        values = None if codes is None else membership_matrix(codes, groups, torch.int8)
        sizes = {name: len(records) for name, records in own.items()}
        with self.session.operation("share_attributes"):
            self.memberships[attribute] = commit_bits(
                self.session, list(own) or holders, values, shape, rule=rule, sizes=sizes
            )

    def intersect(self, name: str) -> None:
        """Memberships of an intersection, once its attributes are shared: nobody knows them in the clear."""
        with self.session.operation("intersection"):
            everybody = np.arange(self.facts.enrolled)
            held = (self.members(component, everybody).shared for component in self.facts.intersections[name])
            together = reduce(lambda first, second: intersection(self.session, first, second), held)
            self.memberships[name] = fix(self.session, together)

    def share_sensitive(self, attribute: str, holder: str, matrices: Sequence[Tensor] | None) -> None:
        """The attribute's holder shares the row matrices of its sensitive adapter."""
        with self.session.operation("share_adapter"):
            shapes = [shape for shape, _ in self.facts.adapters[attribute].values()]
            owned = []
            for places in alike(shapes):
                values = None if matrices is None else torch.stack([matrices[place] for place in places])
                shape = (len(places), *shapes[places[0]])
                owned.append(self.session.own(holder, values, shape, bound=MOST_ADAPTER_ENTRY))
            self.sensitive[attribute] = mask(self.session, *owned)

    def share_adversary(self, attribute: str, holder: str, weights: Tensor | None, width: int) -> None:
        """The attribute's holder shares an adversary (width, columns) that it trained on its own pictures."""
        shape = (width, columns(self.facts.groups[attribute]))
        with self.session.operation("share_adversary"):
            self.adversaries[attribute] = self.session.share(holder, weights, shape, bound=ADVERSARY_BALL)


@dataclass
class PlainState:
    """The same in the clear, float64."""

    facts: PublicFacts
    memberships: dict[str, Tensor] = field(default_factory=dict)
    adversaries: dict[str, Tensor] = field(default_factory=dict)
    sensitive: dict[str, list[Tensor]] = field(default_factory=dict)

    def members(self, attribute: str, records: np.ndarray) -> Tensor:
        """Memberships (n, columns) of these records."""
        return self.memberships[attribute][torch.from_numpy(records)].double()

    def adversary(self, attribute: str, width: int) -> Tensor:
        """The attribute's adversary (width, columns); zero before its first step."""
        start = torch.zeros(width, columns(self.facts.groups[attribute]), dtype=torch.float64)
        return self.adversaries.setdefault(attribute, start)


def places_of(own: Sequence[np.ndarray], enrolled: int) -> np.ndarray:
    """The row of each enrolled record, int64, where the ``own`` records of each holder lie one below the other, and
    those of nobody behind them. UsageError for records that two holders have."""
    taken = np.concatenate(own)
    if len(np.unique(taken)) < len(taken):
        raise UsageError("a record is held by two: its memberships would be proved by either")
    order = np.concatenate([taken, np.setdiff1d(np.arange(enrolled), taken)])
    places = np.empty(enrolled, dtype=np.int64)
    places[order] = np.arange(enrolled)
    return places


def intersection(session: Session, first: MPCTensor, second: MPCTensor) -> MPCTensor:
    """One-hot membership (n, G1 G2) of two attributes together, of memberships as they are held, integers at scale 1.

    A single column g holds two groups, 1 - g and g. The column of groups (i, j) is i G2 + j; it is the product of
    theirs. For more than two attributes go on with the result. 1 round, and no truncation.
    """
    with session.operation("intersection", first.size(), second.size()):
        left, right = _one_hot(session, first), _one_hot(session, second)
        a, b = mask(
            session,
            from_share(left.repeat_interleave(right.shape[1], dim=1), 1),
            from_share(right.repeat(1, left.shape[1]), 1),
        )
        return multiply(session, "mul", a, b)


def _one_hot(session: Session, held: MPCTensor) -> Tensor:
    """This party's share of all groups' columns."""
    if held.encoder.scale != 1:
        raise UsageError(f"memberships are integers at scale 1, not at {held.encoder.scale}")
    if held.size(1) > 1:
        return held.share
    return torch.cat([add_public(session, from_share(-held.share, 1), 1).share, held.share], dim=1)


def plain_intersection(first: Tensor, second: Tensor) -> Tensor:
    """The same in float64."""
    left, right = (
        torch.cat([1 - held, held], dim=1) if held.shape[1] == 1 else held for held in (first.double(), second.double())
    )
    return (left[:, :, None] * right[:, None, :]).flatten(1)
