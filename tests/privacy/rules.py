"""Rules of the operations that the tests of the gate ask for."""

from __future__ import annotations

from secure_fair.groups import row_change
from secure_fair.privacy.rules import Rule, Rules

RULES: Rules = {
    "moment": Rule(row_change, by_group=True, on_intersections=True, bounded_rows=True, binding=True),
    "group_counts": Rule(row_change, by_group=True, on_intersections=True, binding=True),
    "evaluation_counts": Rule(row_change, by_group=True, on_intersections=True, binding=True),
    "penalty_rows": Rule(row_change, by_group=True, on_intersections=True, row_per_record=True, binding=True),
    "adversary_step": Rule(row_change, by_group=True, bounded_rows=True, opened=False),
    "adversary_rows": Rule(lambda groups: 8 * row_change(groups), needs=("adversary_step",), row_per_record=True),
    "entropy_rows": Rule(None, paid_by=("adversary_step", "sensitive_training"), row_per_record=True, binding=True),
    "orthogonality": Rule(None, paid_by=("sensitive_training",), binding=True),
    "sensitive_adapter": Rule(None, paid_by=("sensitive_training",), on_shares=False, binding=True),
    "sensitive_training": Rule(row_change, on_shares=False, opened=False, binding=True),
    "randomised_attributes": Rule(row_change, on_shares=False, responds_at_random=True, binding=True),
}
