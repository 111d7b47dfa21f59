"""A request for an operation as the developer sends it, and what comes back."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Annotated, Literal, Protocol

import numpy as np
from pydantic import AfterValidator, BaseModel, ConfigDict, Field
from torch import Tensor

from secure_fair.ids import Ids
from secure_fair.mpc.menu import MAX_ELEMENTS
from secure_fair.operations.common.adapters import Adapter, AdapterShapes, Shape
from secure_fair.privacy.release_cache import ReleaseCache

Size = Annotated[int, Field(ge=1, le=1_000_000)]


def with_room(shapes: list[Shape]) -> list[Shape]:
    """The shapes of matrices; ValueError where they have more numbers together than one tensor on shares may: whoever
    hears of them makes room for them."""
    numbers = sum(rows * width for rows, width in shapes)
    if numbers > MAX_ELEMENTS:
        raise ValueError(f"matrices of {numbers} numbers; at most {MAX_ELEMENTS}")
    return shapes


class Ask(BaseModel):
    """Developer: run this operation on these records (indices follow as the raw part) and open its value to me."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    kind: Literal["ask"] = "ask"
    operation: str = Field(max_length=40)
    attribute: str = Field(max_length=200)
    width: int = Field(default=0, ge=0, le=1_000_000)
    query: str = Field(default="", max_length=64)
    shapes: Annotated[list[tuple[Size, Size]], AfterValidator(with_room)] = Field(default=[], max_length=10_000)

    def alike(self, records: np.ndarray) -> tuple[str, int]:
        """A key of all requests that take the same from the dealer, the same at every party."""
        return self.model_dump_json(exclude={"query"}), len(records)

    @property
    def numbers(self) -> int:
        """How many numbers matrices of ``shapes`` have together."""
        return sum(rows * width for rows, width in self.shapes)


@dataclass(frozen=True)
class Release:
    """An opened value, float64, and the standard deviation of the noise on each of its numbers (0: exact).

    ``query``: the name under which it was asked for, if it is remembered.
    """

    values: Tensor
    sigma: float = 0.0
    query: str = ""


class Auditors(Protocol):
    """The parties that hold the sensitive attributes, as the developer's training sees them.

    It does not know whether they compute on shares or in this process. ``records`` are int64 indices into the table
    that was enrolled at the start, none twice. An intersection of attributes ("gender x race") is asked for by its
    name, like an attribute. ``attributes``: what the method is to be fair to; ``audited``: what the result is judged
    by. ``evaluated``: whether counts of test records are released at all. ``epsilon``: of randomised responses, None
    where they are the truth. ``adapters``: by attribute, shapes of the auditors' sensitive adapters. ``cache``: what
    was told before.
    """

    attributes: tuple[str, ...]
    audited: tuple[str, ...]
    evaluated: bool
    own_records: bool
    epsilon: float | None
    adapters: dict[str, AdapterShapes]
    cache: ReleaseCache

    def groups(self, attribute: str) -> tuple[str, ...]:
        """Names of the attribute's groups; they are public."""

    def components(self, name: str) -> tuple[str, ...]:
        """The attributes of an intersection; an attribute is its own."""

    def answering(self, name: str) -> tuple[str, ...]:
        """The auditors that admit and pay for what is asked about this attribute or intersection."""

    def noise(self, operation: str, attribute: str, records: int) -> float:
        """Standard deviation, planned and public, of the mean of all answers about so many ``records``; 0 is exact."""

    def people(self, records: np.ndarray) -> Ids:
        """Ids of enrolled records."""

    def release(self, ask: Ask, records: np.ndarray, private: Sequence[Tensor] = ()) -> Release:
        """Have it admitted, computed with the developer's ``private`` input, opened and written down."""

    def train_adversary(self, attribute: str, width: int, adapter: Adapter | None) -> None:
        """Have the attribute's auditor train the shared adversary anew on its own pictures, as ``width`` features.

        The ``adapter`` is thereby disclosed to the auditor; None: features of the frozen backbone.
        """
