"""The request of each operation: what is opened, its shape, and how far one person's attribute can move it.

Sensitivities are L2, for the substitution of one person's attribute (sqrt 2 between two one-hot rows, 1 where two
groups are held as one column). Both sides build the request from the same public values, so that ledgers agree.
"""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np

from secure_fair.groups import columns, row_change
from secure_fair.privacy.gate import Request

NO_RECORDS = np.empty(0, dtype=np.int64)


def charged_on(request: Request, attribute: str) -> Request:
    """The same, as it is admitted and paid for on one attribute of the intersection that it asks for."""
    if attribute == request.attribute:
        return request
    return replace(request, attribute=attribute, of=request.attribute)


def moment(attribute: str, groups: int, records: np.ndarray, components: int, receiver: str) -> Request:
    """F^T A with the rows of F bounded by 1."""
    shape = (components, columns(groups))
    return Request("moment", attribute, records, receiver, shape, row_change(groups))


def counts(
    operation: str, attribute: str, groups: int, records: np.ndarray, strata: int, receiver: str, query: str = ""
) -> Request:
    """Records per stratum and column, each record in one stratum ("group_counts" or "evaluation_counts")."""
    return Request(operation, attribute, records, receiver, (strata, columns(groups)), row_change(groups), query)


def penalty_rows(attribute: str, groups: int, records: np.ndarray, receiver: str) -> Request:
    """The membership columns of each record."""
    shape = (len(records), columns(groups))
    return Request("penalty_rows", attribute, records, receiver, shape, row_change(groups))


def adversary_step(attribute: str, groups: int, records: np.ndarray, width: int, receiver: str) -> Request:
    """One update z^T (p - A) of the adversary, rows of z bounded by 1; not opened, accounted as if it were."""
    shape = (width, columns(groups))
    return Request("adversary_step", attribute, records, receiver, shape, row_change(groups))


def adversary_rows(attribute: str, groups: int, records: np.ndarray, width: int, ball: float, receiver: str) -> Request:
    """Rows (p_i - a_i) w^T, w in a ball: a change of group moves a row by the distance of two columns of w."""
    change = ball if groups == 2 else math.sqrt(2.0) * ball
    return Request("adversary_rows", attribute, records, receiver, (len(records), width), change)


def entropy_rows(attribute: str, records: np.ndarray, shape: tuple[int, ...], receiver: str) -> Request:
    """Rows dH/dz of ``shape`` (B, d): post-processing of the adversary's updates, or of its training elsewhere."""
    return Request("entropy_rows", attribute, records, receiver, tuple(shape), 0.0)


def randomised_attributes(attribute: str, groups: int, records: np.ndarray, receiver: str) -> Request:
    """One randomised group code for each record; the noise is in the answers."""
    return Request("randomised_attributes", attribute, records, receiver, (len(records),), row_change(groups))


def orthogonality(attribute: str, numbers: int, receiver: str) -> Request:
    """Gradient by the task matrices: post-processing of the auditor's adapter; no aligned record takes part."""
    return Request("orthogonality", attribute, NO_RECORDS, receiver, (numbers,), 0.0)


def sensitive_adapter(attribute: str, numbers: int, receiver: str) -> Request:
    """The auditor's adapter itself, as one vector."""
    return Request("sensitive_adapter", attribute, NO_RECORDS, receiver, (numbers,), 0.0)
