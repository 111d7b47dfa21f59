"""Figures of a sweep by epsilon: one metric each, a panel per task, a band per method, the baseline as a line."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from secure_fair.privacy.accounting import gaussian_mu
from secure_fair.report.columns import GAPS
from secure_fair.report.differences import BASELINE
from secure_fair.report.figures import INK, literal, plain
from secure_fair.report.settings import Setting, Spread, told_apart

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

PALETTE = ("#1d4ed8", "#d97706", "#059669", "#db2777", "#7c3aed", "#0891b2", "#65a30d", "#b91c1c", "#475569")
GREY = "#6b7280"
STRIP = "#f3f4f6"
WIDTH = 8.0  # inches: of a page's column at 100 dots each
NAMES = {GAPS[0]: "demographic-parity gap", "accuracy": "accuracy"}
REACH = {GAPS[0]: 0.04, "accuracy": 0.15}  # beyond the baseline on the worse side; what lies farther is written
BETTER = {GAPS[0]: -1, "accuracy": 1}

Panel = tuple[str, str]


@dataclass(frozen=True)
class Curve:
    """The settings of one method and strength in a panel, and its colour."""

    settings: Sequence[Setting]
    colour: str


def by_epsilon(settings: Sequence[Setting], metric: str) -> Figure | None:
    """A metric by epsilon (log axis, mu above), a panel per task and attribute; None for fewer than two epsilons.

    A method has a line for each of its strengths. Lines are means over those seeds whose classifier did not collapse,
    bands one standard deviation to either side, the dotted line of the same colour exact releases. Below the curves
    stand the runs that collapsed, of all, and the means that lie beyond the axis: neither rules it.
    """
    finite = sorted({s.asked for s in settings if s.asked is not None and math.isfinite(s.asked)})
    if len(finite) < 2:
        return None
    words = told_apart(settings)
    curves = {id(s): f"{s.method} {words[id(s)]}".strip() for s in settings}
    names = dict.fromkeys(curves[id(s)] for s in settings if s.asked in finite)
    colours = {name: PALETTE[place % len(PALETTE)] for place, name in enumerate(names)}
    panels = list(dict.fromkeys(setting.panel for setting in settings))
    figure, axes = grid(len(panels), height=3.1)
    for axis, panel in zip(axes, panels, strict=True):
        here = [setting for setting in settings if setting.panel == panel]
        lines = [Curve([s for s in here if curves[id(s)] == name], colour) for name, colour in colours.items()]
        _draw_panel(axis, metric, here, lines, finite)
        axis.set_title(title(panel), fontsize=8.5, color=INK, pad=4)
    axes[0].set_ylabel(NAMES[metric], fontsize=8)
    _legend(figure, colours)
    literal(figure)
    return figure


def grid(panels: int, *, height: float) -> tuple[Figure, list[Axes]]:
    """A figure as wide as a page's column with up to three panels in a row, each so many inches high."""
    from matplotlib.figure import Figure

    columns = min(panels, 2 if panels == 4 else 3)
    rows = math.ceil(panels / columns)
    figure = Figure(figsize=(WIDTH, height * rows), layout="constrained")
    axes = figure.subplots(rows, columns, squeeze=False).ravel().tolist()
    for axis in axes[panels:]:
        axis.remove()
    return figure, axes[:panels]


def title(panel: Panel) -> str:
    """A panel's task, with its attribute where the task's name does not say it."""
    task, attribute = panel
    return task if attribute.lower() in task.lower() else f"{task}, {attribute}"


def _draw_panel(
    axis: Axes, metric: str, here: Sequence[Setting], lines: Sequence[Curve], finite: Sequence[float]
) -> None:
    axis.set_xscale("log")
    baseline = next((s.working[metric] for s in here if s.columns["method"] == BASELINE), None)
    if baseline is not None:
        axis.axhline(baseline.mean, color=GREY, linestyle="--", linewidth=1.1)
    for line in lines:
        _draw_line(axis, metric, line)
    _limit(axis, metric, baseline, lines)
    _write_margin(axis, metric, lines)
    axis.set_xlim(finite[0] / 1.5, finite[-1] * 1.5)
    axis.set_xticks(finite, [f"{e:g}" for e in finite])
    axis.set_xticks([], minor=True)
    axis.set_xlabel("epsilon", fontsize=8, labelpad=1)
    plain(axis, labelsize=7)
    _mark_mu(axis, here, finite)


def _draw_line(axis: Axes, metric: str, line: Curve) -> None:
    """Draw mean and band over the finite epsilons, and a dotted line at the value of exact releases."""
    drawn = [(s.asked, value) for s in line.settings if s.asked and (value := s.working[metric]) is not None]
    finite = sorted((asked, value) for asked, value in drawn if math.isfinite(asked))
    exact = [value.mean for asked, value in drawn if math.isinf(asked)]
    xs, means = [asked for asked, _ in finite], [value.mean for _, value in finite]
    spread = [value.deviation or 0.0 for _, value in finite]
    axis.plot(xs, means, "o-", color=line.colour, linewidth=1.4, markersize=3)
    low, high = ([m + sign * d for m, d in zip(means, spread, strict=True)] for sign in (-1, 1))
    axis.fill_between(xs, low, high, color=line.colour, alpha=0.13, linewidth=0)
    for level in exact[:1]:
        axis.axhline(level, color=line.colour, linestyle=":", linewidth=1)


def _limit(axis: Axes, metric: str, baseline: Spread | None, lines: Sequence[Curve]) -> None:
    """Fit the axis to the means, but on the worse side no farther from the baseline than ``REACH``."""
    means = [value.mean for line in lines for s in line.settings if (value := s.working[metric]) is not None]
    means += [baseline.mean] if baseline is not None else []
    if not means:
        return
    low, high = min(means) - 0.02, max(means) + 0.02
    if BETTER[metric] < 0:
        low, high = 0.0, high if baseline is None else min(high, baseline.mean + REACH[metric])
    elif baseline is not None:
        low = max(low, baseline.mean - REACH[metric])
    axis.set_ylim(low, high)


def _write_margin(axis: Axes, metric: str, lines: Sequence[Curve]) -> None:
    """Write a line of notes for each method that has any into a strip below the curves."""
    from matplotlib.patches import Rectangle

    low, high = axis.get_ylim()
    noted = [(line, notes) for line in lines if (notes := _notes(line, metric, low, high))]
    ticks = [tick for tick in axis.get_yticks() if low <= tick <= high]
    part = 0.06 * len(noted)
    axis.set_ylim(low - (high - low) * part / (1 - part), high)
    axis.set_yticks(ticks)
    look: dict[str, Any] = {"facecolor": STRIP, "edgecolor": "none", "transform": axis.transAxes, "zorder": 4}
    axis.add_patch(Rectangle((0, 0), 1, part, **look))
    for row, (line, notes) in enumerate(noted):
        for epsilon, text in notes.items():
            place: dict[str, Any] = {
                "ha": "center",
                "va": "center",
                "transform": axis.get_xaxis_transform(),
                "zorder": 5,
            }
            axis.text(epsilon, 0.06 * (row + 0.5), text, fontsize=6, color=line.colour, **place)


def _notes(line: Curve, metric: str, low: float, high: float) -> dict[float, str]:
    """Runs of a method that collapsed or diverged, and its mean where that lies beyond the axis, by finite epsilon."""
    found = {}
    for s in line.settings:
        if s.asked is None or math.isinf(s.asked):
            continue
        came_to_nothing, value = s.collapsed + s.diverged, s.working[metric]
        parts = [f"{came_to_nothing}/{s.runs}†"] if came_to_nothing else []
        if value is not None and not low <= value.mean <= high:
            parts.append(f"{'▴' if value.mean > high else '▾'}{value.mean:.2f}".replace("0.", "."))
        if parts:
            found[s.asked] = " ".join(parts)
    return found


def _mark_mu(axis: Axes, here: Sequence[Setting], finite: Sequence[float]) -> None:
    """Write the mu of Gaussian DP that each epsilon comes to above the panel."""
    deltas = {float(s.columns["delta"]) for s in here if s.columns["delta"] and s.asked in finite}
    if len(deltas) != 1:
        return
    delta = deltas.pop()
    above = axis.secondary_xaxis("top")
    above.set_xticks(finite, [f"{gaussian_mu(e, delta):.2f}" for e in finite])
    above.set_xticks([], minor=True)
    above.tick_params(colors=GREY, labelsize=6.5, length=2, pad=1)
    above.set_xlabel("mu, of Gaussian noise", fontsize=6.5, color=GREY, labelpad=2)


def _legend(figure: Figure, colours: dict[str, str]) -> None:
    """Name every method once, and what the strokes mean."""
    from matplotlib.lines import Line2D

    handles = [Line2D([], [], color=colour, marker="o", markersize=3, label=name) for name, colour in colours.items()]
    handles.append(Line2D([], [], color=GREY, linestyle="--", label=BASELINE))
    handles.append(Line2D([], [], color=GREY, linestyle=":", label="exact"))
    handles.append(Line2D([], [], linestyle="none", label="† collapsed, left out; ▴ ▾ beyond the axis"))
    figure.legend(handles=handles, loc="outside lower center", ncols=4, frameon=False, fontsize=7.5)
