"""Figures of a sweep's trade-offs: accuracy over the gaps, and both by the epsilon asked for."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from secure_fair.report.columns import GAPS, SHORT
from secure_fair.report.figures import INK, literal, plain
from secure_fair.report.settings import Setting, Spread

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

PALETTE = ("#1d4ed8", "#d97706", "#059669", "#db2777", "#7c3aed", "#0891b2", "#65a30d", "#b91c1c", "#475569")
UNRELEASED = "#8a8f98"  # methods that release nothing
MARKERS = "osD^"
LINES = {"moments": "-", "rows": "--", "attributes": ":", "adapter": "-.", "gradient": ":"}


@dataclass(frozen=True)
class Style:
    """The look of one method and release in every panel."""

    colour: str
    marker: str
    line: str


def accuracy_gap(settings: Sequence[Setting]) -> Figure:
    """Accuracy over each gap, a column of panels per task and attribute: up and to the left is better.

    Bars are standard deviations over the seeds; a line joins the settings of one method in the order of epsilon and
    strength, and its numbers are the epsilons.
    """
    panels, styles = _panels(settings), _styles(settings)
    figure, axes = _grid(2, len(panels))
    for row, gap in enumerate(GAPS[:2]):
        for column, ((task, attribute), by_method) in enumerate(panels.items()):
            axis = axes[row][column]
            for method, held in by_method.items():
                _draw_gap(axis, gap, method, held, styles[method])
            axis.set_xlim(left=0)
            axis.set_xlabel(f"{gap.replace('_', ' ')}, {attribute}", fontsize=8)
            axis.set_ylabel("accuracy" if column == 0 else "", fontsize=8)
            axis.set_title(task if row == 0 else "", fontsize=9, color=INK)
            plain(axis, labelsize=7)
    _legend(figure, axes)
    return figure


def _draw_gap(axis: Axes, gap: str, method: str, settings: Sequence[Setting], style: Style) -> None:
    """Join a method's settings in a panel, and write their epsilons beside them."""
    points = [(s, s.metrics[gap], s.metrics["accuracy"]) for s in settings]
    drawn = [(s, x, y) for s, x, y in points if x is not None and y is not None]
    xs, ys = [x for _, x, _ in drawn], [y for _, _, y in drawn]
    shape = {"xerr": _bars(xs), "linewidth": 1, "elinewidth": 0.7, "markersize": 5}
    _join(axis, [x.mean for x in xs], ys, method, style, **shape)
    for s, x, y in drawn:
        if s.asked is not None and not math.isinf(s.asked):
            at: dict[str, Any] = {"xy": (x.mean, y.mean), "xytext": (4, 4), "textcoords": "offset points"}
            axis.annotate(f"{s.asked:g}", fontsize=6, color=style.colour, **at)


def by_epsilon(settings: Sequence[Setting]) -> Figure | None:
    """Gaps and accuracy by the epsilon asked for, a line per method and release; None for fewer than two epsilons."""
    asked = sorted({setting.asked for setting in settings if setting.asked is not None})
    if len(asked) < 2:
        return None
    panels, styles = _panels(settings), _styles(settings)
    shown = {gap: f"{SHORT[gap]} difference" for gap in GAPS[:2]} | {"accuracy": "accuracy"}
    figure, axes = _grid(len(shown), len(panels))
    for row, (metric, name) in enumerate(shown.items()):
        for column, (panel, by_method) in enumerate(panels.items()):
            axis = axes[row][column]
            for method, held in by_method.items():
                _draw_by_epsilon(axis, metric, method, held, asked, styles[method])
            axis.set_xticks(range(len(asked)), ["exact" if math.isinf(e) else f"{e:g}" for e in asked])
            if metric != "accuracy":
                axis.set_ylim(bottom=0)
            axis.set_xlabel("epsilon" if row == len(shown) - 1 else "", fontsize=8)
            axis.set_ylabel(name if column == 0 else "", fontsize=8)
            axis.set_title(", ".join(panel) if row == 0 else "", fontsize=9, color=INK)
            plain(axis, labelsize=7)
    _legend(figure, axes)
    return figure


def _draw_by_epsilon(
    axis: Axes, metric: str, method: str, settings: Sequence[Setting], asked: Sequence[float], style: Style
) -> None:
    """Join a method's settings in a panel; where nothing was asked for, a level line stands for its first one."""
    drawn = [(s, value) for s in settings if (value := s.metrics[metric]) is not None]
    if drawn and drawn[0][0].asked is None:
        axis.axhline(drawn[0][1].mean, color=style.colour, linestyle=":", linewidth=1.2, label=method)
        return
    xs = [asked.index(s.asked) for s, _ in drawn if s.asked is not None]
    shape = {"linewidth": 1.3, "elinewidth": 0.8, "capsize": 2, "markersize": 4}
    _join(axis, xs, [value for _, value in drawn], method, style, **shape)


def _join(axis: Axes, xs: Sequence[float], ys: Sequence[Spread], method: str, style: Style, **shape: Any) -> None:
    look: dict[str, Any] = {"fmt": style.marker, "linestyle": style.line, "color": style.colour}
    axis.errorbar(xs, [y.mean for y in ys], yerr=_bars(ys), label=method, **look, **shape)


def _bars(values: Sequence[Spread]) -> list[float]:
    return [value.deviation or 0 for value in values]


def _panels(settings: Sequence[Setting]) -> dict[tuple[str, str], dict[str, list[Setting]]]:
    """Settings by panel, then by method and release, in the order in which they are given."""
    panels: dict[tuple[str, str], dict[str, list[Setting]]] = {}
    for setting in settings:
        panels.setdefault(setting.panel, {}).setdefault(setting.method, []).append(setting)
    return panels


def _styles(settings: Sequence[Setting]) -> dict[str, Style]:
    """A style per method: with another shape for those to which colours come round again."""
    releases = {setting.method: setting.columns["release"] for setting in settings}
    styles = {method: Style(UNRELEASED, MARKERS[0], "-") for method in releases}
    for index, (method, release) in enumerate((m, release) for m, release in releases.items() if release):
        turn, colour = divmod(index, len(PALETTE))
        styles[method] = Style(PALETTE[colour], MARKERS[turn % len(MARKERS)], LINES.get(release, "-"))
    return styles


def _grid(rows: int, columns: int) -> tuple[Figure, list[list[Axes]]]:
    from matplotlib.figure import Figure

    figure = Figure(figsize=(0.6 + 3.4 * columns, 0.7 + 2.4 * rows), layout="constrained")
    return figure, figure.subplots(rows, columns, squeeze=False).tolist()


def _legend(figure: Figure, axes: Sequence[Sequence[Axes]]) -> None:
    """One legend for all panels, with every method once."""
    entries: dict[str, Any] = {}
    for axis in (axis for line in axes for axis in line):
        for handle, label in zip(*axis.get_legend_handles_labels(), strict=True):
            entries.setdefault(label, handle)
    figure.legend(list(entries.values()), list(entries), loc="outside lower center", ncols=5, frameon=False, fontsize=8)
    literal(figure)
