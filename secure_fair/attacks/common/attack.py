"""An attack as the review sees it: whose view it has, what it needs, what it wins here and on its unprotected twin."""

from __future__ import annotations

import math
import zlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any, ClassVar, Literal, Protocol

import numpy as np

from secure_fair.attacks.common.statistics import CONFIDENCE, STRICT, Scores, clopper_pearson
from secure_fair.privacy import accounting

View = Literal["developer", "auditor", "dealer", "outsider"]
Verdict = Literal["holds", "FAILS", "blind"]
Rehearsal = Callable[..., list[Any]]  # (function, *arguments) -> what function(session, *arguments) gave, by rank


class Meeting(Protocol):
    """Whether a developer connects with an ``impostor`` of this name where it expects the auditor."""

    def __call__(self, impostor: str, *, agreed: bool) -> bool: ...


DEVELOPER, AUDITOR = "developer", "auditor"
FEWEST, MOST = 4000, 100_000  # trials of an attack that is cheap


@dataclass(frozen=True)
class AttackTerms:
    """The guarantee under attack, as a scenario asks for it: (``epsilon``, ``delta``) of one attribute in training.

    ``evaluation_epsilon`` at the same delta for test records; ``participations``: releases of training that a record
    takes part in, with room for ``reserve`` more; ``precision_bits`` of the fixed point that is opened.
    """

    epsilon: float
    evaluation_epsilon: float
    delta: float
    participations: int
    reserve: int = 1
    precision_bits: int = 16

    @property
    def ceiling(self) -> Ceiling:
        """The ceiling of all releases of training together."""
        return Ceiling.gaussian(self.epsilon, self.delta)

    @property
    def evaluation_ceiling(self) -> Ceiling:
        """The ceiling of all counts of test records together."""
        return Ceiling.gaussian(self.evaluation_epsilon, self.delta)


@dataclass(frozen=True)
class Context:
    """The place where attacks run. ``parties``: has a function called at a developer and an auditor, over TLS;
    ``meeting``: has an impostor try.

    ``seed``: of attributes and of the order of trials; the noise under attack is the gate's own, drawn anew each time.
    ``trials``: of attacks that are cheap; None lets each have as many as its bound needs.
    """

    terms: AttackTerms
    parties: Rehearsal
    meeting: Meeting
    seed: int = 0
    trials: int | None = None

    def generator(self, name: str) -> np.random.Generator:
        """Randomness of one attack, which does not depend on the others that are run."""
        return np.random.default_rng([self.seed, zlib.crc32(name.encode())])

    def cheap_trials(self, mu: float) -> int:
        """So many trials that noise of half its scale is seen, up to a bound on the time that it takes.

        The strict bound from n judged trials of either value, a fourth of all, lies about 9.5 / sqrt(n) below the
        truth; halved noise puts that at 2 mu, here twice as far above mu.
        """
        return self.trials or min(max(4 * math.ceil((20 / mu) ** 2), FEWEST), MOST)


@dataclass(frozen=True)
class Ceiling:
    """The most that was promised: mu and epsilon where they say it, and the ``share`` of trials that are won."""

    share: float
    mu: float | None = None
    epsilon: float | None = None
    delta: float = 0.0

    @classmethod
    def gaussian(cls, epsilon: float, delta: float) -> Ceiling:
        """Gaussian releases that together spend (epsilon, delta); whoever guesses is right with Phi(mu / 2) at most."""
        mu = accounting.gaussian_mu(epsilon, delta)
        return cls((1 + accounting.gaussian_advantage(mu)) / 2, mu, epsilon, delta)


@dataclass(frozen=True)
class Won:
    """The yield of an attack: ``hits`` of ``judged`` trials, with the ends of the 95 % interval of that share.

    ``trials``: all of them, those too that chose the threshold. For scores also the area under the curve, the hit rates
    at 1 % and at 0.1 % false alarms, lower bounds on mu and epsilon at 95 %, and the ``curve`` of hits against false
    alarms. The strict bounds, on which the verdict rests, are wider: see ``statistics.STRICT``.
    """

    trials: int
    judged: int
    hits: int
    low: float
    high: float
    auc: float | None = None
    hit_rate: float | None = None
    rare_hit_rate: float | None = None
    mu: float | None = None
    epsilon: float | None = None
    strict_share: float = 0.0
    strict_mu: float | None = None
    strict_epsilon: float | None = None
    curve: Sequence[tuple[float, float]] = ()

    @property
    def share(self) -> float:
        """The share of the judged trials that was won."""
        return self.hits / self.judged

    @classmethod
    def counted(cls, hits: int, trials: int) -> Won:
        """Trials that are won or lost, without a score."""
        low, high = clopper_pearson(hits, trials)
        return cls(trials, trials, hits, low, high, strict_share=clopper_pearson(hits, trials, STRICT)[0])

    @classmethod
    def scored(cls, scores: Scores, ceiling: Ceiling) -> Won:
        """Trials with a score; bounds are taken of what the ceiling speaks of."""
        hits, judged = scores.guesses()
        low, high = clopper_pearson(hits, judged)
        for_epsilon = scores.rates_for_epsilon(ceiling.delta)
        for_mu = None if ceiling.mu is None else scores.rates_for_mu()
        return cls(
            trials=scores.trials,
            judged=judged,
            hits=hits,
            low=low,
            high=high,
            auc=scores.area(),
            hit_rate=scores.hit_rate(),
            rare_hit_rate=scores.hit_rate(0.001),
            mu=None if for_mu is None else float(for_mu.mu()),
            epsilon=float(for_epsilon.epsilon(ceiling.delta)),
            strict_share=clopper_pearson(hits, judged, STRICT)[0],
            strict_mu=None if for_mu is None else float(for_mu.mu(STRICT)),
            strict_epsilon=float(for_epsilon.epsilon(ceiling.delta, STRICT)),
            curve=scores.curve(),
        )

    def beyond(self, ceiling: Ceiling) -> bool:
        """Whether more was won than the ceiling allows, beyond chance."""
        pairs = (
            (self.strict_share, ceiling.share),
            (self.strict_mu, ceiling.mu),
            (self.strict_epsilon, ceiling.epsilon),
        )
        return any(won is not None and most is not None and won > most for won, most in pairs)


@dataclass(frozen=True)
class Outcome:
    """Both halves of an attack: what it wins here and on its ``twin``, and the ceiling that it may not pass here.

    ``beside``: shares that were won under other circumstances, by their name, to compare with.
    """

    ours: Won
    twin: Won
    ceiling: Ceiling
    beside: Mapping[str, float] = field(default_factory=dict)

    @classmethod
    def scored(cls, ours: Scores, twin: Scores, ceiling: Ceiling) -> Outcome:
        """Trials with scores."""
        return cls(Won.scored(ours, ceiling), Won.scored(twin, ceiling), ceiling)

    @classmethod
    def counted(cls, ours: int, twin: int, trials: int, most: float) -> Outcome:
        """Trials that are won or lost, of which a share of ``most`` may be won."""
        return cls(Won.counted(ours, trials), Won.counted(twin, trials), Ceiling(most))


class Attack:
    """One attack on the program's own code. Every subclass has a file of its own, named as the attack.

    ``claim``: what is true if it fails; ``twin``: the same without the protection, where it must succeed; ``formal``:
    whether its trials are independent, so that its bounds hold with their confidence.
    """

    claim: ClassVar[str]
    view: ClassVar[View]
    needs: ClassVar[str]
    twin: ClassVar[str]
    formal: ClassVar[bool] = True

    def run(self, context: Context) -> Outcome:
        """Attack, here and the twin."""
        raise NotImplementedError


class ScoredAttack(Attack):
    """One that scores records, and does the same where nothing protects them."""

    def run(self, context: Context) -> Outcome:
        """Score with the protection and without it."""
        ours, twin = (self.scores(context, protected=protected) for protected in (True, False))
        return Outcome.scored(ours, twin, self.ceiling(context.terms))

    def scores(self, context: Context, *, protected: bool) -> Scores:
        """The scores of one half."""
        raise NotImplementedError

    def ceiling(self, terms: AttackTerms) -> Ceiling:
        """The most that was promised: what training as a whole may tell, unless an attack is at something else."""
        return terms.ceiling

    def trials(self, context: Context) -> int:
        """How many it takes, where they are cheap."""
        mu = self.ceiling(context.terms).mu
        assert mu is not None
        return context.cheap_trials(mu)


@dataclass(frozen=True)
class Finding:
    """One attack's line in a review.

    ``verdict``: "holds"; "FAILS" where more was won than the ceiling allows; "blind" where nothing was won on the twin
    either, so that the attack shows nothing.
    """

    name: str
    claim: str
    view: View
    needs: str
    twin_is: str
    formal: bool
    ours: Won
    twin: Won
    ceiling: Ceiling
    verdict: Verdict
    beside: Mapping[str, float] = field(default_factory=dict)

    @classmethod
    def of(cls, name: str, attack: Attack, outcome: Outcome) -> Finding:
        """The finding with its verdict."""
        ours, twin, ceiling = outcome.ours, outcome.twin, outcome.ceiling
        verdict: Verdict = "holds" if twin.beyond(ceiling) else "blind"
        if ours.beyond(ceiling):
            verdict = "FAILS"
        about = (attack.claim, attack.view, attack.needs, attack.twin, attack.formal)
        return cls(name, *about, ours, twin, ceiling, verdict, outcome.beside)

    def tree(self) -> dict[str, Any]:
        """The finding as JSON-ready values."""
        found = asdict(self)
        for side in ("ours", "twin"):
            found[side]["share"] = getattr(self, side).share
            found[side]["curve"] = [list(point) for point in getattr(self, side).curve]
        return {**found, "confidence": CONFIDENCE, "strict_confidence": STRICT}


def balanced(trials: int) -> np.ndarray:
    """Attributes int64 (trials,) of which every other one is 1."""
    return np.arange(trials, dtype=np.int64) % 2


def blocks(trials: int, size: int) -> Sequence[np.ndarray]:
    """Records int64 in blocks of this size, whole ones alone."""
    whole = trials // size
    return [np.arange(start * size, (start + 1) * size, dtype=np.int64) for start in range(whole)]
