"""index.html: several finished runs side by side, a table for each task and attribute, with links to their reports."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path
from urllib.parse import quote

from secure_fair.files import write_bytes
from secure_fair.report import tables
from secure_fair.report.html import REPORT, SUMMARY, read_summary, write_report
from secure_fair.report.templates import template

INDEX = "index.html"


def runs_below(folders: Sequence[Path]) -> list[Path]:
    """Every run's folder among these and right below them, in the order of their names."""
    found = [folder for folder in folders if (folder / SUMMARY).is_file()]
    for parent in (folder for folder in folders if folder not in found):
        found += sorted(one for one in parent.iterdir() if (one / SUMMARY).is_file())
    return list(dict.fromkeys(found))


def side_by_side(folders: Sequence[Path]) -> dict[str, tables.Table]:
    """A table for each task and attribute: a row for each run's main method, and one for each that it compares with.

    UsageError where a folder has no finished run.
    """
    rows: dict[str, list[tables.Cells]] = {}
    for folder in folders:
        summary = read_summary(folder)
        for run in tables.runs_of(summary):
            for attribute, found in tables.fairness_of(run).items():
                ends, names = found.get("intervals") or {}, (*tables.GAP_LABELS, "worst_group_accuracy")
                accuracy = tables.between(run["utility"]["accuracy"], (run.get("intervals") or {}).get("accuracy"))
                cells = [tables.between(found.get(name), ends.get(name)) for name in names]
                row = (folder.name, tables.method_name(run), tables.spent(run, attribute), accuracy, *cells)
                rows.setdefault(f"{tables.task_of(summary)} by {attribute}", []).append(row)
    header = ("run", "method", "epsilon", "accuracy", *tables.GAP_LABELS.values(), "worst group's accuracy")
    return {task: tables.Table(header, tuple(found)) for task, found in rows.items()}


def write_index(folders: Sequence[Path], out: Path) -> Path:
    """Write the page at ``out``, and the report of every run that has none; returns its path."""
    made = side_by_side(folders)
    links = {}
    for folder in folders:
        if not (folder / REPORT).is_file():
            write_report(folder)
        links[folder.name] = quote(os.path.relpath(folder / REPORT, out.parent))
    page = template("index.html").render(runs=links, tables=made, legend=tables.GAP_LEGEND)
    write_bytes(out, page.encode())  # exact rates are the experimenter's alone, wherever the page stands
    return out
