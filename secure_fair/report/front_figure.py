"""The front of a sweep over gap and balanced accuracy, a panel per task: what is on it by name, the rest faint."""

from __future__ import annotations

import itertools
import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from secure_fair.report.columns import GAPS
from secure_fair.report.differences import BASELINE
from secure_fair.report.figures import INK, literal, plain
from secure_fair.report.front import dominated
from secure_fair.report.settings import Setting, told_apart
from secure_fair.report.sweep_figures import GREY, PALETTE, grid, title

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure
    from matplotlib.text import Annotation
    from matplotlib.transforms import Bbox

FAINT = "#c4c9d1"
# where a label may stand, in degrees, the best first, and how far off, in points; from the second on with a stroke
ANGLES = (0, 180, 45, 135, 315, 225, 20, 160, 340, 200, 70, 110, 290, 250, 90, 270)
DISTANCES = (5, 12, 20, 30, 42, 56, 72)


@dataclass(frozen=True)
class Point:
    """A setting in a panel: its gap, its balanced accuracy and its name."""

    gap: float
    accuracy: float
    name: str


def front_figure(settings: Sequence[Setting]) -> Figure | None:
    """Balanced accuracy over the demographic-parity gap, means over seeds that did not collapse: up and left is better.

    Where there are noised releases exact ones are left out. None where nothing is to be drawn.
    """
    private = any(s.asked is not None and math.isfinite(s.asked) for s in settings)
    shown = [s for s in settings if not (private and s.asked == math.inf)]
    names, panels = _names(shown), list(dict.fromkeys(s.panel for s in shown))
    if not any(_point(s, "") for s in shown):
        return None
    figure, axes = grid(len(panels), height=3.0)
    drawn = []
    for axis, panel in zip(axes, panels, strict=True):
        here = [s for s in shown if s.panel == panel]
        points = [point for s in here if (point := _point(s, names[id(s)])) is not None]
        drawn.append(_draw(axis, points, sum(s.collapsed + s.diverged for s in here)))
        axis.set_title(title(panel), fontsize=8.5, color=INK, pad=4)
        axis.set_xlabel("demographic-parity gap", fontsize=7.5, labelpad=1)
        axis.set_ylabel("balanced accuracy", fontsize=7.5)
        plain(axis, labelsize=7)
    figure.draw_without_rendering()  # settles the layout, so that labels can be measured
    figure.set_layout_engine("none")
    for axis, (front, others) in zip(axes, drawn, strict=True):
        _label(axis, front, others)
    literal(figure)
    return figure


def _point(setting: Setting, name: str) -> Point | None:
    gap, accuracy = setting.working[GAPS[0]], setting.working["balanced_accuracy"]
    return None if gap is None or accuracy is None else Point(gap.mean, accuracy.mean, name)


def _names(settings: Sequence[Setting]) -> dict[int, str]:
    """A short name of every setting by ``id``: its method, what tells it from others of that method, and epsilon."""
    forms: dict[str, set[tuple[str, ...]]] = {}
    for s in settings:
        forms.setdefault(s.columns["method"], set()).add(_form(s))
    words, names = told_apart(settings), {}
    for s in settings:
        method = s.columns["method"]
        alike = set.intersection(*map(set, forms[method]))
        own = ", ".join(word.split()[-1] for word in _form(s) if word not in alike)
        name = f"{method} ({own}) {words[id(s)]}" if own else f"{method} {words[id(s)]}"
        private = s.asked is not None and math.isfinite(s.asked)
        names[id(s)] = f"{name.strip()}, ε {s.asked:g}" if private else name.strip()
    return names


def _form(setting: Setting) -> tuple[str, ...]:
    """The words in brackets of the method's label."""
    return tuple(filter(None, setting.method.partition("(")[2].rstrip(")").split(", ")))


def _draw(axis: Axes, points: Sequence[Point], collapsed: int) -> tuple[list[Point], list[Point]]:
    """Draw the front as steps, its points and the baseline dark, all others faint; fit the axes to what is dark.

    Returns the front in order of the gap, and the baseline where it is not on it.
    """
    vectors = [(p.gap, -p.accuracy) for p in points]
    front = sorted((p for p, v in zip(points, vectors, strict=True) if not dominated(v, vectors)), key=lambda p: p.gap)
    baseline = [p for p in points if p.name == BASELINE and p not in front]
    faint = [p for p in points if p not in front + baseline]
    axis.plot([p.gap for p in faint], [p.accuracy for p in faint], "o", color=FAINT, markersize=3.5, zorder=1)
    xs, ys = [p.gap for p in front], [p.accuracy for p in front]
    axis.step(xs, ys, where="post", color=PALETTE[0], linewidth=1, alpha=0.45, zorder=2)
    for p in front + baseline:
        axis.plot(p.gap, p.accuracy, "o", color=_colour(p), markersize=4.5)
    if front:
        _fit(axis, front + baseline)
        (left, right), (low, high) = axis.get_xlim(), axis.get_ylim()
        outside = sum(not (left <= p.gap <= right and low <= p.accuracy <= high) for p in points)
        _note(axis, outside, collapsed)
    return front, baseline


def _colour(point: Point) -> str:
    return GREY if point.name == BASELINE else PALETTE[0]


def _fit(axis: Axes, points: Sequence[Point]) -> None:
    """Fit the axes to the points that have names, with room for these."""
    gaps, accuracies = [p.gap for p in points], [p.accuracy for p in points]
    wide, tall = max(gaps) - min(gaps) + 0.01, max(accuracies) - min(accuracies) + 0.005
    axis.set_xlim(max(0.0, min(gaps) - 0.3 * wide), max(gaps) + 0.3 * wide)
    axis.set_ylim(min(accuracies) - 0.25 * tall, max(accuracies) + 0.25 * tall)


def _note(axis: Axes, outside: int, collapsed: int) -> None:
    """Say in the corner what is not drawn."""
    parts = [f"settings outside: {outside}" if outside else "", f"runs collapsed: {collapsed}" if collapsed else ""]
    text = ", ".join(filter(None, parts))
    axis.text(0.99, 0.02, text, transform=axis.transAxes, ha="right", va="bottom", fontsize=6, color=GREY)


def _label(axis: Axes, front: Sequence[Point], others: Sequence[Point]) -> None:
    """Write the names beside their points, each where it covers no other name, no point with one and no step."""
    inside = axis.get_window_extent()
    taken = [_around(_pixels(axis, p.gap, p.accuracy), 3.5) for p in (*front, *others)]
    taken += [text.get_window_extent() for text in axis.texts if text.get_text()] + _steps(axis, front)

    def covered(box: Bbox) -> float:
        return sum(_overlap(box, other) for other in taken) + _outside(box, inside)

    for point in (*front, *others):
        least, chosen = math.inf, (ANGLES[0], DISTANCES[0])
        for distance, angle in itertools.product(DISTANCES, ANGLES):
            trial = _write(axis, point, angle, distance)
            cost = covered(trial.get_window_extent())
            trial.remove()
            if cost < least:
                least, chosen = cost, (angle, distance)
            if least == 0:
                break
        taken.append(_write(axis, point, *chosen).get_window_extent())
        if chosen[1] >= DISTANCES[1]:
            _lead(axis, point, *chosen)


def _pixels(axis: Axes, gap: float, accuracy: float) -> tuple[float, float]:
    """Where this gap and accuracy are drawn."""
    x, y = axis.transData.transform((gap, accuracy))
    return float(x), float(y)


def _steps(axis: Axes, front: Sequence[Point]) -> list[Bbox]:
    """The strokes of the front, as thin boxes."""
    from matplotlib.transforms import Bbox

    found = []
    for (x0, y0), (x1, y1) in itertools.pairwise(_pixels(axis, p.gap, p.accuracy) for p in front):
        found.append(Bbox.from_extents(x0, y0 - 1, x1, y0 + 1))
        found.append(Bbox.from_extents(x1 - 1, min(y0, y1), x1 + 1, max(y0, y1)))
    return found


def _write(axis: Axes, point: Point, angle: int, distance: int) -> Annotation:
    """Write a point's name at this angle and distance from it."""
    across, up = math.cos(math.radians(angle)), math.sin(math.radians(angle))
    look: dict[str, Any] = {
        "ha": "left" if across > 0.3 else "right" if across < -0.3 else "center",
        "va": "bottom" if up > 0.3 else "top" if up < -0.3 else "center",
    }
    place: dict[str, Any] = {"xytext": (distance * across, distance * up), "textcoords": "offset points"}
    return axis.annotate(point.name, (point.gap, point.accuracy), fontsize=6.5, color=_colour(point), **place, **look)


def _lead(axis: Axes, point: Point, angle: int, distance: int) -> None:
    """Draw a stroke from a point to its name."""
    across, up = math.cos(math.radians(angle)), math.sin(math.radians(angle))
    arrow = {"arrowstyle": "-", "color": GREY, "linewidth": 0.5, "shrinkA": 0, "shrinkB": 3}
    place: dict[str, Any] = {"xytext": (distance * across, distance * up), "textcoords": "offset points"}
    axis.annotate("", (point.gap, point.accuracy), arrowprops=arrow, **place)


def _around(centre: tuple[float, float], reach: float) -> Bbox:
    from matplotlib.transforms import Bbox

    x, y = centre
    return Bbox.from_extents(x - reach, y - reach, x + reach, y + reach)


def _overlap(one: Bbox, other: Bbox) -> float:
    """The area that two boxes share."""
    across = min(one.x1, other.x1) - max(one.x0, other.x0)
    up = min(one.y1, other.y1) - max(one.y0, other.y0)
    return max(across, 0.0) * max(up, 0.0)


def _outside(box: Bbox, frame: Bbox) -> float:
    """The area of a box that lies outside of the frame."""
    return float(box.width * box.height) - _overlap(box, frame)
