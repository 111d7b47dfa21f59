"""The attacker's advantage of a sweep's runs, and comparisons with randomised response at equal epsilon and advantage.

An epsilon says less than it seems to where mechanisms differ: at epsilon 1 and delta 1e-5 Gaussian noise leaves an
attacker an advantage of .107 on one person's binary attribute, randomised response .462. So both comparisons are made.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

from secure_fair.privacy.accounting import gaussian_advantage, gaussian_mu, response_advantage, response_epsilon
from secure_fair.report.columns import GAPS, SHORT, RunRow, independent_task, one_run
from secure_fair.report.differences import changes, measure_of, points
from secure_fair.report.intervals import TaskMean
from secure_fair.report.tables import Table

RESPONSES = "rr"  # the method that gives attributes away by randomised response
GAUSSIAN = ("moments", "histogram", "rows")  # releases of aligned records with Gaussian noise
COMPARED = ("accuracy", "balanced_accuracy", GAPS[0])
LEGEND = (
    "the method less randomised response of the same strength, task and seed; at equal advantage its result is "
    "interpolated between the epsilons that were run, in the logarithm of epsilon. Where lines do not say how many "
    "groups an attribute has, two are assumed, of which an answer tells most"
)

Answers = dict[tuple[tuple[str, ...], str], dict[float, RunRow]]


def advantage_of(row: Mapping[str, str]) -> float:
    """The most by which an attacker tells two values of one record's attribute apart: 0 without releases, 1 for exact.

    Closed forms for Gaussian noise and randomised response; for an adapter that was trained with DP-SGD the bound that
    holds for every (epsilon, delta), tanh(epsilon / 2) + delta (Kairouz, Oh and Viswanath 2015, by their hypothesis
    test), about a record of the auditor's own.
    """
    if not row["release"]:
        return 0.0
    epsilon = float(row["asked_epsilon"])
    if math.isinf(epsilon):
        return 1.0
    if row["release"] in GAUSSIAN:
        return gaussian_advantage(gaussian_mu(epsilon, float(row["delta"])))
    if row["release"] == "attributes":
        return response_advantage(epsilon, groups_of(row))
    return min(1.0, response_advantage(epsilon, 2) + float(row["delta"]))


def groups_of(row: Mapping[str, str]) -> int:
    """How many groups the row's attribute has; 2 where it does not say."""
    return int(row.get("groups") or 2)


def against_responses(rows: Sequence[RunRow]) -> Table | None:
    """Two lines per Gaussian method, strength and epsilon: against responses of equal epsilon, and of equal advantage.

    None where no run has a counterpart.
    """
    answers: Answers = {}
    for row in rows:
        if row["method"] == RESPONSES and _private(row):
            answers.setdefault((one_run(row), row["strength"]), {})[float(row["asked_epsilon"])] = row
    lines = []
    for (label, strength, epsilon), alike in points(
        r for r in rows if r["release"] in GAUSSIAN and _private(r)
    ).items():
        mu = gaussian_mu(float(epsilon), float(alike[0]["delta"]))
        advantage = gaussian_advantage(mu)
        for what in ("epsilon", "advantage"):
            wanted = [
                response_epsilon(advantage, groups_of(r)) if what == "advantage" else float(epsilon) for r in alike
            ]
            cells = _line(alike, wanted, answers)
            if cells is not None:
                lines.append((label, strength, epsilon, f"{mu:.3f}", f"{advantage:.3f}", what, *cells))
    header = ("method", "strength", "epsilon", "mu", "advantage", "equal", "epsilon of responses", "tasks", "runs")
    return Table((*header, *(f"Δ {SHORT[name]}" for name in COMPARED)), tuple(lines)) if lines else None


def _private(row: RunRow) -> bool:
    return bool(row["asked_epsilon"]) and math.isfinite(float(row["asked_epsilon"]))


def _line(rows: Sequence[RunRow], wanted: Sequence[float], answers: Answers) -> tuple[str, ...] | None:
    """The cells on rows against responses of the epsilon wanted for each of them; None where there are none."""
    pairs, used = [], set()
    for row, epsilon in zip(rows, wanted, strict=True):
        answer = _between(answers.get((one_run(row), row["strength"]), {}), epsilon)
        if answer is not None:
            pairs.append((row, answer))
            used.add(f"{epsilon:.3g}")
    if not pairs:
        return None
    found = [TaskMean.of(changes(pairs, measure_of(name))) for name in COMPARED]
    tasks = len({independent_task(row) for row, _ in pairs})
    return " / ".join(sorted(used)), str(tasks), str(len(pairs)), *(e.text() if e else "-" for e in found)


def _between(run: Mapping[float, RunRow], epsilon: float) -> Mapping[str, str] | None:
    """The metrics of responses at this epsilon, from the nearest ones below and above; None outside of them."""
    below = max((e for e in run if e <= epsilon * (1 + 1e-9)), default=None)
    above = min((e for e in run if e >= epsilon * (1 - 1e-9)), default=None)
    if below is None or above is None:
        return None
    part = 0.0 if below == above else math.log(epsilon / below) / math.log(above / below)
    found = {}
    for name in COMPARED:
        low, high = measure_of(name)(run[below]), measure_of(name)(run[above])
        if low is not None and high is not None:
            found[name] = repr((1 - part) * low + part * high)
    return found
