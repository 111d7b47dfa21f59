"""The report of a sweep, made from its CSVs alone: ``results.md``, ``summary.csv`` and figures of the trade-offs."""

from __future__ import annotations

import csv
import io
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from secure_fair.errors import UsageError
from secure_fair.report.columns import CHECKED_COLUMNS, CHECKS, LATER, METRICS, RUNS, SETTING_COLUMNS, RunRow
from secure_fair.report.figures import png, svg
from secure_fair.report.parts import PagePart, figures_of, tables_of
from secure_fair.report.settings import Setting, group_settings
from secure_fair.report.sweep_tables import checks_table, summary_csv

RUN_COLUMNS = (*SETTING_COLUMNS, "seed", "attribute", *METRICS, "epsilon", "status")


@dataclass(frozen=True)
class SweepReport:
    """Everything that was made of a sweep's folder."""

    settings: list[Setting]
    parts: dict[str, PagePart]
    checks: list[RunRow]
    files: list[Path]

    def text(self) -> str:
        """Text for the terminal."""
        checks = [checks_table(self.checks).text()] if self.checks else []
        return "\n\n".join([part.text() for part in self.parts.values()] + checks)

    def page(self) -> str:
        """The same as Markdown."""
        checks = [checks_table(self.checks).markdown()] if self.checks else []
        return "\n\n".join([part.markdown() for part in self.parts.values()] + checks) + "\n"

    def tree(self) -> dict[str, Any]:
        """A tree for ``--format json``."""
        listed = list(csv.DictReader(io.StringIO(summary_csv(self.settings), newline="")))
        tables = {name: part.table.tree() for name, part in self.parts.items() if name != "settings"}
        files = [str(file) for file in self.files]
        return {"settings": listed, "tables": tables, "checks": self.checks, "files": files}


def write_sweep_report(folder: Path) -> SweepReport:
    """Write ``results.md``, ``summary.csv`` and figures into a sweep's folder, from ``runs.csv`` and ``checks.csv``.

    Raises ``UsageError`` where there is no run to show, or the files are others.
    """
    rows = read_runs(folder / RUNS)
    settings = group_settings(rows)
    files = [*_write_figures(folder, rows), folder / "results.md", folder / "summary.csv"]
    report = SweepReport(settings, tables_of(rows), read_rows(folder / CHECKS, CHECKED_COLUMNS), files)
    (folder / "results.md").write_text(report.page(), encoding="utf-8")
    (folder / "summary.csv").write_text(summary_csv(settings), encoding="utf-8")
    return report


def _write_figures(folder: Path, rows: Sequence[RunRow]) -> list[Path]:
    files = []
    for name, figure in figures_of(rows).items():
        files += [folder / f"{name}.svg", folder / f"{name}.png"]
        files[-2].write_text(svg(figure, name), encoding="utf-8")
        files[-1].write_bytes(png(figure))
    return files


def read_runs(file: Path) -> list[RunRow]:
    """The lines of a sweep's runs; columns that came later are empty where an older one lacks them.

    Raises ``UsageError`` where there are none, or the file is another.
    """
    rows = read_rows(file, RUN_COLUMNS)
    if not rows:
        raise UsageError(f"{file}: has no runs; run the sweep without --report-only first")
    return [dict.fromkeys(LATER, "") | row for row in rows]


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
