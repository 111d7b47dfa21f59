"""The request for a release, and the grant that the gate gives for it."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace

import numpy as np

from secure_fair.privacy.entries import Charge, Payers, Receipt

NO_RECORDS = np.empty(0, dtype=np.int64)


@dataclass(frozen=True)
class Request:
    """A request to an auditor; all of it is public. Built by the auditor's own code from the developer's message.

    ``records``: int64 (n,) indices into the enrolled table, none twice; empty for post-processing, which touches no
    record. ``shape`` is that of the opened value. ``groups``: how many the attribute has, or the intersection that is
    asked for; with the operation's rule it tells how far one person's attribute can move the value. ``query``: a
    digest by which the developer names what it asks (keyed, so that it tells the auditor nothing); the gate refuses to
    answer the same question twice, for the developer still has the answer. ``of``: the intersection that is asked for,
    where it is not ``attribute`` alone: it tells of all its attributes, and each is charged by a request of its own.
    """

    operation: str
    attribute: str
    records: np.ndarray
    receiver: str
    shape: tuple[int, ...]
    groups: int
    query: str = ""
    of: str = ""


@dataclass(frozen=True)
class Grant:
    """An admitted request. Good for one release at the gate that gave it.

    ``payers``: those who pay; without other auditors' people, and without those who gave the same randomised response
    before.
    """

    request: Request
    receipt: Receipt
    charge: Charge
    payers: Payers

    @property
    def epsilon(self) -> float | None:
        """The epsilon of a randomised response; None where the truth is given."""
        return None if math.isinf(self.charge.epsilon) else self.charge.epsilon


def charged_on(request: Request, attribute: str) -> Request:
    """The same, as it is admitted and paid for on one attribute of the intersection that it asks for."""
    if attribute == request.attribute:
        return request
    return replace(request, attribute=attribute, of=request.attribute)
