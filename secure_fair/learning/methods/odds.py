"""Equalised odds: the gaps of parity inside each class of the task."""

from __future__ import annotations

from secure_fair.learning.methods.parity import Parity


class Odds(Parity):
    """One query has a block of columns for each class: the auditor learns neither labels nor who is in which class."""

    by_class = True


METHOD = Odds
