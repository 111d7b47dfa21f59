"""Threads and memory of the processes of a run: the same number of threads for each, for sums depend on it."""

from __future__ import annotations

import os

VARIABLE = "OMP_NUM_THREADS"
MOST = 8  # unless more are asked for: small batches are divided no further
SHORT_WAITS = {"GOMP_SPINCOUNT": "50000", "KMP_BLOCKTIME": "1"}
"""How long a thread looks for more to do before it sleeps, about a millisecond, for GNU's library and for LLVM's: steps
of a training follow each other closer than that, and the turns of parties do not."""
HUGE_PAGES = {"THP_MEM_ALLOC_ENABLE": "1"}  # large tensors in pages of 2 MiB: each is made anew in every step


def threads() -> int:
    """As many as the environment says, else one for each core that this process may use, ``MOST`` at most."""
    given = os.environ.get(VARIABLE, "")
    if given.isdecimal() and int(given) > 0:
        return int(given)
    return min(MOST, len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1)


def environment_of_party() -> dict[str, str]:
    """The environment of a party's process.

    Parties compute in turns: whoever waits leaves the cores to the others, and does not spin for long.
    """
    waiting = {} if "OMP_WAIT_POLICY" in os.environ else SHORT_WAITS
    return {**waiting, **HUGE_PAGES, **os.environ, VARIABLE: str(threads())}


def use_huge_pages() -> None:
    """Have this process do so, where nobody has said otherwise; before it has made a tensor."""
    for name, value in HUGE_PAGES.items():
        os.environ.setdefault(name, value)
