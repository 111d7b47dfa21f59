"""The doors of a party: how many may stand in them before they have said who they are, and for how long.

Anybody who reaches the port can open connections without a certificate, and each takes a file descriptor of those that
the ledger needs too. Beyond the bound they are closed at once. Strangers that keep all places keep peers out as well:
that a run begins is not promised to anybody, only that one that has begun is not ended by them.
"""

from __future__ import annotations

import resource

from secure_fair.errors import UsageError

MAX_CONNECTIONS = 64
"""Of peers and of strangers together, at once."""

HANDSHAKE_SECONDS = 10.0
"""How long a caller may take to say who it is before its place is free again."""

OWN_DESCRIPTORS = 64
"""Files, pipes and connections of the party's own, with room to spare."""

OPTIONS = [
    ("grpc.max_allowed_incoming_connections", MAX_CONNECTIONS),
    ("grpc.server_handshake_timeout_ms", int(1000 * HANDSHAKE_SECONDS)),
]


def make_room() -> None:
    """Raise this process's limit of open files where it is too low for full doors; UsageError where it may not."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    needed = MAX_CONNECTIONS + OWN_DESCRIPTORS
    if soft == resource.RLIM_INFINITY or soft >= needed:
        return
    if hard != resource.RLIM_INFINITY and hard < needed:
        raise UsageError(
            f"at most {hard} files may be open at once, and a party needs {needed}, so that strangers at its port do "
            f"not end its run: raise the limit (ulimit -n {needed})"
        )
    resource.setrlimit(resource.RLIMIT_NOFILE, (needed, hard))
