"""The operations of a run as all compute parties go through them together: one text, every column of the protocol.

The developer passes its private input, everybody else nothing; ``opening`` is the gate at an auditor, and the
receipt of the opened value at the developer. What stays on shares between requests lives here.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from math import prod

import numpy as np
import torch
from torch import Tensor

import secure_fair.mpc.operations as operations
from parties.config import RunConfig
from parties.messages import Ask
from secure_fair.errors import Refusal
from secure_fair.groups import columns, membership_matrix
from secure_fair.learning.settings import ADVERSARY_BALL, ADVERSARY_RATE
from secure_fair.mpc.products import Masked, from_share
from secure_fair.mpc.session import Call, Session
from secure_fair.privacy import requests
from secure_fair.privacy.gate import Request

from crypten.mpc import MPCTensor  # isort: skip

MOST_ADAPTER_ENTRY = 2.0**10  # bound on the entries of a sensitive adapter and of a task adapter's matrices

Kind = tuple[str, int]  # what was asked for, and of how many records
ON_INTERSECTIONS = frozenset(
    {"moment", "group_counts", "evaluation_counts", "penalty_rows", "adversary_rows", "entropy_rows"}
)

Check = Callable[[bool | None], None]
Opening = Callable[[MPCTensor, float], Tensor | None]  # shares and the public bound of their value


@dataclass(frozen=True)
class Turn:
    """One admitted request as one party goes through it.

    ``private``: the developer's input, empty elsewhere. ``checkers``: the auditors that each learn whether all rows are
    within their bound; then ``check`` is called, with the verdict at a checker (it raises Refusal where they are not)
    and None elsewhere. ``step_sigma``: public, of all noise on an adversary's update; ``step_noise``: this party's.
    """

    ask: Ask
    records: np.ndarray
    opening: Opening
    private: Sequence[Tensor] = ()
    checkers: Sequence[str] = ()
    check: Check | None = None
    step_sigma: float = 0.0
    step_noise: Tensor | None = None


class Lockstep:
    """One compute party's walk through the operations."""

    def __init__(self, config: RunConfig, session: Session, groups: dict[str, tuple[str, ...]], enrolled: int) -> None:
        """``groups``: names of every attribute's groups; ``enrolled``: records in the enrolled table."""
        self.config = config
        self.session = session
        self.groups = {name: len(names) for name, names in groups.items()}
        for name in config.computed_intersections:
            self.groups[name] = prod(self.groups[component] for component in config.components(name))
        self.enrolled = enrolled
        self.memberships: dict[str, Masked] = {}  # (enrolled, columns), masked once for all requests
        self._calls: dict[Kind, list[Call]] = {}  # what requests of a kind called last time
        self._next: dict[Kind, Kind] = {}  # what kind of request came after one last time
        self._last: Kind | None = None
        self.adversaries: dict[str, MPCTensor] = {}  # (d, columns)
        self.sensitive: dict[str, list[Masked]] = {}  # (r, d_m) of each module, masked once

    def share_memberships(self, attribute: str, codes: np.ndarray | None) -> None:
        """The attribute's holders share their columns, as integers: sums of them need no truncation.

        Each has rows of zeros for other holders' people, so that the sum is everybody's membership.
        """
        groups = self.groups[attribute]
        values = None if codes is None else membership_matrix(codes, groups)
        shape = (self.enrolled, columns(groups))
        with self.session.operation("share_attributes"):
            parts = [
                self.session.share_integers(holder, values if holder == self.session.name else None, shape, bound=1)
                for holder in self.config.holders[attribute]
            ]
            together = torch.stack([part.share for part in parts]).sum(0)
            self.memberships[attribute] = self.session.fix(from_share(together, 1))

    def intersect(self) -> None:
        """Memberships of the intersections, once all attributes are shared: nobody knows them in the clear."""
        for name in self.config.computed_intersections:
            with self.session.operation("intersection"):
                first, *others = (self.memberships[component].shared for component in self.config.components(name))
                for other in others:
                    first = operations.intersection(self.session, first, other)
                self.memberships[name] = self.session.fix(first)

    def share_sensitive(
        self, attribute: str, matrices: Sequence[Tensor] | None, shapes: Sequence[tuple[int, int]]
    ) -> None:
        """The attribute's holder shares the row matrices of its sensitive adapter."""
        (holder,) = self.config.holders[attribute]
        with self.session.operation("share_adapter"):
            shared = [
                self.session.share(holder, None if matrices is None else matrices[i], shape, bound=MOST_ADAPTER_ENTRY)
                for i, shape in enumerate(shapes)
            ]
            self.sensitive[attribute] = [self.session.fix(matrix) for matrix in shared]

    def share_adversary(self, attribute: str, weights: Tensor | None, width: int) -> None:
        """The attribute's holder shares an adversary (width, columns) that it trained on its own pictures."""
        shape = (width, columns(self.groups[attribute]))
        with self.session.operation("share_adversary"):
            (holder,) = self.config.holders[attribute]
            self.adversaries[attribute] = self.session.share(holder, weights, shape, bound=ADVERSARY_BALL)

    def requests(self, ask: Ask, records: np.ndarray) -> list[Request]:
        """The requests as the gate judges them, made by each party from public values: nobody can understate them.

        The last is for what is opened; the adversary's update, which it depends on, has one of its own before it.
        """
        opened = self._opened(ask, records)
        if ask.operation not in ("adversary_rows", "entropy_rows") or self.config.method.own_records:
            return [opened]
        groups = self.groups[ask.attribute]
        return [requests.adversary_step(ask.attribute, groups, records, ask.width, self.config.developer), opened]

    def _opened(self, ask: Ask, records: np.ndarray) -> Request:
        if ask.attribute not in self.groups:
            raise Refusal(f"attribute {ask.attribute!r} is unknown; known are {', '.join(sorted(self.groups))}")
        outside = records[(records < 0) | (records >= self.enrolled)]
        if len(outside):
            raise Refusal(f"record {outside[0]}: the enrolled table has {self.enrolled} records")
        if ask.attribute in self.config.intersections and ask.operation not in ON_INTERSECTIONS:
            raise Refusal(f"{ask.operation} of {ask.attribute}: ask for each of its attributes")
        groups, receiver = self.groups[ask.attribute], self.config.developer
        match ask.operation:
            case "moment":
                return requests.moment(ask.attribute, groups, records, ask.width, receiver)
            case "group_counts" | "evaluation_counts":
                return requests.counts(ask.operation, ask.attribute, groups, records, ask.width, receiver, ask.query)
            case "penalty_rows":
                return requests.penalty_rows(ask.attribute, groups, records, receiver)
            case "adversary_rows":
                return requests.adversary_rows(ask.attribute, groups, records, ask.width, ADVERSARY_BALL, receiver)
            case "entropy_rows":
                return requests.entropy_rows(ask.attribute, records, self._entropy_shape(ask, records), receiver)
            case "randomised_attributes":
                return requests.randomised_attributes(ask.attribute, groups, records, receiver)
            case "orthogonality":
                widths = [matrix.shape[1] for matrix in self.sensitive.get(ask.attribute, ())]
                if [width for _, width in ask.shapes] != widths:
                    raise Refusal(f"orthogonality: matrices {ask.shapes} do not fit to the adapter's widths {widths}")
                return requests.orthogonality(ask.attribute, _numbers(ask.shapes), receiver)
            case "sensitive_adapter":
                return requests.sensitive_adapter(ask.attribute, _numbers(ask.shapes), receiver)
        raise Refusal(f"operation {ask.operation!r} is unknown")

    def _entropy_shape(self, ask: Ask, records: np.ndarray) -> tuple[int, int]:
        """Rows by features. Of whom the rows are nobody need know where the adversary learns nothing from them."""
        rows, width = ask.shapes[0] if len(ask.shapes) == 1 else (0, 0)
        if width != ask.width or rows < 1 or (len(records) != rows and not self.config.method.own_records):
            raise Refusal(f"entropy_rows: shapes {ask.shapes} do not fit to {len(records)} records, {ask.width} wide")
        return rows, width

    def run(self, turn: Turn) -> Tensor | None:
        """Go through one admitted operation; returns what the turn's ``opening`` does."""
        kind = (turn.ask.model_dump_json(exclude={"query"}), len(turn.records))
        self.session.called.clear()
        value = self._run(turn)
        self._calls[kind] = list(self.session.called)
        if self._last is not None:
            self._next[self._last] = kind
        self._last = kind
        return value

    def ask_ahead(self) -> None:
        """Ask the dealer now for what the next request will take, so that it is there when that comes.

        The next one is taken to be of the kind that came after this kind the last time, as batch follows batch. Where
        that is wrong what was asked for is dropped unused, by all parties at the same step. To be called after a
        turn, once its value is written down: from here on the dealer may be found lost.
        """
        assert self._last is not None
        for name, shapes in self._calls.get(self._next.get(self._last, self._last), []):
            self.session.prefetch(name, *shapes)

    def _run(self, turn: Turn) -> Tensor | None:
        with self.session.operation(turn.ask.operation):
            match turn.ask.operation:
                case "moment" | "group_counts" | "evaluation_counts":
                    return self._moment(turn)
                case "penalty_rows":
                    return self._penalty_rows(turn)
                case "adversary_rows":
                    return self._adversary_rows(turn)
                case "entropy_rows":
                    return self._entropy_rows(turn)
                case "orthogonality":
                    return self._orthogonality(turn)
        raise Refusal(f"operation {turn.ask.operation!r} is not computed on shares")

    def _members(self, turn: Turn) -> Masked:
        return self.memberships[turn.ask.attribute].rows(torch.from_numpy(np.array(turn.records)))

    def _rows(self, turn: Turn) -> MPCTensor:
        """The developer's rows, whose norm bounds what one attribute can change; checked on shares where asked for."""
        shape = turn.ask.shapes[0] if turn.ask.shapes else (len(turn.records), turn.ask.width)
        rows = self.session.share(self.config.developer, _first(turn.private), shape, bound=1.0)
        if turn.checkers:
            within = operations.rows_within_bound(self.session, rows, 1.0)
            verdict = None
            for checker in turn.checkers:
                if self.session.name != checker:
                    self.session.reveal_to(checker, within)
                else:
                    verdict = float(self.session.receive_opening(within, bound=1.0)) == 1.0
            if turn.check:
                turn.check(verdict)
        return rows

    def _moment(self, turn: Turn) -> Tensor | None:
        """F^T A; counts are the moment of the strata's indicators."""
        value = operations.moment(self.session, self._rows(turn), self._members(turn))
        return turn.opening(value, float(len(turn.records)))

    def _penalty_rows(self, turn: Turn) -> Tensor | None:
        weights = torch.eye(columns(self.groups[turn.ask.attribute]), dtype=torch.float64)
        return turn.opening(operations.penalty_rows(self.session, self._members(turn), weights), 1.0)

    def _adversary_rows(self, turn: Turn) -> Tensor | None:
        """Rows of the adversary's gradient; the adversary moves one step, with noise where the plan has any."""
        return turn.opening(self._adversary_step(turn, self._rows(turn)), 2 * ADVERSARY_BALL)

    def _entropy_rows(self, turn: Turn) -> Tensor | None:
        """Rows of the entropy's gradient by the adversary as it stands; one of aligned records then moves one step."""
        features = self._rows(turn)
        weights = self._adversary(turn)
        rows = operations.entropy(self.session, features, weights, ball=ADVERSARY_BALL)
        if not self.config.method.own_records:
            self._adversary_step(turn, features)
        return turn.opening(rows, ADVERSARY_BALL * (1 + math.log(max(2, weights.size(1)))))

    def _adversary(self, turn: Turn) -> MPCTensor:
        """The attribute's adversary (width, columns); zero before its first step."""
        attribute = turn.ask.attribute
        if attribute not in self.adversaries:
            shape = (turn.ask.width, columns(self.groups[attribute]))
            start = torch.zeros(shape) if self.session.name == self.config.developer else None
            self.adversaries[attribute] = self.session.share(self.config.developer, start, shape, bound=1.0)
        return self.adversaries[attribute]

    def _adversary_step(self, turn: Turn, features: MPCTensor) -> MPCTensor:
        """Move the adversary one step; the rows of its gradient before."""
        rows, self.adversaries[turn.ask.attribute] = operations.adversary(
            self.session,
            features,
            self._members(turn),
            self._adversary(turn),
            learning_rate=ADVERSARY_RATE,
            ball=ADVERSARY_BALL,
            sigma=turn.step_sigma,
            noise=turn.step_noise,
        )
        return rows

    def _orthogonality(self, turn: Turn) -> Tensor | None:
        task = [
            self.session.share(
                self.config.developer, turn.private[i] if turn.private else None, shape, bound=MOST_ADAPTER_ENTRY
            )
            for i, shape in enumerate(turn.ask.shapes)
        ]
        gradients = operations.orthogonality(self.session, task, self.sensitive[turn.ask.attribute])
        return turn.opening(operations.concatenate(gradients), MOST_ADAPTER_ENTRY)


def _first(private: Sequence[Tensor]) -> Tensor | None:
    return private[0] if private else None


def _numbers(shapes: Sequence[tuple[int, int]]) -> int:
    return sum(rows * width for rows, width in shapes)
