"""The auditor's own adapter, which predicts the attribute, as it is: a forward pass of a ViT does not run on shares."""

from __future__ import annotations

import numpy as np
from torch import Tensor

from secure_fair.errors import Refusal
from secure_fair.operations.common.adapters import Adapter, flatten_adapter, unflatten_adapter
from secure_fair.operations.common.ask import Ask, Auditors
from secure_fair.operations.common.operation import Holder, Operation
from secure_fair.operations.common.state import PublicFacts
from secure_fair.privacy.request import NO_RECORDS, Grant
from secure_fair.privacy.rules import Rule


def sensitive_adapter(auditors: Auditors, attribute: str) -> Adapter:
    """Have the adapter opened that the attribute's auditor trained on its own records."""
    shapes = auditors.adapters[attribute]
    flat_shapes = [shape for pair in shapes.values() for shape in pair]
    ask = Ask(operation="sensitive_adapter", attribute=attribute, shapes=flat_shapes)
    return unflatten_adapter(auditors.release(ask, NO_RECORDS).values, shapes)


class SensitiveAdapter(Operation):
    """Post-processing of the adapter's training: what protects the auditor's records is DP-SGD there."""

    rule = Rule(None, paid_by=("sensitive_training",), on_shares=False, binding=True)

    def check(self, ask: Ask, records: np.ndarray, facts: PublicFacts) -> None:
        """The shapes are those that the auditor announced."""
        held = [shape for pair in facts.adapters.get(ask.attribute, {}).values() for shape in pair]
        if [tuple(shape) for shape in ask.shapes] != [tuple(shape) for shape in held] or not held or len(records):
            raise Refusal(f"sensitive_adapter of {ask.attribute}: matrices {ask.shapes} are not those held, {held}")

    def shape(self, ask: Ask, records: np.ndarray, facts: PublicFacts) -> tuple[int, ...]:
        """All matrices as one vector."""
        return (ask.numbers,)

    def send(self, holder: Holder, ask: Ask, records: np.ndarray, grant: Grant) -> tuple[Tensor, int]:
        """The adapter, on the ring's grid, as what is opened from shares."""
        return flatten_adapter(holder.adapters[ask.attribute]), holder.scale


OPERATION = SensitiveAdapter()
