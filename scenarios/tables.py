"""The result of a run as tables of text: methods side by side, and what was opened to whom."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

Row = tuple[str, ...]


def methods_table(summary: Mapping[str, Any]) -> tuple[Row, list[Row]]:
    """Header and one row per method: the compared ones first, the main one last."""
    runs = [*summary.get("compare", []), summary]
    attributes = list(dict.fromkeys(name for run in runs for name in fairness_of(run)))
    gaps = [f"{name} {gap}" for name in attributes for gap in ("DP", "EO")]
    header = ("method", "mode", "accuracy", "balanced", *gaps, "time")
    rows = []
    for run in runs:
        utility, fairness = run.get("utility", {}), fairness_of(run)
        cells = [number(utility.get("accuracy")), number(utility.get("balanced_accuracy"))]
        for name in attributes:
            metrics = fairness.get(name, {})
            cells.append(number(metrics.get("demographic_parity_difference")))
            cells.append(number(metrics.get("equalized_odds_difference")))
        rows.append(
            (str(run["method"]), str(run["mode"]), *cells, seconds(run.get("cost", {}).get("training_seconds")))
        )
    return header, rows


def openings_table(summary: Mapping[str, Any]) -> tuple[Row, list[Row]]:
    """Header and one row per kind of opening: everything that left the shares or an auditor in this run."""
    header = ("operation", "attribute", "opened to", "releases", "numbers", "protection")
    rows: list[Row] = [
        (
            str(opening["operation"]),
            str(opening.get("attribute") or "-"),
            str(opening["receiver"]),
            str(opening["releases"]),
            str(opening["numbers"]),
            protection(opening),
        )
        for opening in summary.get("openings", [])
    ]
    return header, rows


def fairness_of(summary: Mapping[str, Any]) -> Mapping[str, Any]:
    """The fairness to show: the experimenter's exact view where there is one, else what was released."""
    return summary.get("fairness") or summary.get("fairness_released") or {}


def protection(opening: Mapping[str, Any]) -> str:
    """What protects an opened value."""
    if opening["exact"]:
        return "none: exact"
    epsilon = opening.get("epsilon")
    return "noised" if epsilon is None else f"epsilon {epsilon:.3g}"


def number(value: float | None) -> str:
    """A share of one to three places; a dash where there is none."""
    return "-" if value is None else f"{value:.3f}"


def seconds(value: float | None) -> str:
    """A duration for people."""
    if value is None:
        return "-"
    if value < 60:
        return f"{value:.1f} s"
    return f"{int(value // 60)} min {int(value % 60)} s"


def text_table(header: Row, rows: Sequence[Row]) -> str:
    """The table in columns of equal width, the first to the left and numbers to the right, without trailing blanks."""
    lines = [header, *rows]
    widths = [max(len(line[column]) for line in lines) for column in range(len(header))]
    numeric = [
        bool(rows) and all(row[column][:1].isdigit() or row[column] == "-" for row in rows)
        for column in range(len(header))
    ]

    def render(line: Row) -> str:
        cells = (
            cell.rjust(width) if right else cell.ljust(width)
            for cell, width, right in zip(line, widths, numeric, strict=True)
        )
        return "  ".join(cells).rstrip()

    return "\n".join([render(header), "  ".join("-" * width for width in widths), *(render(row) for row in rows)])
