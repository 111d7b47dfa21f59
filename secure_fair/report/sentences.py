"""A run in sentences for a person who decides: what got better, what got worse, what is within chance."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

from secure_fair.report.tables import Summary, attributes_of, by_chance, fairness_of, method_name, share, task_of

GAPS = {
    "demographic_parity_difference": "the gap between selection rates",
    "equalized_odds_difference": "the equalized-odds difference",
}
# rates of a group, of whose records they are a share, and whether more is better
RATES = {
    "accuracy": ("accuracy", True),
    "true_positive_rate": ("true positive rate", True),
    "false_positive_rate": ("false positive rate", False),
}
SMALLEST = 0.01  # a change of less is not told
PRICES = 2  # in the headline


def baseline_of(summary: Summary) -> Summary | None:
    """The compared run that others are judged by: erm's where there is one, else the first."""
    compared: Sequence[Summary] = summary.get("compare", [])
    return next((run for run in compared if run["method"] == "erm"), next(iter(compared), None))


def headline(summary: Summary) -> list[str]:
    """A sentence or two for each attribute: its gap before and after, what chance alone would show, accuracy, and the
    price, whoever pays it."""
    told = []
    before = baseline_of(summary)
    for name in attributes_of(summary):
        after = fairness_of(summary).get(name, {}).get("demographic_parity_difference")
        if after is None:
            continue
        text = f"{task_of(summary)} by {name}: {method_name(summary)}{_epsilon(summary, name)}"
        floor = by_chance(summary, name, "demographic_parity_difference")
        chance = "" if floor is None else f" (chance alone would show {share(floor)})"
        accuracy = share(summary["utility"]["accuracy"])
        was = None if before is None else fairness_of(before).get(name, {}).get("demographic_parity_difference")
        if before is None or was is None:
            told.append(f"{text} has a gap between selection rates of {share(after)}{chance} at accuracy {accuracy}.")
            continue
        told.append(
            f"{text} brings the gap between selection rates from {share(was)}, which {method_name(before)} has, to "
            f"{share(after)}{chance}, and accuracy from {share(before['utility']['accuracy'])} to {accuracy}. "
            f"{_price(before, summary, name)}"
        )
    return told


def _price(before: Summary, after: Summary, attribute: str) -> str:
    """A sentence with what got worst for groups of the attribute."""
    found = sorted(_group_changes(before, after, attribute), key=lambda change: change[1])
    lost = [text for text, gain in found if gain <= -SMALLEST][:PRICES]
    return f"The price: {'; '.join(lost)}." if lost else "No group lost a point or more of any rate."


def changes(summary: Summary) -> tuple[list[str], list[str]]:
    """List what got better and what got worse than with the baseline, the largest change first."""
    before = baseline_of(summary)
    if before is None:
        return [], []
    found = sorted(_changes(before, summary), key=lambda change: -abs(change[1]))
    better, worse = ([text for text, gain in found if gain * sign >= SMALLEST] for sign in (1, -1))
    return better, worse


def cautions(summary: Summary) -> list[str]:
    """Gaps of the baseline or the main method that chance alone would show, and that so say nothing."""
    told = []
    for run in (baseline_of(summary), summary):
        if run is None:
            continue
        for name in attributes_of(summary):
            for gap, words in GAPS.items():
                value, floor = fairness_of(run).get(name, {}).get(gap), by_chance(run, name, gap)
                if value is not None and floor is not None and value <= floor:
                    told.append(
                        f"{method_name(run)}: {words} by {name} is {share(value)}, and chance alone would show "
                        f"{share(floor)}: so few test records cannot tell it from none"
                    )
    return told


def _changes(before: Summary, after: Summary) -> Iterator[tuple[str, float]]:
    """Every change as text and by how much it is for the better."""
    for key, words in (("accuracy", "accuracy"), ("balanced_accuracy", "balanced accuracy")):
        yield from _change(words, before["utility"].get(key), after["utility"].get(key), True)
    for name in attributes_of(after):
        one, other = (fairness_of(run).get(name, {}) for run in (before, after))
        for gap, words in GAPS.items():
            yield from _change(f"{words} by {name}", one.get(gap), other.get(gap), False)
        yield from _group_changes(before, after, name)


def _group_changes(before: Summary, after: Summary, attribute: str) -> Iterator[tuple[str, float]]:
    """The same of the rates of an attribute's groups alone."""
    one, other = (fairness_of(run).get(attribute, {}).get("groups", {}) for run in (before, after))
    for group, rates in other.items():
        for rate, (words, more) in RATES.items():
            yield from _change(f"{words} of {group}", one.get(group, {}).get(rate), rates.get(rate), more)


def _change(words: str, before: Any, after: Any, more_is_better: bool) -> Iterator[tuple[str, float]]:
    if isinstance(before, float | int) and isinstance(after, float | int):
        yield f"{words} {share(before)} → {share(after)}", (after - before) * (1 if more_is_better else -1)


def _epsilon(summary: Summary, attribute: str) -> str:
    """The epsilon that releases of the attribute have spent, where they are noised."""
    spent = summary.get("privacy", {}).get("attributes", {}).get(attribute)
    if not spent or not spent.get("releases"):
        return ""
    return " by exact releases" if spent["epsilon"] is None else f" at epsilon {spent['epsilon']:.2g}"
