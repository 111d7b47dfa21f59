"""Threads of the processes of a run: the same number for each, whoever computes, for sums depend on it."""

from __future__ import annotations

import os

VARIABLE = "OMP_NUM_THREADS"
MOST = 8  # unless more are asked for: small batches are divided no further


def threads() -> int:
    """As many as the environment says, else one for each core that this process may use, ``MOST`` at most."""
    given = os.environ.get(VARIABLE, "")
    if given.isdecimal() and int(given) > 0:
        return int(given)
    return min(MOST, len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1)


def environment_of_party() -> dict[str, str]:
    """The environment of a party's process.

    Parties compute in turns: whoever waits leaves the cores to the others, and does not spin.
    """
    passive = {"OMP_WAIT_POLICY": "passive", "GOMP_SPINCOUNT": "0"}
    return {**passive, **os.environ, VARIABLE: str(threads())}
