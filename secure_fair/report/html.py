"""report.html: one page without outside parts that says what a run achieved, opened, cost and left unprotected."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from secure_fair.errors import UsageError
from secure_fair.report import figures, tables
from secure_fair.report.templates import template

SUMMARY = "summary.json"
REPORT = "report.html"
NOT_SECURITY = ("warnings",)


def write_report(folder: Path) -> Path:
    """Write ``report.html`` into a run folder from its ``summary.json``; returns the page's path.

    Raises ``UsageError`` where the folder holds no finished run.
    """
    summary = read_summary(folder)
    extra = {name: _text(folder / name) for name in ("scenario.toml", "environment.json")}
    page = folder / REPORT
    page.write_text(render(summary, extra), encoding="utf-8")
    return page


def read_summary(folder: Path) -> dict[str, Any]:
    """The summary in a run folder. Raises ``UsageError`` where the folder holds no finished run."""
    path = folder / SUMMARY
    try:
        return dict(json.loads(path.read_text(encoding="utf-8")))
    except (FileNotFoundError, NotADirectoryError):
        raise UsageError(f"{path}: is missing; name the folder of a run that has ended") from None
    except ValueError as error:
        raise UsageError(f"{path}: is not JSON: {error}") from error


def render(summary: tables.Summary, files_shown: Mapping[str, str]) -> str:
    """The page of a summary; ``files_shown`` are appended as they are, under their names."""
    from markupsafe import Markup

    drawn = {"fairness-utility": figures.fairness_utility(summary), "selection-rates": figures.selection_rates(summary)}
    return template("page.html").render(
        summary=summary,
        main=tables.method_name(summary),
        headline=tables.methods(summary),
        # figures are drawn by this program from numbers and escaped names: the one part that is not escaped again
        figures={name: Markup(figures.svg(figure, name)) for name, figure in drawn.items() if figure is not None},
        groups={name: tables.groups(summary, name) for name in tables.attributes_of(summary)},
        intersections=tables.intersections(summary),
        pictures=tables.pictures(summary),
        released=tables.released(summary),
        openings=tables.openings(summary),
        costs=tables.costs(summary),
        totals=_totals(summary),
        privacy=tables.privacy(summary),
        security={k: v for k, v in summary.get("security", {}).items() if k not in NOT_SECURITY},
        warnings=tables.warnings(summary),
        files_shown={name: text for name, text in files_shown.items() if text},
    )


def _totals(summary: tables.Summary) -> dict[str, str]:
    cost: Mapping[str, Any] = summary.get("cost", {})
    return {
        name.replace("_", " "): tables.duration(cost[name])
        for name in ("training_seconds", "secure_seconds", "run_seconds")
        if cost.get(name) is not None
    }


def _text(path: Path) -> str:
    return path.read_text(encoding="utf-8") if path.is_file() else ""
