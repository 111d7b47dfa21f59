"""The auditor's training on its own records, of an adapter or an adversary: accounted, and opened by other operations.

With epsilon it is DP-SGD and the guarantee is for adding or removing one of the auditor's records; without it is exact.
"""

from __future__ import annotations

from secure_fair.groups import row_change
from secure_fair.operations.common.operation import Operation
from secure_fair.privacy.rules import Rule

NAME = "sensitive_training"


class SensitiveTraining(Operation):
    """The auditor does it alone, and its gate is told the epsilon that it came to."""

    rule = Rule(row_change, on_shares=False, opened=False, binding=True)


OPERATION = SensitiveTraining()
