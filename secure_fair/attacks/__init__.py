"""Attacks on the protocol, one file each, run by a review: the set of the files is the registry.

A file defines ``ATTACK``, which has run against the program's own code and against its twin without the protection.
"""

from __future__ import annotations

import importlib
import pkgutil

from secure_fair.attacks.common.attack import Attack, Context, Finding


def _found() -> dict[str, Attack]:
    """Every attack by the name of its file."""
    attacks = {}
    for module in pkgutil.iter_modules(__path__):
        if module.ispkg:
            continue
        attack = getattr(importlib.import_module(f"{__name__}.{module.name}"), "ATTACK", None)
        if not isinstance(attack, Attack):
            raise TypeError(f"attacks/{module.name}.py defines no ATTACK")
        attacks[module.name] = attack
    return attacks


ATTACKS = _found()


def finding(name: str, context: Context) -> Finding:
    """Run one attack of the registry."""
    return Finding.of(name, ATTACKS[name], ATTACKS[name].run(context))
