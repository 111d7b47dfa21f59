"""The review of a run as tables, and as a page: what was checked, who learned what, what was spent."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from secure_fair.files import write_bytes
from secure_fair.report.review import JSON, PAGE
from secure_fair.report.tables import Table
from secure_fair.report.templates import template
from secure_fair.report.told import right_of

Review = Mapping[str, Any]


def write_run_review(folder: Path, review: Review) -> list[Path]:
    """Write ``review.json`` and ``review.html`` into a folder, for its owner alone; returns both paths."""
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    written = [folder / JSON, folder / PAGE]
    write_bytes(written[0], (json.dumps(review, indent=2) + "\n").encode())
    write_bytes(written[1], render(review).encode())
    return written


def render(review: Review) -> str:
    """The page: no script, nothing from outside."""
    return template("run_review.html").render(
        review=review,
        checked=checked(review),
        learned=learned(review),
        accounts=accounts(review),
        failing=[check for check in review["checks"] if check["verdict"] == "FAILS"],
    )


def checked(review: Review) -> Table:
    """One row per check."""
    rows = tuple((one["run"], one["name"], one["verdict"], one["says"]) for one in review["checks"])
    return Table(("run", "check", "verdict", "found"), rows)


def learned(review: Review) -> Table:
    """One row per kind of release, as both ledgers have it."""
    rows = tuple(
        (
            one["run"],
            one["operation"],
            one["about"],
            one["of"],
            one["by"],
            f"{one['received']} of {one['releases']}" if one["by"] == "developer" else str(one["releases"]),
            str(one["numbers"]),
            "-" if one["sigma"] is None else f"{one['sigma']:.4g}",
            "inf" if one["mu"] is None else f"{one['mu']:.3f}",
            right_of(one["advantage"]),
        )
        for one in review["learned"]
    )
    header = ("run", "what", "about", "of", "learned by", "releases", "numbers", "sigma", "mu", "a guess is right")
    return Table(header, rows)


def accounts(review: Review) -> Table:
    """One row per attribute and auditor: everything together, counted again."""
    rows = tuple(
        (
            one["run"],
            one["attribute"],
            one["auditor"],
            str(one["releases"]),
            "inf" if one["mu"] is None else f"{one['mu']:.3f}",
            "none: exact" if one["epsilon"] is None else f"{one['epsilon']:.4g}",
            right_of(one["advantage"]),
        )
        for one in review["accounts"]
    )
    return Table(("run", "attribute", "auditor", "releases", "mu", "epsilon", "a guess is right"), rows)


def text(review: Review) -> str:
    """The review for a terminal."""
    parts = [checked(review).text(), learned(review).text(), accounts(review).text()]
    parts += [f"warning: {warning}" for warning in review["warnings"]]
    return "\n\n".join(parts)
