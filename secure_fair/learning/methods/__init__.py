"""Fairness methods: how an attribute enters the developer's training. One file each."""

from __future__ import annotations

from secure_fair.learning.methods.adv import Adv
from secure_fair.learning.methods.base import Batch, Method, Training
from secure_fair.learning.methods.ent import Ent
from secure_fair.learning.methods.erase import Erase
from secure_fair.learning.methods.erm import Erm
from secure_fair.learning.methods.orth import Orth
from secure_fair.learning.methods.parity import Parity
from secure_fair.learning.methods.unl import Unl
from secure_fair.learning.settings import MethodSettings

__all__ = ["Batch", "Method", "MethodSettings", "Training", "make_method"]


def make_method(settings: MethodSettings) -> Method:
    """The method of that name; the scenario's validation knows the names."""
    match settings.name:
        case "erm":
            return Erm()
        case "adv":
            return Adv(settings)
        case "ent":
            return Ent(settings)
        case "orth":
            return Orth(settings)
        case "unl":
            return Unl(settings)
        case "erase":
            return Erase(settings)
        case "parity" | "odds" | "rr":
            return Parity(settings, by_class=settings.name == "odds")
    raise ValueError(f"no method {settings.name!r}")
