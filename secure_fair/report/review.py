"""A review as a table, and as a page: each attack here, on its unprotected twin, and what it may win at most."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from secure_fair.files import write_bytes
from secure_fair.report.curves import curves
from secure_fair.report.tables import Table
from secure_fair.report.templates import template

Review = Mapping[str, Any]
JSON, PAGE = "review.json", "review.html"
LEGEND = (
    "won: share of trials, half of them right by chance where there is a percentage at most; proved: lower bound at "
    "95 %; the verdicts rest on bounds at 99.99 %, so that all hold together with 99 %"
)


def write_review(folder: Path, review: Review) -> list[Path]:
    """Write ``review.json`` and ``review.html`` into a folder; returns both paths."""
    folder.mkdir(parents=True, exist_ok=True)
    written = [folder / JSON, folder / PAGE]
    write_bytes(written[0], (json.dumps(review, indent=2) + "\n").encode())
    write_bytes(written[1], render(review).encode())
    return written


def render(review: Review) -> str:
    """The page: no script, nothing from outside."""
    from markupsafe import Markup

    return template("review.html").render(
        review=review,
        table=overview(review),
        # drawn by this program from numbers: not escaped again
        details=[(finding, details(finding), Markup(curves(finding))) for finding in review["findings"]],
        counts={verdict: len(names(review, verdict)) for verdict in ("holds", "FAILS", "blind")},
    )


def names(review: Review, verdict: str) -> list[str]:
    """The attacks with this verdict."""
    return [finding["name"] for finding in review["findings"] if finding["verdict"] == verdict]


def overview(review: Review) -> Table:
    """One row per attack."""
    rows = tuple(
        (
            finding["name"],
            percent(finding["ours"]["share"]),
            percent(finding["twin"]["share"]),
            percent(finding["ceiling"]["share"]),
            proved(finding["ours"], finding["ceiling"]),
            claimed(finding["ceiling"]),
            finding["verdict"],
        )
        for finding in review["findings"]
    )
    return Table(("attack", "won here", "on its twin", "at most", "proved here", "claimed", "verdict"), rows)


def details(finding: Mapping[str, Any]) -> Table:
    """Both halves of one attack."""
    rows = tuple(
        (
            side,
            str(won["trials"]),
            f"{percent(won['share'])} ({percent(won['low'])} to {percent(won['high'])})",
            number(won["auc"]),
            number(won["hit_rate"]),
            number(won["rare_hit_rate"]),
            number(won["mu"]),
            number(won["epsilon"]),
        )
        for side, won in (("here", finding["ours"]), ("twin", finding["twin"]))
    )
    header = ("", "trials", "won (95 % interval)", "AUC", "hits at 1 % alarms", "at 0.1 %", "mu above", "epsilon above")
    return Table(header, rows)


def demo_text(review: Review) -> str:
    """One line for each attack, for a newcomer."""
    return "\n".join(
        f"{finding['name']}: {finding['twin_is']}: {percent(finding['twin']['share'])} won; here "
        f"{percent(finding['ours']['share'])}, of {percent(finding['ceiling']['share'])} allowed: {finding['verdict']}"
        for finding in review["findings"]
    )


def proved(won: Mapping[str, Any], ceiling: Mapping[str, Any]) -> str:
    """The lower bound on what is claimed."""
    if ceiling["mu"] is not None:
        return f"mu {won['mu']:.3f}"
    return "-" if ceiling["epsilon"] is None else f"epsilon {won['epsilon']:.3f}"


def claimed(ceiling: Mapping[str, Any]) -> str:
    """The guarantee, or a dash where an attack may win nothing, or only guess."""
    if ceiling["mu"] is not None:
        return f"mu {ceiling['mu']:.3f}"
    return "-" if ceiling["epsilon"] is None else f"epsilon {ceiling['epsilon']:.3g}"


def percent(share: float) -> str:
    """A share in percent."""
    return f"{100 * share:.1f} %"


def number(value: float | None) -> str:
    """A number to three places, or a dash."""
    return "-" if value is None else f"{value:.3f}"
