"""An impostor with a certificate of everybody's authority: a key of its own, signed under the auditor's name."""

from __future__ import annotations

from secure_fair.attacks.common.attack import AUDITOR, Attack, Context, Outcome


class Impostor(Attack):
    """It serves where the auditor is expected; it is won where the developer connects."""

    claim = "nobody whom the authority has signed for is taken for a party whose fingerprint was agreed on"
    view = "outsider"
    needs = "the authority's signature under the auditor's name, and the auditor's address"
    twin = "a developer that believes the authority, as in a simulation"

    def run(self, context: Context) -> Outcome:
        """One meeting with fingerprints, and one without."""
        ours, twin = (int(context.meeting(AUDITOR, agreed=agreed)) for agreed in (True, False))
        return Outcome.counted(ours, twin, 1, most=0.0)


ATTACK = Impostor()
