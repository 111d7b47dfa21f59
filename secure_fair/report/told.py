"""The most that an attacker may make of each kind of release: in mu, in guesses of a hundred, in rare false alarms."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from scipy.special import ndtr, ndtri

from secure_fair.privacy.accounting import gaussian_advantage, response_advantage
from secure_fair.report.tables import Summary, Table, method_name, right_of, runs_of

RARE = 0.01  # of false alarms
UNUSED = 0.995  # of the epsilon asked for: whoever spent less than that has a reserve left


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
    entries = summary["privacy"].get("attributes", {})
    spent = {
        name: one["epsilon"] for name, one in entries.items() if one.get("releases") and one["epsilon"] is not None
    }
    if not spent:
        return text
    text += (
        f" Spent, by whoever spent most: {', '.join(f'{epsilon:.3g} on {name}' for name, epsilon in spent.items())}."
    )
    if min(spent.values()) < UNUSED * max(wanted[name] or 0 for name in ("epsilon", "evaluation_epsilon")):
        text += " What is left was kept for a release that is interrupted and made again."
    return text


def unprotected(summary: Summary) -> list[str]:
    """Everything that a run does not protect, in sentences for whoever decides by its report (docs/security.md)."""
    if summary["mode"] != "secure":
        return ["Anything: one process saw pictures, labels and attributes together."]
    told = [
        "Against a dealer that tells another party what it dealt: together they have the attributes.",
        "How an attribute shows in pictures: a fair model, and what was opened to train it, teach that of people of a "
        "kind, with any epsilon.",
        "Which records take part, how many are in training and in the test, and how long everything takes.",
        "Against any party that stops the run.",
    ]
    if any(line["exact"] for run in runs_of(summary) for line in run.get("openings", [])):
        told.insert(0, "Attributes: exact values were opened, from which they can be computed.")
    return told
