"""The last binary digits of a noised value: floating-point noise leaves a hole where the attribute was added.

Mironov (2012): 0 + N and 1 + N do not round to the same set of numbers, so that one of them may be impossible.
"""

from __future__ import annotations

import numpy as np

from secure_fair.attacks.common.attack import Attack, Context, Outcome, balanced
from secure_fair.attacks.common.auditor import auditor, deviation, training_plan
from secure_fair.attacks.common.statistics import Scores
from secure_fair.privacy.policy import Policy

NAME = "penalty_rows"
PEOPLE = 24_000


class FloatingPointNoise(Attack):
    """The place of the last digit: a number finer than any sum with 1 can be was nothing and noise."""

    claim = "noised values lie on one grid, whatever the attribute: their last digits tell nothing"
    view = "developer"
    needs = "one request for rows"
    twin = "noise of the same size from a floating-point generator, added to the value"

    def run(self, context: Context) -> Outcome:
        """One row of each person."""
        attributes, generator = balanced(PEOPLE), context.generator("floating_point_noise")
        plan = training_plan(NAME, context.terms, exact=False)
        everybody = np.arange(PEOPLE, dtype=np.int64)
        with auditor(attributes, plan, Policy()) as asked:
            ours = asked.ask(NAME, everybody, None, context.terms.precision_bits)[:, 0]
        twin = attributes + generator.normal(size=PEOPLE) * deviation(plan, NAME)
        here, there = (Scores.of(-last_digit(told), 1 - attributes, generator) for told in (ours, twin))
        return Outcome.scored(here, there, context.terms.ceiling)


def last_digit(values: np.ndarray) -> np.ndarray:
    """The power of two of the last binary digit of float64 ``values`` (n,) that is not 0; 0 for a zero."""
    mantissa, exponent = np.frexp(values)
    digits = np.abs(mantissa * 2.0**53).astype(np.int64)
    last = np.log2(np.maximum(digits & -digits, 1))
    return np.where(values == 0, 0.0, exponent - 53 + last)


ATTACK = FloatingPointNoise()
