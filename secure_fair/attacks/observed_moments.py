"""An observational audit of moments: the true attribute against one from a proxy, by what all epochs have released."""

from __future__ import annotations

from secure_fair.attacks.common.attack import Context, ScoredAttack
from secure_fair.attacks.common.epochs import told_over_epochs
from secure_fair.attacks.common.observational import Observed
from secure_fair.attacks.common.statistics import Scores

PEOPLE = 1024


class ObservedMoments(ScoredAttack):
    """The likelihood of the moments under either value; everybody else's attribute is as the proxy has it.

    All trials share the noise of the same moments, so that their bounds are not formal.
    """

    claim = "moments tell a true attribute from one drawn from a proxy no better than epsilon allows"
    view = "developer"
    needs = "a proxy of the attribute, such as a predictor from pictures"
    twin = "the same moments without noise"
    formal = False

    def scores(self, context: Context, *, protected: bool) -> Scores:
        """One training of people whose attribute is skewed, and partly known from their pictures."""
        exact = not protected
        generator = context.generator("observed_moments")
        people = Observed.drawn(PEOPLE, generator)
        told = told_over_epochs(context, people.attributes, generator, exact=exact)
        return people.scores(told.ratios(people.proxy), generator)


ATTACK = ObservedMoments()
