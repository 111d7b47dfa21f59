"""Empirical risk minimisation: the fairness-unaware baseline. Asks for nothing."""

from __future__ import annotations

from secure_fair.learning.method import Method


class Erm(Method):
    """No penalty at all (arXiv 2503.05684, baseline)."""

    own_records = True
    after_training = True
    keys = ()


METHOD = Erm
