"""report.html: one page without outside parts that says what a run achieved, opened, cost and left unprotected."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from secure_fair.errors import UsageError
from secure_fair.files import write_bytes
from secure_fair.report import audit, figures, sentences, tables, told
from secure_fair.report.templates import template

SUMMARY = "summary.json"
REPORT = "report.html"
NOT_SECURITY = ("warnings",)


def write_report(folder: Path) -> Path:
    """Write ``report.html`` into a run folder from its ``summary.json``, and ``audit.csv`` where counts were released;
    returns the page's path.

    Raises ``UsageError`` where the folder holds no finished run.
    """
    summary = read_summary(folder)
    extra = {name: _text(folder / name) for name in ("scenario.toml", "environment.json")}
    tables_of_audit = audit.audit_of_run(summary)
    if tables_of_audit["attributes"]:
        write_bytes(folder / audit.LINES, audit.lines(tables_of_audit).encode())
    page = folder / REPORT
    page.write_text(render(summary, extra, _rounds(folder, summary)), encoding="utf-8")
    return page


def read_summary(folder: Path) -> tables.Summary:
    """The summary of a finished run's folder. Raises ``UsageError`` where it holds none."""
    path = folder / SUMMARY
    try:
        summary = json.loads(path.read_text(encoding="utf-8"))
    except (FileNotFoundError, NotADirectoryError):
        raise UsageError(f"{path}: is missing; name the folder of a run that has ended") from None
    except (ValueError, RecursionError) as error:  # not JSON, or not text
        raise UsageError(f"{path}: is not JSON: {error}") from error
    missing = {"scenario", "method", "mode", "seed", "utility"} - summary.keys() if isinstance(summary, dict) else {"{"}
    if missing:
        raise UsageError(f"{path}: is no run's summary; it lacks {', '.join(sorted(missing))}")
    return dict(summary)


def _rounds(folder: Path, summary: tables.Summary) -> dict[str, figures.Rounds]:
    """Read what the developer of each method wrote at every epoch, where it did; the main one's last."""
    folders = {tables.method_name(run): folder / "compare" / str(run["method"]) for run in summary.get("compare", [])}
    folders[tables.method_name(summary)] = folder
    texts = {name: _text(one / "developer" / "rounds.jsonl") for name, one in folders.items()}
    try:
        return {name: [json.loads(line) for line in text.splitlines()] for name, text in texts.items() if text}
    except (ValueError, RecursionError) as error:
        raise UsageError(f"{folder}: a rounds.jsonl of its developers is damaged: {error}") from error


def render(summary: tables.Summary, files_shown: Mapping[str, str], rounds: Mapping[str, figures.Rounds]) -> str:
    """The page of a summary; ``files_shown`` are appended as they are, under their names."""
    attributes = tables.attributes_of(summary)
    better, worse = sentences.changes(summary)
    baseline = sentences.baseline_of(summary)
    return template("page.html").render(
        summary=summary,
        task=summary.get("task"),
        main=tables.method_name(summary),
        mode="on shares between separate processes" if summary["mode"] == "secure" else "in the clear in one process",
        headline=sentences.headline(summary),
        better=better,
        worse=worse,
        baseline=None if baseline is None else tables.method_name(baseline),
        legend=tables.GAP_LEGEND,
        methods=tables.methods(summary),
        gaps={name: tables.gaps(summary, name) for name in attributes},
        past=tables.past(summary),
        past_agreement=tables.past_agreement(summary),
        figures=_figures(summary, rounds),
        groups={name: tables.groups(summary, name) for name in attributes},
        path=tables.path(summary),
        intersections=tables.intersections(summary),
        pictures=tables.pictures(summary),
        released=tables.released(summary),
        audits=[
            (audit.title(name, found), audit.rates(found), audit.labelled_rates(found), audit.metrics(found))
            for name, found in audit.audit_of_run(summary)["attributes"].items()
        ],
        audit_legend=audit.LEGEND,
        claims=audit.verdicts(audit.audit_of_run(summary)),
        openings=tables.openings(summary),
        costs=tables.costs(summary),
        totals=_totals(summary),
        privacy=tables.privacy(summary),
        kinds=told.kinds(summary),
        asked=told.asked(summary),
        security={k: v for k, v in summary.get("security", {}).items() if k not in NOT_SECURITY},
        unprotected=told.unprotected(summary),
        warnings=[*sentences.cautions(summary), *tables.warnings(summary)],
        files_shown={name: text for name, text in files_shown.items() if text},
    )


def _figures(summary: tables.Summary, rounds: Mapping[str, figures.Rounds]) -> dict[str, dict[str, Any]]:
    """Every figure that the run has something for, with what it shows in words."""
    from markupsafe import Markup

    drawn: dict[str, tuple[Any, str]] = {}
    for place, name in enumerate(tables.attributes_of(summary)):
        drawn[f"fairness-utility-{place}"] = (
            figures.fairness_utility(summary, name),
            f"Accuracy against the gap by {name}; up and left is better.",
        )
        known = "group_intervals" in tables.fairness_of(summary)[name]
        drawn[f"selection-rates-{place}"] = (
            figures.selection_rates(summary, name),
            f"Selection rates by {name}: equal bars are fair.{' Thin lines are 95 % intervals.' if known else ''}",
        )
    for title, figure in figures.training(rounds).items():
        drawn[title.replace(" ", "-")] = (figure, f"Epoch by epoch, as the developer saw it: {title}.")
    # figures are drawn by this program from numbers and escaped names: the one part that is not escaped again
    return {
        name: {"drawn": Markup(figures.svg(figure, name, text)), "text": text}
        for name, (figure, text) in drawn.items()
        if figure is not None
    }


def _totals(summary: tables.Summary) -> dict[str, str]:
    cost: Mapping[str, Any] = summary.get("cost", {})
    return {
        name.replace("_", " "): tables.duration(cost[name])
        for name in ("training_seconds", "secure_seconds", "run_seconds")
        if cost.get(name) is not None
    }


def _text(path: Path) -> str:
    return path.read_text(encoding="utf-8") if path.is_file() else ""
