"""The methods a scenario may name: which releases each can use, and which records of the auditor's these need."""

from __future__ import annotations

# method -> the releases it can use; the first one is taken where the scenario names none
METHODS: dict[str, tuple[str, ...]] = {
    "erm": (),
    "adv": ("rows",),
    "orth": ("adapter", "gradient"),
    "parity": ("moments", "rows"),
    "odds": ("moments", "rows"),
    "erase": ("moments",),
    "rr": ("attributes",),
    "unl": ("adapter",),
}

# releases of values that belong to single records of the developer's: the auditor must hold those people's attributes
ALIGNED_RELEASES = frozenset({"moments", "rows", "attributes"})
# releases made from an adapter that the auditor trains: it needs pictures of its own
ADAPTER_RELEASES = frozenset({"adapter", "gradient"})

RELEASES = ("moments", "rows", "attributes", "adapter", "gradient")
