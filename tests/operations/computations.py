"""What all operations compute on shares and in the clear, in one place for tests."""

from __future__ import annotations

from secure_fair.mpc.approximations import PULL
from secure_fair.mpc.products import fix
from secure_fair.mpc.shares import concatenate
from secure_fair.operations.adversary_step import MAX_STEP, adversary, plain_adversary
from secure_fair.operations.common.operation import Update
from secure_fair.operations.common.state import intersection, plain_intersection
from secure_fair.operations.entropy_rows import entropy, plain_entropy
from secure_fair.operations.moment import moment_on_shares as moment
from secure_fair.operations.moment import plain_moment
from secure_fair.operations.orthogonality import orthogonality_on_shares as orthogonality
from secure_fair.operations.orthogonality import plain_orthogonality
from secure_fair.operations.penalty_rows import weighted_rows

__all__ = [
    "MAX_STEP",
    "PULL",
    "Update",
    "adversary",
    "concatenate",
    "entropy",
    "fix",
    "intersection",
    "moment",
    "orthogonality",
    "plain_adversary",
    "plain_entropy",
    "plain_intersection",
    "plain_moment",
    "plain_orthogonality",
    "weighted_rows",
]
