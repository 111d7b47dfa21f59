"""An operation as the parties see it: its rule, its request, its computation on shares, its plain twin."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar, Protocol

import numpy as np
from torch import Tensor

from secure_fair.errors import Refusal
from secure_fair.mpc.bounds import Blocks
from secure_fair.mpc.commitment import commit_rows
from secure_fair.operations.common.adapters import Adapter
from secure_fair.operations.common.ask import Ask
from secure_fair.operations.common.sizes import RunSizes
from secure_fair.operations.common.state import PlainState, PublicFacts, SharedState
from secure_fair.privacy.randomised_response import Responses
from secure_fair.privacy.request import Grant, Request
from secure_fair.privacy.rules import Rule


@dataclass(frozen=True)
class Update:
    """The noise on an adversary's update: its public standard deviation, and this party's own part of it.

    ``noise`` is int64 ring units at the square of the scale on shares, real numbers in the plain twin.
    """

    sigma: float = 0.0
    noise: Tensor | None = None


class Holder(Protocol):
    """An auditor's own things, from which it sends a value that it made private itself.

    ``names``: of those whose records are enrolled, one for each record; ``people``: int64 (enrolled,), the place of
    their first records; ``held``: bool (enrolled,), which records are this auditor's; ``codes``: group codes int64
    (enrolled,) by attribute; ``groups``: their names, by attribute; ``scale``: ring units per 1.0.
    """

    codes: Mapping[str, np.ndarray]
    groups: Mapping[str, tuple[str, ...]]
    adapters: dict[str, Adapter]
    responses: Responses

    @property
    def names(self) -> Sequence[str]: ...

    @property
    def people(self) -> np.ndarray: ...

    @property
    def held(self) -> np.ndarray: ...

    @property
    def scale(self) -> int: ...


class Operation:
    """One thing that auditors may be asked for. Every subclass has a file of its own, named as the operation.

    ``accounts``: operations that are admitted and accounted before this one, whenever it is asked for.
    ``input_bound``: of every entry that the developer shares. ``on_adapter``: computed from the sensitive adapter,
    which its auditor then shares.
    """

    rule: ClassVar[Rule]
    accounts: ClassVar[tuple[str, ...]] = ()
    input_bound: ClassVar[float] = 1.0
    on_adapter: ClassVar[bool] = False

    # what is asked

    def check(self, ask: Ask, records: np.ndarray, facts: PublicFacts) -> None:
        """Raise Refusal for what this operation cannot be asked, from public values alone."""

    def shape(self, ask: Ask, records: np.ndarray, facts: PublicFacts) -> tuple[int, ...]:
        """Shape of the opened value."""
        raise Refusal(f"{ask.operation} is not asked for by itself")

    def bound(self, ask: Ask, records: np.ndarray, facts: PublicFacts) -> float:
        """Public bound on the size of every number of the value, without noise."""
        raise Refusal(f"{ask.operation} is not computed on shares")

    def inputs(self, ask: Ask, records: np.ndarray) -> list[tuple[int, int]]:
        """Shapes of what the developer shares: here a row of ``width`` numbers for each record."""
        return [(len(records), ask.width)]

    # what it will cost

    def foreseen(self, ask: Ask, sizes: RunSizes) -> tuple[Ask, int]:
        """The bare ``ask`` with the sizes that it will have in a run, and how many records it will be about.

        Here a row of features for each record, of a batch where the value has a row for each, else of all training
        records. The run's cost is forecast from it, and limits nothing: a request may be of any size.
        """
        records = sizes.batch if self.rule.row_per_record else sizes.training
        return ask.model_copy(update={"width": sizes.features}), records

    def about(self, ask: Ask, records: int) -> Ask:
        """The same request about so many ``records``, for an ``ask`` that has their number in it."""
        return ask

    def proof_block(self, ask: Ask, records: int) -> int:
        """How many rows are proved at a time; 0 where a proof's cost is affine in the rows alone."""
        return Blocks.of(records, ask.width).rows

    # what is computed

    def share(
        self, state: SharedState, ask: Ask, records: np.ndarray, private: Sequence[Tensor], verifiers: Sequence[str]
    ) -> list[Any]:
        """Share the developer's inputs; everybody else passes none.

        ``verifiers``: the parties that are proved to, of ``bounded_rows``, that all rows are within norm 1. What was
        proved is what is computed with. ProtocolError at a verifier that is not convinced.
        """
        if verifiers:
            (shape,), (values,) = self.inputs(ask, records), private or (None,)
            return [self.commit(state, values, shape, verifiers)]
        return [
            state.session.own(state.facts.developer, private[i] if private else None, shape, bound=self.input_bound)
            for i, shape in enumerate(self.inputs(ask, records))
        ]

    def commit(
        self,
        state: SharedState,
        values: Tensor | None,
        shape: tuple[int, int],
        verifiers: Sequence[str],
        told: Sequence[str] | None = None,
    ) -> Any:
        """Commit the developer to its rows and prove their bound; all hear of it unless some are ``told`` alone."""
        return commit_rows(state.session, state.facts.developer, values, shape, verifiers=verifiers, told=told)

    def compute(self, state: SharedState, ask: Ask, records: np.ndarray, inputs: list[Any], update: Update) -> Any:
        """The value on shares, from the shared ``inputs``; all compute parties do the same, in step."""
        raise Refusal(f"{ask.operation} is not computed on shares")

    def plain(
        self, state: PlainState, ask: Ask, records: np.ndarray, private: Sequence[Tensor], update: Update
    ) -> Tensor:
        """The same in float64, from values in the clear."""
        raise Refusal(f"{ask.operation} is not computed on shares")

    def send(self, holder: Holder, ask: Ask, records: np.ndarray, grant: Grant) -> tuple[Tensor, int]:
        """The holder's own value, and the ring units per 1.0 in which it travels, where nothing is on shares."""
        raise Refusal(f"{ask.operation} is computed on shares, and not sent")


def make_request(operation: str, ask: Ask, shape: tuple[int, ...], records: np.ndarray, facts: PublicFacts) -> Request:
    """The request as gates judge it."""
    groups = facts.groups[ask.attribute]
    return Request(operation, ask.attribute, records, facts.developer, shape, groups, ask.query)
