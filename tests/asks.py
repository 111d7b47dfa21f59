"""Everything that a developer's training may ask for, in one place for tests."""

from __future__ import annotations

from secure_fair.operations.adversary_rows import adversary_rows
from secure_fair.operations.entropy_rows import entropy_rows
from secure_fair.operations.evaluation_counts import evaluation_counts
from secure_fair.operations.group_counts import group_counts
from secure_fair.operations.moment import moment
from secure_fair.operations.orthogonality import orthogonality
from secure_fair.operations.penalty_rows import penalty_rows
from secure_fair.operations.randomised_attributes import randomised_attributes
from secure_fair.operations.sensitive_adapter import sensitive_adapter

__all__ = [
    "adversary_rows",
    "entropy_rows",
    "evaluation_counts",
    "group_counts",
    "moment",
    "orthogonality",
    "penalty_rows",
    "randomised_attributes",
    "sensitive_adapter",
]
