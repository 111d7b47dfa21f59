"""The parts of a sweep's report by name: tables with the line that explains them, and figures."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from secure_fair.report import advantage, front, intervals, kept
from secure_fair.report.columns import GAPS, RunRow, independent_task
from secure_fair.report.differences import BASELINE, differences
from secure_fair.report.front_figure import front_figure
from secure_fair.report.settings import group_settings
from secure_fair.report.sweep_figures import by_epsilon
from secure_fair.report.sweep_tables import settings_table
from secure_fair.report.tables import Table

if TYPE_CHECKING:
    from matplotlib.figure import Figure

TABLES = ("settings", "differences", "kept", "responses", "hypervolume", "front")
FIGURES = ("gap-epsilon", "accuracy-epsilon", "front")


@dataclass(frozen=True)
class PagePart:
    """A table and what its numbers are."""

    table: Table
    legend: str

    def text(self) -> str:
        """Both for a terminal."""
        return f"{self.table.text()}\n({self.legend})"

    def markdown(self) -> str:
        """Both as Markdown."""
        return f"{self.table.markdown()}\n\n({self.legend})"


def tables_of(rows: Sequence[RunRow], names: Sequence[str] = TABLES) -> dict[str, PagePart]:
    """Those of these tables that the runs have something for."""
    few = intervals.caution(len({independent_task(row) for row in rows}))
    means = f"{intervals.LEGEND}. {few}".strip().removesuffix(".")
    made: dict[str, tuple[Callable[[], Table | None], str]] = {
        "settings": (lambda: settings_table(group_settings(rows)), "mean ± standard deviation over the runs' seeds"),
        "differences": (lambda: differences(rows), f"differences from {BASELINE} of the same task and seed: {means}"),
        "kept": (lambda: kept.kept_table(rows), kept.LEGEND),
        "responses": (lambda: advantage.against_responses(rows), f"{advantage.LEGEND}; {means}"),
        "hypervolume": (lambda: front.hypervolume_table(rows), f"{front.HYPERVOLUME}; {means}"),
        "front": (lambda: front.front_table(rows), front.FRONT),
    }
    return {name: PagePart(table, made[name][1]) for name in names if (table := made[name][0]()) is not None}


def figures_of(rows: Sequence[RunRow], names: Sequence[str] = FIGURES) -> dict[str, Figure]:
    """Those of these figures that the runs have something for."""
    settings = group_settings(rows)
    drawn = {
        "gap-epsilon": lambda: by_epsilon(settings, GAPS[0]),
        "accuracy-epsilon": lambda: by_epsilon(settings, "accuracy"),
        "front": lambda: front_figure(settings),
    }
    return {name: figure for name in names if (figure := drawn[name]()) is not None}
