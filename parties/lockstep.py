"""The operations of a run as all compute parties go through them together: one text, every column of the protocol.

The developer passes its private input, everybody else nothing; ``opening`` is the gate at an auditor, and the
receipt of the opened value at the developer. What stays on shares between requests lives here.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
import torch
from torch import Tensor

import secure_fair.mpc.operations as operations
from parties.messages import Ask
from parties.settings import Joint
from secure_fair.errors import Refusal
from secure_fair.learning.auditors import membership_matrix
from secure_fair.learning.methods.adv import ADVERSARY_BALL, ADVERSARY_RATE
from secure_fair.mpc.products import Masked
from secure_fair.mpc.session import Session
from secure_fair.privacy import requests
from secure_fair.privacy.gate import Request

from crypten.mpc import MPCTensor  # isort: skip

MOST_ADAPTER_ENTRY = 2.0**10  # bound on the entries of a sensitive adapter and of a task adapter's matrices

Opening = Callable[[MPCTensor, float], Tensor | None]  # shares and the public bound of their value


class Lockstep:
    """One compute party's walk through the operations."""

    def __init__(self, joint: Joint, session: Session, groups: dict[str, tuple[str, ...]], enrolled: int) -> None:
        """``groups``: names of every attribute's groups; ``enrolled``: records in the enrolled table."""
        self.joint = joint
        self.session = session
        self.groups = {name: len(names) for name, names in groups.items()}
        self.enrolled = enrolled
        self.memberships: dict[str, Masked] = {}  # (enrolled, columns), masked once for all requests
        self.adversaries: dict[str, MPCTensor] = {}  # (d, columns)
        self.sensitive: dict[str, list[Masked]] = {}  # (r, d_m) of each module, masked once

    def share_memberships(self, attribute: str, codes: np.ndarray | None) -> None:
        """The attribute's holder shares its column(s), as integers: sums of them need no truncation."""
        groups = self.groups[attribute]
        values = None if codes is None else membership_matrix(codes, groups)
        shape = (self.enrolled, requests.columns(groups))
        with self.session.operation("share_attributes"):
            self.memberships[attribute] = self.session.fix(
                self.session.share_integers(self.joint.holders[attribute], values, shape, bound=1)
            )

    def share_sensitive(
        self, attribute: str, matrices: Sequence[Tensor] | None, shapes: Sequence[tuple[int, int]]
    ) -> None:
        """The attribute's holder shares the row matrices of its sensitive adapter."""
        holder = self.joint.holders[attribute]
        with self.session.operation("share_adapter"):
            shared = [
                self.session.share(holder, None if matrices is None else matrices[i], shape, bound=MOST_ADAPTER_ENTRY)
                for i, shape in enumerate(shapes)
            ]
            self.sensitive[attribute] = [self.session.fix(matrix) for matrix in shared]

    def request(self, ask: Ask, records: np.ndarray) -> Request:
        """The request as the gate judges it, made by each party from public values: nobody can understate it."""
        if ask.attribute not in self.groups:
            raise Refusal(f"attribute {ask.attribute!r} is unknown; known are {', '.join(sorted(self.groups))}")
        outside = records[(records < 0) | (records >= self.enrolled)]
        if len(outside):
            raise Refusal(f"record {outside[0]}: the enrolled table has {self.enrolled} records")
        groups, receiver = self.groups[ask.attribute], self.joint.developer
        match ask.operation:
            case "moment":
                return requests.moment(ask.attribute, groups, records, ask.width, receiver)
            case "group_counts" | "evaluation_counts":
                return requests.counts(ask.operation, ask.attribute, groups, records, ask.width, receiver)
            case "penalty_rows":
                return requests.penalty_rows(ask.attribute, groups, records, receiver)
            case "adversary_rows":
                return requests.adversary_rows(ask.attribute, groups, records, ask.width, ADVERSARY_BALL, receiver)
            case "randomised_attributes":
                return requests.randomised_attributes(ask.attribute, groups, records, receiver)
            case "orthogonality":
                return requests.orthogonality(ask.attribute, _numbers(ask.shapes), receiver)
            case "sensitive_adapter":
                return requests.sensitive_adapter(ask.attribute, _numbers(ask.shapes), receiver)
        raise Refusal(f"operation {ask.operation!r} is unknown")

    def run(self, ask: Ask, records: np.ndarray, private: Sequence[Tensor], opening: Opening) -> Tensor | None:
        """Go through one admitted operation; returns what ``opening`` does."""
        with self.session.operation(ask.operation):
            match ask.operation:
                case "moment":
                    return self._moment(ask, records, private, opening)
                case "group_counts" | "evaluation_counts":
                    return self._counts(ask, records, private, opening)
                case "penalty_rows":
                    return self._penalty_rows(ask, records, opening)
                case "adversary_rows":
                    return self._adversary_rows(ask, records, private, opening)
                case "orthogonality":
                    return self._orthogonality(ask, private, opening)
        raise Refusal(f"operation {ask.operation!r} is not computed on shares")

    def _members(self, ask: Ask, records: np.ndarray) -> Masked:
        return self.memberships[ask.attribute].rows(torch.from_numpy(np.array(records)))

    def _moment(self, ask: Ask, records: np.ndarray, private: Sequence[Tensor], opening: Opening) -> Tensor | None:
        shape = (len(records), ask.width)
        query = self.session.share(self.joint.developer, _first(private), shape, bound=1.0)
        return opening(operations.moment(self.session, query, self._members(ask, records)), float(len(records)))

    def _counts(self, ask: Ask, records: np.ndarray, private: Sequence[Tensor], opening: Opening) -> Tensor | None:
        shape = (len(records), ask.width)
        strata = self.session.share_integers(self.joint.developer, _first(private), shape, bound=1)
        return opening(operations.moment(self.session, strata, self._members(ask, records)), float(len(records)))

    def _penalty_rows(self, ask: Ask, records: np.ndarray, opening: Opening) -> Tensor | None:
        weights = torch.eye(requests.columns(self.groups[ask.attribute]), dtype=torch.int64)
        return opening(operations.penalty_rows(self.session, self._members(ask, records), weights), 1.0)

    def _adversary_rows(
        self, ask: Ask, records: np.ndarray, private: Sequence[Tensor], opening: Opening
    ) -> Tensor | None:
        features = self.session.share(self.joint.developer, _first(private), (len(records), ask.width), bound=1.0)
        if ask.attribute not in self.adversaries:
            shape = (ask.width, requests.columns(self.groups[ask.attribute]))
            start = torch.zeros(shape) if self.session.name == self.joint.developer else None
            self.adversaries[ask.attribute] = self.session.share(self.joint.developer, start, shape, bound=1.0)
        rows, self.adversaries[ask.attribute] = operations.adversary(
            self.session,
            features,
            self._members(ask, records),
            self.adversaries[ask.attribute],
            learning_rate=ADVERSARY_RATE,
            ball=ADVERSARY_BALL,
        )
        return opening(rows, 2 * ADVERSARY_BALL)

    def _orthogonality(self, ask: Ask, private: Sequence[Tensor], opening: Opening) -> Tensor | None:
        task = [
            self.session.share(self.joint.developer, private[i] if private else None, shape, bound=MOST_ADAPTER_ENTRY)
            for i, shape in enumerate(ask.shapes)
        ]
        gradients = operations.orthogonality(self.session, task, self.sensitive[ask.attribute])
        return opening(operations.concatenate(gradients), MOST_ADAPTER_ENTRY)


def _first(private: Sequence[Tensor]) -> Tensor | None:
    return private[0] if private else None


def _numbers(shapes: Sequence[tuple[int, int]]) -> int:
    return sum(rows * width for rows, width in shapes)
