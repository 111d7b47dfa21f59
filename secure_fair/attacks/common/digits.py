"""Attributes as the binary digits of one number: rows of lengths unit 2^i, the unit being far above the noise."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor

from secure_fair.attacks.common.auditor import deviation
from secure_fair.privacy.plan import Plan

RECORDS = 64
PACKED = 12  # people in one number
TRIES = 8
STEP = 16.0  # standard deviations of the noise between two digits


def unit_of(plan: Plan, operation: str) -> float:
    """The length of the row of the first digit."""
    return STEP * deviation(plan, operation)


def packed(unit: float) -> Tensor:
    """The query (RECORDS, 1) that packs the first people's attributes into one number."""
    query = torch.zeros(RECORDS, 1, dtype=torch.float64)
    query[:PACKED, 0] = unit * 2.0 ** torch.arange(PACKED, dtype=torch.float64)
    return query


def digits(answer: np.ndarray | None, unit: float) -> int | None:
    """The number whose digits are attributes; None where nothing was opened."""
    return None if answer is None else round(float(answer.reshape(-1)[0]) / unit)


def read(told: Sequence[int | None], codes: np.ndarray) -> int:
    """How many of the packed attributes, of ``codes`` (tries, records), are read right; none where nothing is told."""
    hits = 0
    for number, attributes in zip(told, codes, strict=True):
        if number is not None:
            hits += int(sum(number >> i & 1 == attributes[i] for i in range(PACKED)))
    return hits
