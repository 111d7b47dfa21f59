"""An observational audit of moments: the true attribute against one from a proxy, by what all epochs have released."""

from __future__ import annotations

from secure_fair.attacks.common.attack import Attack, Context, Outcome
from secure_fair.attacks.common.epochs import told_over_epochs
from secure_fair.attacks.common.observational import Observed
from secure_fair.attacks.common.statistics import Scores

PEOPLE = 1024


class ObservedMoments(Attack):
    """The likelihood of the moments under either value; everybody else's attribute is as the proxy has it.

    All trials share the noise of the same moments, so that their bounds are not formal.
    """

    claim = "moments tell a true attribute from one drawn from a proxy no better than epsilon allows"
    view = "developer"
    needs = "a proxy of the attribute, such as a predictor from pictures"
    twin = "the same moments without noise"
    formal = False

    def run(self, context: Context) -> Outcome:
        """One training of people whose attribute is skewed, and partly known from their pictures."""
        ours, twin = (self._scores(context, exact) for exact in (False, True))
        return Outcome.scored(ours, twin, context.terms.ceiling)

    def _scores(self, context: Context, exact: bool) -> Scores:
        generator = context.generator("observed_moments")
        people = Observed.drawn(PEOPLE, generator)
        told = told_over_epochs(context, people.attributes, generator, exact=exact)
        return people.scores(told.ratios(people.proxy), generator)


ATTACK = ObservedMoments()
