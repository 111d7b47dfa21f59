"""Parity from attributes that were given away by randomised response: no secure computation at all."""

from __future__ import annotations

from secure_fair.learning.methods.parity import Parity


class ResponseParity(Parity):
    """The baseline that secure releases must beat (arXiv 2002.11651)."""

    releases = ("attributes",)


METHOD = ResponseParity
