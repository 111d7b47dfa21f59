"""The methods a scenario may name: which releases each can use, and which records of the auditor's these need."""

from __future__ import annotations

# method -> the releases it can use; the first one is taken where the scenario names none
METHODS: dict[str, tuple[str, ...]] = {
    "erm": (),
    "adv": ("rows",),
    "ent": ("rows",),
    "orth": ("adapter", "gradient"),
    "parity": ("moments", "rows"),
    "odds": ("moments", "rows"),
    "erase": ("moments",),
    "rr": ("attributes",),
    "unl": ("adapter",),
}

# releases made from an adapter that the auditor trains: it needs pictures of its own
ADAPTER_RELEASES = frozenset({"adapter", "gradient"})
# methods that work where the auditors have only pictures of their own, no record in common with the developer
OWN_METHODS = ("erm", "ent", "orth", "unl")
# methods that can steer by the gaps that their releases tell
STEERED = ("parity", "odds", "rr")

RELEASES = ("moments", "rows", "attributes", "adapter", "gradient")
