"""The methods a scenario may name: which releases each can use, and which records of the auditor's it needs."""

from __future__ import annotations

from typing import Literal

MethodName = Literal["erm", "unl", "adv", "orth", "ent", "parity", "odds", "erase", "rr"]
Release = Literal["moments", "rows", "adapter", "gradient", "attributes"]

# method -> the releases it can use; the first one is taken where the scenario names none
METHODS: dict[str, tuple[Release, ...]] = {
    "erm": (),
    "unl": ("adapter",),
    "adv": ("rows",),
    "orth": ("adapter", "gradient"),
    "ent": ("rows",),
    "parity": ("moments", "rows"),
    "odds": ("moments", "rows"),
    "erase": ("moments",),
    "rr": ("attributes",),
}

# releases of values that belong to single records of the developer's: the auditor must hold those people's attributes
ALIGNED_RELEASES = frozenset({"moments", "rows", "attributes"})
# releases made from an adapter that the auditor trains: it needs pictures of its own
ADAPTER_RELEASES = frozenset({"adapter", "gradient"})
