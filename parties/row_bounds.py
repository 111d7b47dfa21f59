"""The check of the developer's rows on shares, as all compute parties go through it: each checker learns one bit."""

from __future__ import annotations

from collections.abc import Sequence

from secure_fair.mpc.bounds import rows_within_bound
from secure_fair.mpc.session import Session

from crypten.mpc import MPCTensor  # isort: skip


def open_verdicts(session: Session, rows: MPCTensor, checkers: Sequence[str]) -> bool | None:
    """Open to each checker whether all ``rows`` are within norm 1; this party's verdict, None where it checks not."""
    verdict = None
    if checkers:
        within = rows_within_bound(session, rows, 1.0)
        for checker in checkers:
            if session.name != checker:
                session.reveal_to(checker, within)
            else:
                verdict = float(session.receive_opening(within, bound=1.0)) == 1.0
    return verdict
