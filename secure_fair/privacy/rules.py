"""Rules by which the gate judges an operation: its sensitivity, what it rests on, what it must satisfy.

An operation without a rule is refused everywhere: by a policy that names it, by a plan, and by the gate.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import TypeAlias


@dataclass(frozen=True)
class Rule:
    """The rule of one operation.

    ``sensitivity``: L2, of the opened value to the substitution of one person's attribute, in units of the value, from
    the number of the attribute's groups. None for post-processing, which costs nothing itself and is opened only where
    one of the operations in ``paid_by`` was accounted for in the same run. ``needs``: operations that a noised plan
    must have beside it. ``row_per_record``: the value has a row for each record of the request. ``bounded_rows``: the
    noise is made for rows of the developer's of norm at most 1. ``on_shares``: False where the attribute's holder sends
    a value of its own. ``on_intersections``: may be asked of several attributes together. ``responds_at_random``: the
    noise is in the answers, which are drawn once for ever. ``opened``: False where nothing leaves the shares or the
    auditor, and it is accounted as if it did. ``binding``: the guarantee holds whatever the developer sends; where it
    does not say so, a noised release needs an auditor that takes the developer to follow the protocol. ``by_group``:
    the value's columns are the groups, of two one of them.
    """

    sensitivity: Callable[[int], float] | None
    paid_by: tuple[str, ...] = ()
    needs: tuple[str, ...] = ()
    row_per_record: bool = False
    bounded_rows: bool = False
    on_shares: bool = True
    on_intersections: bool = False
    responds_at_random: bool = False
    opened: bool = True
    binding: bool = False
    by_group: bool = False

    def __post_init__(self) -> None:
        if (self.sensitivity is None) != bool(self.paid_by):
            raise ValueError("a rule has a sensitivity, or names what pays for it: one of the two")

    @property
    def post_processing(self) -> bool:
        """True if a person's attribute enters only through releases that are accounted for already."""
        return self.sensitivity is None

    def moves(self, groups: int) -> float:
        """The sensitivity for an attribute of so many groups; 0 for post-processing."""
        return 0.0 if self.sensitivity is None else self.sensitivity(groups)


Rules: TypeAlias = Mapping[str, Rule]
