"""A running hash of the public steps that a compute party has taken, so that parties out of step notice at once.

Sharing an input sends nothing, and a product sends what fits any product of its shape. A party that has skipped a step,
or taken one twice, would go on with masks that do not match, and open noise.
"""

from __future__ import annotations

import hashlib

BYTES = 16


class Transcript:
    """Names and shapes only: nothing secret enters the hash."""

    def __init__(self) -> None:
        self._hash = hashlib.blake2b(digest_size=BYTES)

    def note(self, *step: object) -> None:
        """Takes one step; every party of the session takes the same ones."""
        self._hash.update(repr(step).encode())

    def digest(self) -> bytes:
        """The hash of all steps so far."""
        return self._hash.digest()
