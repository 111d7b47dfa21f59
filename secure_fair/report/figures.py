"""Figures of a run, as SVG text for a page or PNG bytes: accuracy against the gap, and rates per group."""

from __future__ import annotations

import io
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from secure_fair.report.tables import Summary, attributes_of, fairness_of, method_name, runs_of

if TYPE_CHECKING:
    from matplotlib.artist import Artist
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

COLOURS = ("#8a8f98", "#d97706", "#7c3aed", "#059669", "#db2777", "#0891b2")  # compared methods, in order
MAIN = "#1d4ed8"
INK = "#374151"
Rounds = Sequence[Mapping[str, Any]]  # lines of a developer's rounds.jsonl
MANY_GROUPS = 4  # more have no room for their names side by side


def fairness_utility(summary: Summary) -> Figure | None:
    """Accuracy over the demographic-parity gap, one panel per attribute: up and to the left is better."""
    attributes = attributes_of(summary)
    panels = [name for name in attributes if any(_point(run, name) is not None for run in runs_of(summary))]
    if not panels:
        return None
    figure, axes = _figure(len(panels), width=4.6, height=3.4)
    for panel, name in zip(axes, panels, strict=True):
        xs, ys = [0.0], []
        for run, colour in _coloured(summary):
            point = _point(run, name)
            if point is None:
                continue
            # rings for the compared methods, so that a dot on top of one hides nothing
            face, width = (colour, 8) if colour == MAIN else ("none", 12)
            shape: dict[str, Any] = {"markerfacecolor": face, "markersize": width, "markeredgewidth": 2}
            panel.plot(*point, "o", color=colour, label=method_name(run), **shape)
            xs.append(point[0])
            ys.append(point[1])
        panel.set_xlim(0, max(xs) * 1.25 + 0.02)
        panel.set_ylim(min(ys) - 0.06, min(1.02, max(ys) + 0.06))
        panel.set_xlabel(f"demographic-parity difference, {name}")
        panel.set_ylabel("accuracy")
        panel.legend(frameon=False, fontsize=8, loc="best")
        plain(panel, labelsize=8)
    literal(figure)
    return figure


def selection_rates(summary: Summary) -> Figure | None:
    """The selection rate of every group under every method, for tasks of two classes: equal heights are fair."""
    panels = []
    for name in attributes_of(summary):
        by_run = [(run, colour, rates) for run, colour in _coloured(summary) if (rates := _selection_rates(run, name))]
        if by_run:
            panels.append((name, by_run))
    if not panels:
        return None
    most = max(len(rates) for _, by_run in panels for _, _, rates in by_run)
    figure, axes = _figure(len(panels), width=max(4.6, 0.6 * most + 1.0), height=4.2 if most > MANY_GROUPS else 3.0)
    for panel, (name, by_run) in zip(axes, panels, strict=True):
        names = list(dict.fromkeys(group for _, _, rates in by_run for group in rates))
        width = 0.8 / len(by_run)
        for index, (run, colour, rates) in enumerate(by_run):
            left = [position - 0.4 + width * (index + 0.5) for position in range(len(names))]
            heights = [rates.get(group, 0.0) for group in names]
            bars = panel.bar(left, heights, width * 0.92, color=colour, label=method_name(run))
            panel.bar_label(bars, fmt="%.2f", fontsize=5 if len(names) > MANY_GROUPS else 7, color=INK, padding=1)
        panel.set_xticks(range(len(names)), names)
        if len(names) > MANY_GROUPS:
            panel.tick_params(axis="x", labelrotation=60)
        panel.set_ylabel("selection rate")
        panel.set_xlabel(name)
        panel.set_ylim(0, max(rate for _, _, rates in by_run for rate in rates.values()) * 1.3 + 0.01)
        panel.legend(frameon=False, fontsize=8, loc="upper left", ncols=2)
        plain(panel, labelsize=8)
    literal(figure)
    return figure


def training(rounds: Mapping[str, Rounds]) -> Figure | None:
    """Loss and accuracy on training records, and the gap as releases told it, over the epochs: a line a method, by
    name; the last one is the main method's."""
    from matplotlib.ticker import MaxNLocator

    shown = [("loss", "training loss"), ("accuracy", "training accuracy"), ("gap", "widest released gap")]
    series = {name: {key: _by_epoch(told, key) for key, _ in shown} for name, told in rounds.items()}
    panels = [(key, title) for key, title in shown if any(len(found[key]) > 1 for found in series.values())]
    if not panels:
        return None
    figure, axes = _figure(len(panels), width=3.1, height=2.6)
    colours = [*(COLOURS[index % len(COLOURS)] for index in range(len(series) - 1)), MAIN]
    for panel, (key, title) in zip(axes, panels, strict=True):
        for (name, found), colour, style in zip(series.items(), colours, _styles(len(series)), strict=True):
            if found[key]:
                panel.plot(*zip(*found[key], strict=True), style, color=colour, label=name, markersize=4)
        panel.set_xlabel("epoch")
        panel.set_title(title, fontsize=9, loc="left", color=INK)
        panel.xaxis.set_major_locator(MaxNLocator(integer=True))
        plain(panel, labelsize=8)
    axes[0].legend(frameon=False, fontsize=8)
    literal(figure)
    return figure


def _by_epoch(told: Rounds, key: str) -> list[tuple[int, float]]:
    """Epochs and values, where there is one."""
    found = []
    for line in told:
        gaps = [gap for gap in line.get("gaps", {}).values() if gap is not None]
        value = line.get(key) if key != "gap" else max(gaps, default=None)
        if value is not None:
            found.append((int(line["epoch"]), float(value)))
    return found


def _styles(count: int) -> list[str]:
    """Marks that tell lines apart where colours do not; the main one's is a full dot."""
    marks = ("s--", "^:", "d-.", "v--", "x:", "P-.")
    return [*(marks[index % len(marks)] for index in range(count - 1)), "o-"]


def svg(figure: Figure, name: str) -> str:
    """The figure as an ``<svg>`` element. ``name`` keeps its inner ids apart from those of others on the same page."""
    import matplotlib

    buffer = io.StringIO()
    with matplotlib.rc_context({"svg.fonttype": "none", "svg.hashsalt": name}):
        figure.savefig(buffer, format="svg", metadata={"Date": None, "Creator": None})
    text = buffer.getvalue()
    return text[text.index("<svg") :]


def png(figure: Figure) -> bytes:
    """The figure as a PNG file."""
    buffer = io.BytesIO()
    figure.savefig(buffer, format="png", dpi=130, metadata={"Software": None})
    return buffer.getvalue()


def literal(artist: Artist) -> None:
    """Show every text as it is: a group may be named "> $50"."""
    from matplotlib.text import Text

    for text in artist.findobj(Text):
        text.set_parse_math(False)


def _figure(panels: int, *, width: float, height: float) -> tuple[Figure, list[Axes]]:
    from matplotlib.figure import Figure

    figure = Figure(figsize=(width * panels, height), layout="constrained")
    return figure, list(figure.subplots(1, panels, squeeze=False)[0])


def plain(panel: Axes, *, labelsize: int) -> None:
    """Take from a panel what is not needed to read it."""
    panel.spines[["top", "right"]].set_visible(False)
    panel.tick_params(colors=INK, labelsize=labelsize)
    panel.grid(axis="y", color="#e5e7eb", linewidth=0.8)
    panel.set_axisbelow(True)


def _coloured(summary: Summary) -> list[tuple[Summary, str]]:
    runs = runs_of(summary)
    return [(run, MAIN if run is runs[-1] else COLOURS[index % len(COLOURS)]) for index, run in enumerate(runs)]


def _point(run: Summary, attribute: str) -> tuple[float, float] | None:
    gap = fairness_of(run).get(attribute, {}).get("demographic_parity_difference")
    accuracy = run.get("utility", {}).get("accuracy")
    return None if gap is None or accuracy is None else (gap, accuracy)


def _selection_rates(run: Summary, attribute: str) -> dict[str, float]:
    groups = fairness_of(run).get(attribute, {}).get("groups", {})
    rates = {group: values.get("selection_rate") for group, values in groups.items()}
    return {group: rate for group, rate in rates.items() if isinstance(rate, float | int)}
