"""Impostors with a certificate of everybody's authority: one with the auditor's name, one with another."""

from __future__ import annotations

from secure_fair.attacks.common.attack import AUDITOR, Attack, Context, Outcome

IMPOSTORS = (AUDITOR, "stranger")


class Impostor(Attack):
    """Each has a key of its own and serves where the auditor is expected; it is won where the developer connects.

    The name alone keeps the second one out, also on the twin.
    """

    claim = "nobody whom the authority has signed for is taken for a party whose fingerprint was agreed on"
    view = "outsider"
    needs = "the authority's signature under the auditor's name, and the auditor's address"
    twin = "a developer that believes the authority, as in a simulation"

    def run(self, context: Context) -> Outcome:
        """Each impostor, once with fingerprints and once without."""
        ours, twin = (sum(context.meeting(name, agreed=agreed) for name in IMPOSTORS) for agreed in (True, False))
        return Outcome.counted(ours, twin, len(IMPOSTORS), most=0.0)


ATTACK = Impostor()
