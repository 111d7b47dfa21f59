"""Releases that are cut short: the value is out, the auditor dies before it can do anything more, and is started again.

Deaths of a process at every moment of a release are in a test of the gate; here the opening is the last thing done.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
from torch import Tensor

from secure_fair.attacks.common.attack import Attack, Context, Outcome, balanced
from secure_fair.attacks.common.auditor import AttackedAuditor, opened, training_plan
from secure_fair.errors import BudgetExceeded
from secure_fair.privacy.policy import Policy

NAME = "moment"
PEOPLE, RELEASES, TRIES = 32, 2, 12


class Death(Exception):
    """The auditor's, once its value is out."""


@dataclass
class LastOpening:
    """An opening after which nothing more is done; ``out`` counts the values that left."""

    shape: tuple[int, ...]
    scale: int = 2**16
    out: list[Tensor | None] = field(default_factory=list)

    def open_to(self, receiver: str, noise: Tensor | None) -> None:
        """The value is out, and the process ends."""
        self.out.append(noise)
        raise Death


class InterruptedReleases(Attack):
    """Spending is on disk before a value is opened, so an interruption wastes budget and never gains any."""

    claim = "an auditor that dies when it has opened a value has spent for it"
    view = "developer"
    needs = "a way to end the auditor's process in time"
    twin = "an auditor that writes a release down when it is done"

    def run(self, context: Context) -> Outcome:
        """A plan of a few releases, and more deaths than that."""
        ours, twin = (self._beyond(context, first) for first in (True, False))
        return Outcome.counted(ours, twin, TRIES - RELEASES, most=0.0)

    def _beyond(self, context: Context, written_first: bool) -> int:
        """How many values were opened beyond the plan's."""
        plan = training_plan(NAME, context.terms, participations=RELEASES, exact=False)
        opening = LastOpening((1, 1))
        with TemporaryDirectory(prefix="secure-fair-review-") as folder:
            for _ in range(TRIES):
                with opened(Path(folder), balanced(PEOPLE), plan, Policy()) as asked:
                    if not written_first:
                        asked.gate._spend = lambda grant: None  # type: ignore[method-assign]
                    _release(asked, opening)
        return max(len(opening.out) - RELEASES, 0)


def _release(asked: AttackedAuditor, opening: LastOpening) -> None:
    try:
        _, (grant,) = asked.admit(NAME, np.arange(PEOPLE, dtype=np.int64), 1)
        asked.gate.release(grant, opening)
    except (Death, BudgetExceeded):
        return


ATTACK = InterruptedReleases()
