"""A developer that deviates at random: everybody ends in good order, and what was opened tells no more than accounted.

The parties are the program's own, each in its process, over mutual TLS (``tests.parties.trio``): enrolment, gate,
ledger, proof and dealer. What is not run is the training, in whose place the same is asked for many times, and the
command line, whose exit codes are taken from the errors instead.

A deviation is repeated on two auditors' stores that differ in one person's attribute. An attack on what it had opened
learns on the first two fifths of the answers how those of the two stores differ, and guesses of the others from which
store they are. The Clopper-Pearson bounds of both its rates give a lower bound on mu, to be compared with the ledger's.
Answers are few: of a single deviation only a gross excess would be found (mu 5 where .5 is accounted, in 60 answers of
either store), of all together a smaller one. Where the run ends before its last request they are not judged at all.
Who spoils its own key with the auditor opens random numbers, and the attack has nothing to learn from.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest
from scipy.special import ndtri
from scipy.stats import beta

from tests.parties.deviations import VALUES, Deviation
from tests.parties.trio import Run, Trio

MU = 0.5  # of a moment
TURNS = 60  # requests of one run, in the long test
DOCUMENTED = {0, 3, 4, 5}  # exit codes of who follows the protocol
ERROR = 1e-6  # for each deviation: one false alarm in a thousand for a thousand of them


@pytest.fixture(scope="module")
def trio(tmp_path_factory: pytest.TempPathFactory, weights: Path) -> Iterator[Trio]:
    with Trio(tmp_path_factory.mktemp("trio"), weights, mu=MU, most=2 * TURNS) as started:
        yield started


@dataclass(frozen=True)
class Guesses:
    """An attack's guesses: how often it says "the other store" rightly, and how often wrongly, of so many each."""

    hits: int = 0
    alarms: int = 0
    trials: int = 0

    def __add__(self, other: Guesses) -> Guesses:
        return Guesses(self.hits + other.hits, self.alarms + other.alarms, self.trials + other.trials)

    def least_mu(self, error: float) -> float:
        """A lower bound on mu, wrong with probability ``error`` at most: Phi^-1(hit rate) - Phi^-1(false alarms).

        Of guesses on several releases of the same mu too: the pairs of rates that mu allows are a convex set.
        """
        if not self.trials:
            return 0.0
        least = float(beta.ppf(error / 2, self.hits, self.trials - self.hits + 1)) if self.hits else 0.0
        missed = self.trials - self.alarms
        most = float(beta.ppf(1 - error / 2, self.alarms + 1, missed)) if missed else 1.0
        return float(ndtri(least) - ndtri(most))


def guesses(first: np.ndarray, second: np.ndarray) -> Guesses:
    """The attack on answers (n, k) of two stores."""
    practice = 2 * len(first) // 5
    known, other = first[:practice], second[:practice]
    spread = np.concatenate([known - known.mean(0), other - other.mean(0)]).std(0) + 1e-12
    direction = (other.mean(0) - known.mean(0)) / spread**2
    threshold = (other.mean(0) + known.mean(0)) @ direction / 2
    hits, alarms = (int((values[practice:] @ direction > threshold).sum()) for values in (second, first))
    return Guesses(hits, alarms, len(first) - practice)


def played(trio: Trio, deviation: Deviation, turns: int, *, neighbour: bool = False, checked: bool = True) -> Run:
    """One run, and that everybody ended in good order. Repeated where the machine was too slow to connect."""
    for _ in range(3):
        run = trio.run(deviation.operation, deviation, turns=turns, neighbour=neighbour, checked=checked)
        said = " ".join(end.said for end in run.ended.values())
        if "not connected within" not in said and "silent for" not in said:
            break
    for name in ("auditor", "dealer"):
        assert run.ended[name].code in DOCUMENTED, (deviation, name, run.ended[name])
    usage = {2} if deviation.place[0] == VALUES else set()  # its own checks, where not all are switched off
    assert run.ended["developer"].code in DOCUMENTED | usage, (deviation, run.ended["developer"])
    assert len(run.opened) <= len(run.accounted), (deviation, "opened and not accounted")
    return run


def judged(trio: Trio, deviation: Deviation, turns: int) -> tuple[int, float, Guesses]:
    """How many values were opened, their mu, and the attack's guesses, which stay within it.

    Whether something is opened is the same for both stores: a refusal tells nothing.
    """
    first = played(trio, deviation, turns)
    if not len(first.opened):
        return 0, 0.0, Guesses()
    second = played(trio, deviation, turns, neighbour=True)
    assert (len(second.opened), second.accounted) == (len(first.opened), first.accounted), deviation
    mu = max(first.accounted)
    found = guesses(first.opened, second.opened) if len(first.opened) == turns else Guesses()
    assert found.least_mu(ERROR) <= mu, (deviation, found, mu)
    return len(first.opened), mu, found


@pytest.mark.parametrize("seed", [*range(8), *(pytest.param(seed, marks=pytest.mark.long) for seed in range(8, 20))])
def test_a_deviating_developer_ends_in_good_order_and_learns_no_more(trio: Trio, seed: int) -> None:
    """Few answers each: mostly that everybody ends, and how."""
    judged(trio, Deviation.of(seed), 8)


@pytest.mark.long
@pytest.mark.timeout(7200)
@pytest.mark.parametrize("hundred", range(10))
def test_a_thousand_deviations(trio: Trio, hundred: int) -> None:
    """A hundred at a time, each with the answers of both stores; those of one mu are judged together as well."""
    together: dict[float, Guesses] = {}
    opened: Counter[str] = Counter()
    for seed in range(100 * hundred, 100 * (hundred + 1)):
        count, mu, found = judged(trio, Deviation.of(seed), TURNS)
        opened["all" if count == TURNS else "some" if count else "none"] += 1
        if found.trials:
            together[mu] = together.get(mu, Guesses()) + found
    assert opened["none"] > 30  # most are refused, and some are not
    assert opened["all"] > 3
    for mu, found in together.items():
        assert found.least_mu(ERROR) <= mu, (mu, found)


LONG_ROWS = Deviation(8, "moment", (VALUES, "", 1), "rows too long")


def test_without_the_check_long_rows_tell_more_than_accounted(trio: Trio) -> None:
    """The same attack, on an auditor that takes every proof for good: its ledger says .5, the answers tell more."""
    first, second = (played(trio, LONG_ROWS, TURNS, neighbour=other, checked=False) for other in (False, True))
    assert len(first.opened) == len(second.opened) == TURNS
    assert guesses(first.opened, second.opened).least_mu(ERROR) > max(first.accounted) > 0
    assert len(played(trio, LONG_ROWS, TURNS).opened) == 0  # and with the check nothing is opened


@pytest.mark.parametrize("seed", range(3))
def test_guesses_of_gaussians_bound_their_mu(seed: int) -> None:
    """The attack's bound stays below a known mu and comes near it where answers are many."""
    rng = np.random.default_rng(seed)
    first, second = rng.normal(size=(20_000, 3)), rng.normal(size=(20_000, 3)) + np.array([0.3, 0.0, 0.4])
    assert 0.35 < guesses(first, second).least_mu(1e-6) <= 0.5
