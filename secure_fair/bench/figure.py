"""The figure of a measurement: time of a moment by its rows, beside what a link makes the least that it can take."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from secure_fair.bench.moments import MomentRow
from secure_fair.report.figures import svg

if TYPE_CHECKING:
    from matplotlib.axes import Axes

MEGABITS = (100, 1000)  # a second
LATENCIES = (10, 50)  # ms each way
COLOURS = {"unproved": "#059669", "proved": "#1d4ed8", "CrypTen": "#db2777"}


def moments_svg(moments: Sequence[MomentRow]) -> str:
    """SVG of milliseconds over rows, proved and not, with the least that bandwidth and latency allow of the proved."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(7.2, 4.6), layout="constrained")
    panel = figure.add_subplot()
    for name, colour in COLOURS.items():
        rows = sorted((row for row in moments if row.kind == name), key=lambda row: row.rows)
        sizes = [row.rows for row in rows]
        panel.plot(sizes, [row.milliseconds for row in rows], "o-", color=colour, label=f"measured, {name}")
        panel.plot(sizes, [row.cpu for row in rows], ":", color=colour, label=f"CPU of both parties, {name}")
    _limits(panel, sorted((row for row in moments if row.proved), key=lambda row: row.rows))
    panel.set_xscale("log")
    panel.set_yscale("log")
    panel.set_xlabel("rows of the query (16 columns)")
    panel.set_ylabel("milliseconds of one moment")
    panel.grid(alpha=0.3)
    panel.legend(frameon=False, fontsize=8, loc="center left", bbox_to_anchor=(1, 0.5))
    return svg(figure, "bench-moments")


def _limits(panel: Axes, proved: Sequence[MomentRow]) -> None:
    """Bytes over bandwidth (all go one way, to the auditor or the dealer) and rounds times latency, dashed."""
    sizes = [row.rows for row in proved]
    for megabits, colour in zip(MEGABITS, ("#9ca3af", "#4b5563"), strict=True):
        least = [8 * row.bytes / (megabits * 1000) for row in proved]
        panel.plot(sizes, least, "--", color=colour, label=f"least at {megabits} Mbit/s: all bytes")
    for latency, colour in zip(LATENCIES, ("#fbbf24", "#d97706"), strict=True):
        least = [row.rounds * latency for row in proved]
        panel.plot(sizes, least, "--", color=colour, label=f"least at {latency} ms: all rounds")
