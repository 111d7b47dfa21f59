"""The report of a sweep, made from its CSVs alone: ``results.md``, ``summary.csv`` and figures of the trade-offs."""

from __future__ import annotations

import csv
import io
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from secure_fair.errors import UsageError
from secure_fair.report.columns import CHECKED_COLUMNS, CHECKS, METRICS, RUNS, SETTING_COLUMNS, RunRow
from secure_fair.report.differences import differences
from secure_fair.report.figures import png, svg
from secure_fair.report.settings import Setting, group_settings
from secure_fair.report.sweep_figures import accuracy_gap, by_epsilon
from secure_fair.report.sweep_tables import checks_table, settings_table, summary_csv
from secure_fair.report.tables import Table

AGAINST = "(differences from erm of the same task and seed: mean and its 95 % t interval over the pairs)"


@dataclass(frozen=True)
class SweepReport:
    """Everything that was made of a sweep's folder."""

    settings: list[Setting]
    checks: list[RunRow]
    against: Table | None
    files: list[Path]

    def text(self) -> str:
        """Text for the terminal."""
        parts = [settings_table(self.settings).text(), "(mean ± standard deviation over the runs' seeds)"]
        if self.against is not None:
            parts += ["", self.against.text(), AGAINST]
        if self.checks:
            parts += ["", checks_table(self.checks).text()]
        return "\n".join(parts)

    def page(self) -> str:
        """The same as Markdown."""
        parts = [settings_table(self.settings).markdown(), "Mean ± standard deviation over the runs' seeds."]
        if self.against is not None:
            parts += [self.against.markdown(), AGAINST]
        if self.checks:
            parts.append(checks_table(self.checks).markdown())
        return "\n\n".join(parts) + "\n"

    def tree(self) -> dict[str, Any]:
        """A tree for ``--format json``."""
        listed = list(csv.DictReader(io.StringIO(summary_csv(self.settings), newline="")))
        return {"settings": listed, "checks": self.checks, "files": [str(file) for file in self.files]}


def write_sweep_report(folder: Path) -> SweepReport:
    """Write ``results.md``, ``summary.csv`` and figures into a sweep's folder, from ``runs.csv`` and ``checks.csv``.

    Raises ``UsageError`` where there is no run to show, or the files are others.
    """
    rows = read_rows(folder / RUNS, (*SETTING_COLUMNS, "seed", "attribute", *METRICS, "epsilon", "status"))
    if not rows:
        raise UsageError(f"{folder / RUNS}: has no runs; run the sweep without --report-only first")
    settings = group_settings(rows)
    files = [*_write_figures(folder, settings), folder / "results.md", folder / "summary.csv"]
    report = SweepReport(settings, read_rows(folder / CHECKS, CHECKED_COLUMNS), differences(rows), files)
    (folder / "results.md").write_text(report.page(), encoding="utf-8")
    (folder / "summary.csv").write_text(summary_csv(settings), encoding="utf-8")
    return report


def _write_figures(folder: Path, settings: list[Setting]) -> list[Path]:
    files = []
    for name, figure in (("accuracy-gap", accuracy_gap(settings)), ("by-epsilon", by_epsilon(settings))):
        if figure is not None:
            files += [folder / f"{name}.svg", folder / f"{name}.png"]
            files[-2].write_text(svg(figure, name), encoding="utf-8")
            files[-1].write_bytes(png(figure))
    return files


def read_rows(file: Path, columns: Sequence[str]) -> list[RunRow]:
    """The rows of a CSV that has these columns; none where there is no such file. ``UsageError`` for another file."""
    if not file.is_file():
        return []
    try:
        with file.open(newline="", encoding="utf-8") as opened:
            reader = csv.DictReader(opened)
            rows = list(reader)
    except (UnicodeDecodeError, csv.Error) as error:
        raise UsageError(f"{file}: is no CSV of a sweep: {error}") from None
    missing = [name for name in columns if name not in (reader.fieldnames or columns)]
    if missing:
        raise UsageError(f"{file}: is no CSV of a sweep: it has no column {', '.join(missing)}")
    return rows
