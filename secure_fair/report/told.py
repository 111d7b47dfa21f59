"""The most that an attacker may make of each kind of release: in mu, in guesses of a hundred, in rare false alarms."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from scipy.special import ndtr, ndtri

from secure_fair.privacy.accounting import gaussian_advantage, response_advantage
from secure_fair.report.tables import Summary, Table, method_name, runs_of

RARE = 0.01  # of false alarms


def right_of(advantage: float) -> str:
    """How many of 100 guesses of a fair coin are right at most."""
    return f"{100 * (1 + advantage) / 2:.1f} of 100"


def kinds(summary: Summary) -> Table:
    """One row per method and kind of release that tells of attributes of the people in the table, all of its releases
    together: mu, the advantage, guesses that are right at most, people found at 1 % false alarms."""
    rows = tuple(
        (method_name(run), str(line["operation"]), str(line.get("attribute") or "-"), *_cells(line))
        for run in runs_of(summary)
        for line in run.get("openings", [])
        if line["exact"] or line.get("mu") or line.get("epsilon")
    )
    header = ("method", "operation", "attribute", "mu", "advantage", "a guess is right, at most", "found at 1 % alarms")
    return Table(header, rows)


def _cells(line: Mapping[str, Any]) -> tuple[str, ...]:
    if line["exact"]:
        return "inf: exact", "1.000", right_of(1.0), "100.0 %"
    if line.get("mu"):
        mu = float(line["mu"])
        advantage, found = gaussian_advantage(mu), float(ndtr(ndtri(RARE) + mu))
        return f"{mu:.3f}", f"{advantage:.3f}", right_of(advantage), f"{100 * found:.1f} %"
    epsilon = float(line["epsilon"])  # an answer at random: of two groups, of which one tells most
    advantage = response_advantage(epsilon, 2)
    found = min(RARE * (1 + advantage) / (1 - advantage), 1.0)
    return f"- (epsilon {epsilon:.3g})", f"{advantage:.3f}", right_of(advantage), f"{100 * found:.1f} %"


def asked(summary: Summary) -> str:
    """A sentence on what the scenario asked for and what was spent; nothing where it asked for no epsilon."""
    wanted: Mapping[str, Any] = summary.get("privacy", {}).get("asked") or {}
    if not wanted:
        return ""
    if wanted.get("epsilon") is None:
        return "Asked for: no epsilon. Releases are exact."
    text = f"Asked for: epsilon {wanted['epsilon']:g} in training"
    if wanted.get("evaluation_epsilon") is not None:
        text += f", {wanted['evaluation_epsilon']:g} in evaluation"
    text += f", at delta {wanted['delta']:g}."
    spent = [
        f"{entry['epsilon']:.3g} on {name}"
        for name, entry in summary["privacy"].get("attributes", {}).items()
        if entry.get("epsilon") is not None
    ]
    return f"{text} Spent, by whoever spent most: {', '.join(spent)}." if spent else text
