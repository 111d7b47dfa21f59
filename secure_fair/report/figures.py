"""Figures of a run, as SVG text for a page or PNG bytes: accuracy against the gap, and rates per group."""

from __future__ import annotations

import html
import io
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, Literal

from secure_fair.report.tables import Summary, fairness_of, method_name, runs_of

if TYPE_CHECKING:
    from matplotlib.artist import Artist
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

COLOURS = ("#8a8f98", "#d97706", "#7c3aed", "#059669", "#db2777", "#0891b2")  # compared methods, in order
MAIN = "#1d4ed8"
INK = "#374151"
Rounds = Sequence[Mapping[str, Any]]  # lines of a developer's rounds.jsonl
Rate = tuple[float, float, float]  # with the ends of its interval
WIDTH = 4.4  # inches
MANY_GROUPS = 4  # more have no room for their names side by side


def fairness_utility(summary: Summary, attribute: str) -> Figure | None:
    """Accuracy over an attribute's demographic-parity gap: up and to the left is better."""
    points = [(run, colour, point) for run, colour in _coloured(summary) if (point := _point(run, attribute))]
    if not points:
        return None
    figure, panel = _panel(height=3.4)
    for run, colour, point in points:
        # rings for the compared methods, so that a dot on top of one hides nothing
        face, width = (colour, 8) if colour == MAIN else ("none", 12)
        shape: dict[str, Any] = {"markerfacecolor": face, "markersize": width, "markeredgewidth": 2}
        panel.plot(*point, "o", color=colour, label=method_name(run), **shape)
    gaps, accuracies = zip(*(point for _, _, point in points), strict=True)
    panel.set_xlim(0, max(gaps) * 1.25 + 0.02)
    panel.set_ylim(min(accuracies) - 0.06, min(1.02, max(accuracies) + 0.06))
    panel.set_xlabel(f"gap between selection rates, {attribute}")
    panel.set_ylabel("accuracy")
    return _finished(figure, panel)


def selection_rates(summary: Summary, attribute: str) -> Figure | None:
    """The selection rate of every group of an attribute under every method, for tasks of two classes, with intervals
    where there are any: equal bars are fair. More than ``MANY_GROUPS`` lie, their names beside them."""
    by_run = [(run, colour, rates) for run, colour in _coloured(summary) if (rates := _selection_rates(run, attribute))]
    if not by_run:
        return None
    names = list(dict.fromkeys(group for _, _, rates in by_run for group in rates))
    lying = len(names) > MANY_GROUPS
    figure, panel = _panel(height=1.1 + 0.19 * len(names) * (len(by_run) + 0.6) if lying else 3.0)
    thick = 0.8 / len(by_run)
    for index, (run, colour, rates) in enumerate(by_run):
        places = [place - 0.4 + thick * (index + 0.5) for place in range(len(names))]
        _bars(panel, places, [rates.get(name) for name in names], thick * 0.92, colour, method_name(run), lying=lying)
    highest = max(high for _, _, rates in by_run for _, _, high in rates.values())
    if lying:
        panel.set_yticks(range(len(names)), names)
        panel.invert_yaxis()
        panel.set(xlabel="selection rate", xlim=(0, highest * 1.15 + 0.01))
    else:
        panel.set_xticks(range(len(names)), names)
        panel.set(xlabel=attribute, ylabel="selection rate", ylim=(0, highest * 1.15 + 0.01))
    return _finished(figure, panel, grid="x" if lying else "y")


def _bars(
    panel: Axes,
    places: Sequence[float],
    rates: Sequence[Rate | None],
    thick: float,
    colour: str,
    name: str,
    *,
    lying: bool,
) -> None:
    """One method's bars, each with its interval and its number."""
    known = [(place, rate) for place, rate in zip(places, rates, strict=True) if rate is not None]
    where, values = [place for place, _ in known], [rate[0] for _, rate in known]
    ends = [[value - low for _, (value, low, _) in known], [high - value for _, (value, _, high) in known]]
    draw: Callable[..., object] = panel.barh if lying else panel.bar
    error = {"xerr" if lying else "yerr": ends, "ecolor": INK, "error_kw": {"elinewidth": 0.8}}
    draw(where, values, thick, color=colour, label=name, **error)
    for place, (value, _, high) in known:
        at, shift = ((high, place), (3, 0)) if lying else ((place, high), (0, 2))
        align: dict[str, Any] = {"va": "center"} if lying else {"ha": "center"}
        style: dict[str, Any] = {"xytext": shift, "textcoords": "offset points", "fontsize": 8, "color": INK}
        panel.annotate(f"{value:.2f}", at, **style, **align)


def training(rounds: Mapping[str, Rounds]) -> dict[str, Figure]:
    """Loss and accuracy on training records, and the gap as releases told it, over the epochs, by what they show: a
    line a method, by name; the last one is the main method's."""
    from matplotlib.ticker import MaxNLocator

    shown = [("loss", "training loss"), ("accuracy", "training accuracy"), ("gap", "widest released gap")]
    series = {name: {key: _by_epoch(told, key) for key, _ in shown} for name, told in rounds.items()}
    colours = [*(COLOURS[index % len(COLOURS)] for index in range(len(series) - 1)), MAIN]
    drawn = {}
    for key, title in shown:
        if not any(len(found[key]) > 1 for found in series.values()):
            continue
        figure, panel = _panel(height=2.6)
        for (name, found), colour, style in zip(series.items(), colours, _styles(len(series)), strict=True):
            if found[key]:
                panel.plot(*zip(*found[key], strict=True), style, color=colour, label=name, markersize=4)
        panel.set(xlabel="epoch", ylabel=title)
        panel.xaxis.set_major_locator(MaxNLocator(integer=True))
        drawn[title] = _finished(figure, panel)
    return drawn


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


def svg(figure: Figure, name: str, label: str = "") -> str:
    """The figure as an ``<svg>`` element; ``label`` is what is read aloud in its place. ``name`` keeps its inner ids
    apart from those of others on the same page."""
    import matplotlib

    buffer = io.StringIO()
    with matplotlib.rc_context({"svg.fonttype": "none", "svg.hashsalt": name}):
        figure.savefig(buffer, format="svg", metadata={"Date": None, "Creator": None})
    text = buffer.getvalue()
    drawn = text[text.index("<svg") :]
    return drawn.replace("<svg", f'<svg role="img" aria-label="{html.escape(label)}"', 1) if label else drawn


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


def _panel(*, height: float) -> tuple[Figure, Axes]:
    """A figure with one panel, as wide as a telephone shows without making its letters smaller."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(WIDTH, height), layout="constrained")
    return figure, figure.subplots()


def _finished(figure: Figure, panel: Axes, grid: Literal["x", "y"] = "y") -> Figure:
    """The figure with its legend above the panel, where it is taken for no data."""
    figure.legend(loc="outside upper left", ncols=2, frameon=False, fontsize=8)
    plain(panel, labelsize=8)
    panel.grid(visible=False)
    panel.grid(axis=grid, color="#e5e7eb", linewidth=0.8)
    literal(figure)
    return figure


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


def _selection_rates(run: Summary, attribute: str) -> dict[str, Rate]:
    """The rate of each group with the ends of its interval; without one it is its own."""
    held = fairness_of(run).get(attribute, {})
    ends = held.get("group_intervals") or {}
    rates = {group: values.get("selection_rate") for group, values in held.get("groups", {}).items()}
    return {
        group: (rate, *ends.get(group, {}).get("selection_rate", (rate, rate)))
        for group, rate in rates.items()
        if isinstance(rate, float | int)
    }
