"""Randomised responses: each person's group, changed at random once for ever, and given away."""

from __future__ import annotations

from collections.abc import Sequence
from functools import reduce

import numpy as np
import torch
from torch import Tensor

from secure_fair.groups import joint_codes, row_change
from secure_fair.operations.common.ask import Ask, Auditors
from secure_fair.operations.common.operation import Holder, Operation
from secure_fair.operations.common.state import PublicFacts
from secure_fair.privacy.randomised_response import debias
from secure_fair.privacy.request import Grant
from secure_fair.privacy.rules import Rule


def randomised_attributes(auditors: Auditors, attribute: str, records: np.ndarray) -> Tensor:
    """Have group codes (n,) int64 of each record opened, one answer a person for ever."""
    ask = Ask(operation="randomised_attributes", attribute=attribute)
    return auditors.release(ask, records).values.long()


def corrected(
    answers: Sequence[Tensor], groups: Sequence[int], epsilons: Sequence[float | None]
) -> tuple[Tensor, Tensor]:
    """Answers to one or more attributes as answers about their intersection, (n,), with the matrix that corrects them:
    people lie about each attribute on their own, so it is the Kronecker product of the attributes'.

    one_hot(codes) @ matrix is right on average.
    """
    matrices = [
        torch.eye(count, dtype=torch.float64) if epsilon is None else torch.from_numpy(debias(count, epsilon))
        for count, epsilon in zip(groups, epsilons, strict=True)
    ]
    return torch.from_numpy(joint_codes([answer.numpy() for answer in answers], groups)), reduce(torch.kron, matrices)


class RandomisedAttributes(Operation):
    """Every holder answers for its own people; an intersection's answers follow from those about its attributes."""

    rule = Rule(row_change, row_per_record=True, on_shares=False, responds_at_random=True, binding=True)

    def shape(self, ask: Ask, records: np.ndarray, facts: PublicFacts) -> tuple[int, ...]:
        """One code for each record."""
        return (len(records),)

    def send(self, holder: Holder, ask: Ask, records: np.ndarray, grant: Grant) -> tuple[Tensor, int]:
        """A place for each record in the request; 0 where another auditor holds it.

        A person answers once for all of its records, by the attribute of its first one in the table.
        """
        here = holder.held[records]
        people, whose = np.unique(holder.people[records[here]], return_inverse=True)
        names, groups = [holder.names[place] for place in people], len(holder.groups[ask.attribute])
        answers = np.zeros(len(records), dtype=np.int64)
        codes = holder.codes[ask.attribute][people]
        answers[here] = holder.responses.answer(grant, names, people, codes, groups)[whose]
        return torch.from_numpy(answers).double(), 1


OPERATION = RandomisedAttributes()
