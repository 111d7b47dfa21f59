"""What a sweep found, from its CSV alone: mean and spread per setting as a table, and figures of the trade-offs."""

from __future__ import annotations

import csv
import io
import math
import statistics
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from secure_fair.errors import UsageError
from secure_fair.report.figures import INK, png, svg
from secure_fair.report.tables import Table

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

Row = dict[str, str]

# the columns of a sweep's runs.csv that say what was run; runs that differ in none of them belong together
KNOBS = (
    "scenario",
    "dataset",
    "target",
    "method",
    "release",
    "strength",
    "components",
    "asked_epsilon",
    "delta",
    "training_records",
    "test_records",
    "epochs",
    "mode",
    "settings",
)
UTILITY = ("accuracy", "balanced_accuracy", "auroc")
GAPS = (
    "demographic_parity_difference",
    "equalized_odds_difference",
    "true_positive_rate_difference",
    "false_positive_rate_difference",
    "worst_group_accuracy",
)
METRICS = (*UTILITY, *GAPS)
SHORT = {
    "accuracy": "accuracy",
    "balanced_accuracy": "balanced",
    GAPS[0]: "DP",
    GAPS[1]: "EO",
    GAPS[3]: "FPR",
    GAPS[4]: "worst group",
}

PALETTE = ("#1d4ed8", "#d97706", "#059669", "#db2777", "#7c3aed", "#0891b2", "#65a30d", "#b91c1c", "#475569")
BASELINE = "#8a8f98"
MARKERS = "osD^"
LINES = {"moments": "-", "rows": "--", "attributes": ":", "adapter": "-.", "gradient": ":"}


@dataclass(frozen=True)
class Spread:
    """Mean and sample standard deviation over runs; the latter is None for a single run."""

    mean: float
    deviation: float | None

    @classmethod
    def of(cls, values: Sequence[float]) -> Spread | None:
        """None where there are no values."""
        if not values:
            return None
        return cls(statistics.fmean(values), statistics.stdev(values) if len(values) > 1 else None)

    def __str__(self) -> str:
        return f"{self.mean:.3f}" + ("" if self.deviation is None else f" ± {self.deviation:.3f}")


@dataclass(frozen=True)
class Setting:
    """All runs that differ in nothing but the seed, for one attribute. ``epsilon`` is the largest one reported."""

    knobs: Mapping[str, str]
    attribute: str
    runs: int
    metrics: Mapping[str, Spread | None]
    epsilon: float | None
    collapsed: int
    diverged: int

    @property
    def method(self) -> str:
        """The method with its release, and what else tells its form."""
        return method_label(self.knobs)

    @property
    def panel(self) -> tuple[str, str]:
        """What settings are compared within: task and attribute."""
        return self.knobs["scenario"], self.attribute

    @property
    def asked(self) -> float | None:
        """The epsilon asked for, infinite for exact releases; None where nothing is released."""
        return float(self.knobs["asked_epsilon"]) if self.knobs["asked_epsilon"] else None

    @property
    def trouble(self) -> str:
        """How many of the runs came to nothing."""
        found = (f"{count} {what}" for count, what in ((self.collapsed, "collapsed"), (self.diverged, "diverged")))
        return ", ".join(text for text in found if text[0] != "0")


def method_label(row: Mapping[str, str]) -> str:
    """The method of a sweep's row, with its release and those settings that have no column of their own."""
    if not row["release"]:
        return row["method"]
    known = ("release ", "strength ", "epsilon ", "components ", "epochs ")
    words = [
        word for word in row["settings"].split(", ") if word not in ("", row["method"]) and not word.startswith(known)
    ]
    return f"{row['method']} ({', '.join([row['release'], *words])})"


def settings_of(rows: Iterable[Row]) -> list[Setting]:
    """The settings of a sweep's rows, task by task, each task's in the order of method, strength and epsilon."""
    rows = list(rows)
    together: dict[tuple[str, ...], list[Row]] = {}
    for row in rows:
        # a diverged run was never told its number of records
        keys = tuple(row[name] for name in (*KNOBS, "attribute") if name not in ("training_records", "test_records"))
        together.setdefault(keys, []).append(row)
    first_seen = {name: list(dict.fromkeys(row[name] for row in rows)) for name in ("scenario", "attribute", "method")}

    def place(setting: Setting) -> tuple[Any, ...]:
        knobs = setting.knobs
        order = (first_seen[name].index(knobs[name]) for name in ("scenario", "method"))
        scenario, method = order
        attribute = first_seen["attribute"].index(setting.attribute)
        return scenario, attribute, method, knobs["release"], float(knobs["strength"] or 0), setting.asked or 0

    return sorted((_setting(alike) for alike in together.values()), key=place)


def _setting(rows: Sequence[Row]) -> Setting:
    metrics = {name: Spread.of([float(row[name]) for row in rows if row[name]]) for name in METRICS}
    epsilons = [float(row["epsilon"]) for row in rows if row["epsilon"]]
    fullest = max(rows, key=lambda row: row["training_records"] != "")
    return Setting(
        knobs={name: fullest[name] for name in KNOBS},
        attribute=rows[0]["attribute"],
        runs=len(rows),
        metrics=metrics,
        epsilon=max(epsilons) if epsilons else None,
        collapsed=sum(row["status"] == "collapsed" for row in rows),
        diverged=sum(row["status"] == "diverged" for row in rows),
    )


# --- the table --------------------------------------------------------------------------------------------------------


def table(settings: Sequence[Setting]) -> Table:
    """One row per setting: mean ± standard deviation over the seeds."""
    strengths = len({setting.knobs["strength"] for setting in settings if setting.knobs["strength"]}) > 1
    several_epochs = len({setting.knobs["epochs"] for setting in settings}) > 1
    header = ["task", "attribute", "method"]
    header += ["strength"] * strengths + ["epochs"] * several_epochs
    header += ["epsilon", "runs", *SHORT.values(), "remarks"]
    rows = []
    for setting in settings:
        cells = [*setting.panel, setting.method]
        cells += [setting.knobs["strength"] or "-"] * strengths + [setting.knobs["epochs"]] * several_epochs
        cells += [_epsilon(setting), str(setting.runs)]
        cells += [str(setting.metrics[name] or "-") for name in SHORT]
        rows.append((*cells, setting.trouble or "-"))
    return Table(tuple(header), tuple(rows))


def _epsilon(setting: Setting) -> str:
    if setting.epsilon is None:
        return "-"
    if setting.epsilon == 0:
        return "0"
    return "exact" if math.isinf(setting.epsilon) else f"{setting.epsilon:.3g}"


def markdown(shown: Table) -> str:
    """The table as GitHub's Markdown."""

    def line(cells: Sequence[str]) -> str:
        return "| " + " | ".join(cell.replace("|", "\\|") for cell in cells) + " |"

    rule = ["---:" if right else "---" for right in shown.numeric]
    return "\n".join([line(shown.header), line(rule), *map(line, shown.rows)])


def summary_csv(settings: Sequence[Setting]) -> str:
    """Every metric's mean and standard deviation per setting, as CSV."""
    text = io.StringIO(newline="")
    writer = csv.writer(text, lineterminator="\n")
    columns = [f"{name}_{what}" for name in METRICS for what in ("mean", "sd")]
    writer.writerow([*KNOBS, "attribute", "runs", "epsilon", "collapsed", "diverged", *columns])
    for setting in settings:
        numbers: list[float | None] = []
        for name in METRICS:
            spread = setting.metrics[name]
            numbers += [None, None] if spread is None else [spread.mean, spread.deviation]
        facts = [setting.attribute, setting.runs, setting.epsilon, setting.collapsed, setting.diverged]
        cells = ["" if value is None else f"{value:.4f}" for value in numbers]
        writer.writerow([*(setting.knobs[name] for name in KNOBS), *facts, *cells])
    return text.getvalue()


# --- figures ----------------------------------------------------------------------------------------------------------


def accuracy_gap(settings: Sequence[Setting]) -> Figure:
    """Accuracy over each gap, a column of panels per task and attribute: up and to the left is better.

    Bars are standard deviations over the seeds; a line joins the settings of one method in the order of epsilon and
    strength, and its numbers are the epsilons.
    """
    panels = list(dict.fromkeys(setting.panel for setting in settings))
    figure, axes = _grid(2, len(panels))
    colours, markers = _colours(settings), _markers(settings)
    for row, gap in enumerate(GAPS[:2]):
        for column, panel in enumerate(panels):
            axis = axes[row][column]
            for method, held in _by_method(setting for setting in settings if setting.panel == panel).items():
                points = [(s, s.metrics[gap], s.metrics["accuracy"]) for s in held]
                drawn = [(s, x, y) for s, x, y in points if x is not None and y is not None]
                axis.errorbar(
                    [x.mean for _, x, _ in drawn],
                    [y.mean for _, _, y in drawn],
                    xerr=[x.deviation or 0 for _, x, _ in drawn],
                    yerr=[y.deviation or 0 for _, _, y in drawn],
                    fmt=markers[method],
                    linestyle=LINES.get(held[0].knobs["release"], "-"),
                    color=colours[method],
                    linewidth=1,
                    elinewidth=0.7,
                    markersize=5,
                    label=method,
                )
                for s, x, y in drawn:
                    if s.asked is not None and not math.isinf(s.asked):
                        axis.annotate(
                            f"{s.asked:g}",
                            (x.mean, y.mean),
                            textcoords="offset points",
                            xytext=(4, 4),
                            fontsize=6,
                            color=colours[method],
                        )
            axis.set_xlim(left=0)
            axis.set_xlabel(f"{gap.replace('_', ' ')}, {panel[1]}", fontsize=8)
            axis.set_ylabel("accuracy" if column == 0 else "", fontsize=8)
            axis.set_title(panel[0] if row == 0 else "", fontsize=9, color=INK)
            _plain(axis)
    _legend(figure, axes)
    return figure


def by_epsilon(settings: Sequence[Setting]) -> Figure | None:
    """Gaps and accuracy by the epsilon asked for, a line per method and release; None for fewer than two epsilons."""
    asked = sorted({setting.asked for setting in settings if setting.asked is not None})
    if len(asked) < 2:
        return None
    panels = list(dict.fromkeys(setting.panel for setting in settings))
    shown = (*GAPS[:2], "accuracy")
    figure, axes = _grid(len(shown), len(panels))
    colours, markers = _colours(settings), _markers(settings)
    for row, metric in enumerate(shown):
        for column, panel in enumerate(panels):
            axis = axes[row][column]
            for method, held in _by_method(setting for setting in settings if setting.panel == panel).items():
                drawn = [(s, value) for s in held if (value := s.metrics[metric]) is not None]
                if drawn and drawn[0][0].asked is None:
                    axis.axhline(drawn[0][1].mean, color=colours[method], linestyle=":", linewidth=1.2, label=method)
                    continue
                xs = [asked.index(s.asked) for s, _ in drawn if s.asked is not None]
                axis.errorbar(
                    xs,
                    [value.mean for _, value in drawn],
                    yerr=[value.deviation or 0 for _, value in drawn],
                    fmt=markers[method],
                    linestyle=LINES.get(held[0].knobs["release"], "-"),
                    color=colours[method],
                    linewidth=1.3,
                    elinewidth=0.8,
                    capsize=2,
                    markersize=4,
                    label=method,
                )
            axis.set_xticks(range(len(asked)), ["exact" if math.isinf(e) else f"{e:g}" for e in asked])
            if metric != "accuracy":
                axis.set_ylim(bottom=0)
            axis.set_xlabel("epsilon" if row == len(shown) - 1 else "", fontsize=8)
            name = metric if metric == "accuracy" else f"{SHORT[metric]} difference"
            axis.set_ylabel(name if column == 0 else "", fontsize=8)
            axis.set_title(f"{panel[0]}, {panel[1]}" if row == 0 else "", fontsize=9, color=INK)
            _plain(axis)
    _legend(figure, axes)
    return figure


def _by_method(settings: Iterable[Setting]) -> dict[str, list[Setting]]:
    """By method and release, each in the order of strength and epsilon that ``settings_of`` gives."""
    found: dict[str, list[Setting]] = {}
    for setting in settings:
        found.setdefault(setting.method, []).append(setting)
    return found


def _markers(settings: Sequence[Setting]) -> dict[str, str]:
    """A shape per method: another one for those to which colours come round again."""
    released = dict.fromkeys(setting.method for setting in settings if setting.knobs["release"])
    shapes = {method: MARKERS[index // len(PALETTE) % len(MARKERS)] for index, method in enumerate(released)}
    return {setting.method: MARKERS[0] for setting in settings} | shapes


def _colours(settings: Sequence[Setting]) -> dict[str, str]:
    released = dict.fromkeys(setting.method for setting in settings if setting.knobs["release"])
    colours = {method: PALETTE[index % len(PALETTE)] for index, method in enumerate(released)}
    return {setting.method: BASELINE for setting in settings} | colours


def _grid(rows: int, columns: int) -> tuple[Figure, list[list[Axes]]]:
    from matplotlib.figure import Figure

    figure = Figure(figsize=(0.6 + 3.4 * columns, 0.7 + 2.4 * rows), layout="constrained")
    return figure, [
        [figure.add_subplot(rows, columns, row * columns + column + 1) for column in range(columns)]
        for row in range(rows)
    ]


def _plain(axis: Axes) -> None:
    axis.spines[["top", "right"]].set_visible(False)
    axis.tick_params(colors=INK, labelsize=7)
    axis.grid(axis="y", color="#e5e7eb", linewidth=0.8)
    axis.set_axisbelow(True)


def _legend(figure: Figure, axes: Sequence[Sequence[Axes]]) -> None:
    from matplotlib.text import Text

    entries: dict[str, Any] = {}
    for line in axes:
        for axis in line:
            handles, labels = axis.get_legend_handles_labels()
            entries |= {label: handle for handle, label in zip(handles, labels, strict=True) if label not in entries}
    figure.legend(list(entries.values()), list(entries), loc="outside lower center", ncols=5, frameon=False, fontsize=8)
    for text in figure.findobj(Text):
        text.set_parse_math(False)  # a group may be named "> $50"


# --- the folder -------------------------------------------------------------------------------------------------------

AGAINST = "(differences from erm of the same task and seed: mean and its 95 % t interval over the pairs)"
RUNS = "runs.csv"
CHECKS = "checks.csv"


@dataclass(frozen=True)
class Report:
    """What was made of a sweep's folder."""

    settings: list[Setting]
    checks: list[Row]
    against: Table | None
    files: list[Path]

    def text(self) -> str:
        """For the terminal."""
        parts = [table(self.settings).text(), "(mean ± standard deviation over the runs' seeds)"]
        if self.against is not None:
            parts += ["", self.against.text(), AGAINST]
        if self.checks:
            parts += ["", checks_table(self.checks).text()]
        return "\n".join(parts)

    def tree(self) -> dict[str, Any]:
        """For ``--format json``."""
        listed = list(csv.DictReader(io.StringIO(summary_csv(self.settings), newline="")))
        return {"settings": listed, "checks": self.checks, "files": [str(file) for file in self.files]}


def checks_table(rows: Sequence[Row]) -> Table:
    """The spot checks in secure mode: plain and secure metrics side by side."""
    names = ("accuracy", *GAPS[:2])
    header = ["task", "settings", "seed", "attribute", "releases", "same predictions"]
    header += [f"{SHORT[name]} plain / secure" for name in names]
    body = []
    for row in rows:
        cells = [row[name] for name in ("scenario", "settings", "seed", "attribute", "releases", "same_predictions")]
        cells += [f"{_three(row[f'plain_{name}'])} / {_three(row[f'secure_{name}'])}" for name in names]
        body.append((*cells, row["verdict"]))
    return Table((*header, "verdict"), tuple(body))


def _three(value: str) -> str:
    return f"{float(value):.3f}" if value else "-"


def write_report(folder: Path) -> Report:
    """Write ``results.md``, ``summary.csv`` and figures into a sweep's folder, from ``runs.csv`` and ``checks.csv``.

    Raises ``UsageError`` where there is no run to show.
    """
    from secure_fair.report.differences import differences

    rows = read_rows(folder / RUNS)
    if not rows:
        raise UsageError(f"{folder / RUNS}: has no runs; run the sweep without --report-only first")
    settings = settings_of(rows)
    report = Report(settings, read_rows(folder / CHECKS), differences(rows), [])
    figures = {"accuracy-gap": accuracy_gap(settings), "by-epsilon": by_epsilon(settings)}
    for name, figure in figures.items():
        if figure is not None:
            (folder / f"{name}.svg").write_text(svg(figure, name), encoding="utf-8")
            (folder / f"{name}.png").write_bytes(png(figure))
            report.files.extend([folder / f"{name}.svg", folder / f"{name}.png"])
    parts = [markdown(table(settings)), "Mean ± standard deviation over the runs' seeds."]
    if report.against is not None:
        parts += [markdown(report.against), AGAINST]
    if report.checks:
        parts.append(markdown(checks_table(report.checks)))
    (folder / "results.md").write_text("\n\n".join(parts) + "\n", encoding="utf-8")
    (folder / "summary.csv").write_text(summary_csv(settings), encoding="utf-8")
    report.files.extend([folder / "results.md", folder / "summary.csv"])
    return report


def read_rows(file: Path) -> list[Row]:
    """The rows of a CSV; none where there is no such file."""
    if not file.is_file():
        return []
    with file.open(newline="", encoding="utf-8") as opened:
        return list(csv.DictReader(opened))
