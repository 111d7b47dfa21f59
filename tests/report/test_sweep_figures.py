"""Figures of sweeps: names cover nothing, the faint stay nameless, runs that collapsed are counted and rule no axis."""

from __future__ import annotations

import itertools

from matplotlib.axes import Axes
from matplotlib.text import Text

from secure_fair.report.columns import GAPS, RunRow
from secure_fair.report.front_figure import front_figure
from secure_fair.report.settings import group_settings
from secure_fair.report.sweep_figures import by_epsilon
from tests.report.rows import row

EPSILONS = ("0.1", "1", "inf")


def sweep() -> list[RunRow]:
    """Two tasks with a baseline, and two methods by epsilon, of which rr collapses at the smallest."""
    rows = []
    for task, seed in itertools.product("st", (0, 1, 2)):
        rows.append(row("erm", seed, 0.3, task=task))
        rows += [row("parity", seed, 0.1 + 0.01 * seed, task=task, asked_epsilon=e, accuracy="0.78") for e in EPSILONS]
        rows.append(row("rr", seed, 0.2, task=task, asked_epsilon="1", accuracy="0.3"))
        lost = {"status": "collapsed", "accuracy": "0.1", "asked_epsilon": "0.1"}
        rows.append(row("rr", seed, 0.9, task=task, **(lost if seed else {"asked_epsilon": "0.1"})))
    return rows


def texts(axis: Axes) -> list[str]:
    return [text.get_text() for text in axis.texts if text.get_text()]


def test_a_collapsed_run_is_counted_below_and_in_no_mean() -> None:
    figure = by_epsilon(group_settings(sweep()), "accuracy")
    assert figure is not None
    for axis in figure.axes[:2]:
        assert texts(axis) == ["2/3†", "▾.30"]
        low, high = axis.get_ylim()
        assert 0.6 < low < 0.65
        assert high < 0.85  # a means of .3 and .1 rule no axis
        (curve,) = [line for line in axis.lines if line.get_color() == "#d97706" and len(line.get_xdata()) == 2]
        assert list(curve.get_ydata()) == [0.8, 0.3]


def test_epsilon_is_logarithmic_with_mu_above() -> None:
    figure = by_epsilon(group_settings(sweep()), GAPS[0])
    assert figure is not None
    axis = figure.axes[0]
    assert axis.get_xscale() == "log"
    assert [label.get_text() for label in axis.get_xticklabels()] == ["0.1", "1"]
    (above,) = axis.child_axes
    assert [label.get_text() for label in above.get_xticklabels()] == ["0.03", "0.27"]
    named = [text.get_text() for legend in figure.legends for text in legend.get_texts()]
    assert named[:2] == ["parity (moments)", "rr (attributes)"]
    assert "erm" in named


def test_every_strength_has_a_line_of_its_own() -> None:
    """Joined they would go to and fro."""
    rows = sweep() + [r | {"strength": "9"} for r in sweep() if r["method"] == "parity"]
    figure = by_epsilon(group_settings(rows), GAPS[0])
    assert figure is not None
    named = [text.get_text() for legend in figure.legends for text in legend.get_texts()]
    assert named[:3] == ["parity (moments) 3", "parity (moments) 9", "rr (attributes)"]
    assert all(list(line.get_xdata()) == sorted(line.get_xdata()) for line in figure.axes[0].lines)


def test_every_number_of_components_has_a_line_of_its_own() -> None:
    """Of two settings that differ in nothing else, too."""
    other = {"components": "2", "settings": "parity, components 2"}
    rows = sweep() + [r | other for r in sweep() if r["method"] == "parity"]
    figure = by_epsilon(group_settings(rows), GAPS[0])
    assert figure is not None
    named = [text.get_text() for legend in figure.legends for text in legend.get_texts()]
    assert {"parity (moments)", "parity (moments, components 2)"} < set(named)


def test_one_epsilon_makes_no_figure_by_epsilon() -> None:
    assert by_epsilon(group_settings([row("erm", 0, 0.3), row("parity", 0, 0.1, asked_epsilon="1")]), GAPS[0]) is None


def crowded() -> list[RunRow]:
    """A front of a dozen settings near each other, one far off, and one that is dominated."""
    rows = [row("erm", 0, 0.30, balanced_accuracy="0.80"), row("worse", 0, 0.29, balanced_accuracy="0.60")]
    rows += [row("odds", 0, 0.1, balanced_accuracy="0.70")]
    accuracies = [(0.2 + 0.004 * i, 0.79 + 0.0004 * i) for i in range(12)]
    rows += [
        row("parity", 0, gap, balanced_accuracy=str(a), strength=f"{i}.25") for i, (gap, a) in enumerate(accuracies)
    ]
    return rows


def test_names_of_the_front_cover_neither_each_other_nor_a_point() -> None:
    figure = front_figure(group_settings(crowded()))
    assert figure is not None
    (axis,) = figure.axes
    named = [text for text in axis.texts if text.get_text() and "outside" not in text.get_text()]
    assert len(named) == 14  # a dozen of parity, odds and the baseline
    figure.draw_without_rendering()
    boxes = [Text.get_window_extent(text) for text in named]
    assert not [pair for pair in itertools.combinations(boxes, 2) if pair[0].overlaps(pair[1])]
    frame = axis.get_window_extent()
    assert all(frame.x0 <= box.x0 and box.x1 <= frame.x1 for box in boxes)


def test_what_is_dominated_has_no_name_and_stretches_no_axis() -> None:
    figure = front_figure(group_settings(crowded()))
    assert figure is not None
    (axis,) = figure.axes
    assert "worse" not in texts(axis)
    assert "settings outside: 1" in texts(axis)
    assert axis.get_ylim()[0] > 0.65


def test_exact_releases_are_on_no_front_of_private_ones() -> None:
    exact = row("odds", 0, 0.0, balanced_accuracy="0.9")  # better than all others
    figure = front_figure(group_settings([*sweep(), exact]))
    assert figure is not None
    assert texts(figure.axes[0]) == [
        "settings outside: 1, runs collapsed: 2",
        "parity, ε 0.1",
        "parity, ε 1",
        "erm",
    ]
    alone = front_figure(group_settings([row("erm", 0, 0.3), exact]))
    assert alone is not None
    assert "odds" in texts(alone.axes[0])
