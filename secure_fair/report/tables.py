"""A run's summary as tables of text cells, for the terminal and for the page."""

from __future__ import annotations

import shutil
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from decimal import ROUND_CEILING, Context
from itertools import zip_longest
from typing import Any

from secure_fair.fairness.metrics import worst_gap
from secure_fair.report.cells import fitted, lines_of

Summary = Mapping[str, Any]
Cells = tuple[str, ...]

GAP_LABELS = {"demographic_parity_difference": "DPD", "equalized_odds_difference": "EOD"}
GAP_LEGEND = (
    "DPD: demographic-parity difference, between groups' selection rates. EOD: equalized-odds difference, the larger "
    "of those between their true- and their false-positive rates. 0 is fair. In brackets: 95 % intervals for the draw "
    "of test records; what another training, with another seed or other noise, would change is not in them"
)
RATES = {
    "records": "records",
    "accuracy": "accuracy",
    "selection_rate": "selection rate",
    "true_positive_rate": "true positive rate",
    "false_positive_rate": "false positive rate",
}


@dataclass(frozen=True)
class Table:
    """A header and rows of as many cells."""

    header: Cells
    rows: tuple[Cells, ...]

    @property
    def numeric(self) -> tuple[bool, ...]:
        """Columns that hold numbers alone, and stand to the right."""
        columns = zip(*self.rows, strict=True) if self.rows else [() for _ in self.header]
        return tuple(bool(cells) and all(cell[:1].isdigit() or cell == "-" for cell in cells) for cells in columns)

    def text(self, width: int | None = None) -> str:
        """The table in columns under a rule, without trailing blanks; cells are broken where it would be wider than
        ``width`` characters, or without one than the terminal that it goes to."""
        room = terminal_width() if width is None else width
        widths, between = fitted(self.header, self.rows, self.numeric, room)

        def render(line: Cells) -> str:
            broken = [lines_of(cell, wide) for cell, wide in zip(line, widths, strict=True)]
            return "\n".join(
                between.join(
                    cell.rjust(wide) if right else cell.ljust(wide)
                    for cell, wide, right in zip(cells, widths, self.numeric, strict=True)
                ).rstrip()
                for cells in zip_longest(*broken, fillvalue="")
            )

        rule = between.join("-" * wide for wide in widths)
        return "\n".join([render(self.header), rule, *map(render, self.rows)])

    def tree(self) -> list[dict[str, str]]:
        """The rows by their header, for JSON."""
        return [dict(zip(self.header, line, strict=True)) for line in self.rows]

    def markdown(self) -> str:
        """The table as GitHub's Markdown."""
        rule = tuple("---:" if right else "---" for right in self.numeric)
        lines = ([cell.replace("|", "\\|") for cell in line] for line in (self.header, rule, *self.rows))
        return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def terminal_width() -> int | None:
    """Characters in a line of the terminal that standard output is; None where it is a file or a pipe."""
    return shutil.get_terminal_size().columns if sys.stdout.isatty() else None


def runs_of(summary: Summary) -> list[Summary]:
    """The summaries of the compared methods in order, then of the main one."""
    return [*summary.get("compare", []), summary]


def attributes_of(summary: Summary) -> list[str]:
    """Every attribute that any of the methods was measured on."""
    return list(dict.fromkeys(name for run in runs_of(summary) for name in fairness_of(run)))


def fairness_of(run: Summary) -> Mapping[str, Any]:
    """The fairness to show: the experimenter's exact view where there is one, else what was released."""
    return run.get("fairness") or run.get("fairness_released") or {}


def by_chance(run: Summary, attribute: str, gap: str) -> float | None:
    """The gap that these predictions would have if the attribute were dealt out at random; None where it is unknown."""
    floor: float | None = fairness_of(run).get(attribute, {}).get("null_floor", {}).get(gap)
    return floor


def methods(summary: Summary) -> Table:
    """One row per method: utility with its interval, and training time."""
    rows = []
    for run in runs_of(summary):
        utility, ends = run.get("utility", {}), run.get("intervals") or {}
        names = ("accuracy", "balanced_accuracy")
        time = duration(run.get("cost", {}).get("training_seconds"))
        status = run.get("status", "ok")
        name = method_name(run) if status == "ok" else f"{method_name(run)} ({status})"
        rows.append((name, str(run["mode"]), *(between(utility.get(one), ends.get(one)) for one in names), time))
    return Table(("method", "mode", "accuracy", "balanced accuracy", "time"), tuple(rows))


def gaps(summary: Summary, attribute: str) -> Table:
    """One row per method: an attribute's gaps and its worst group's accuracy with their intervals; then the gaps that
    chance alone would show."""
    rows = []
    for run in runs_of(summary):
        found = fairness_of(run).get(attribute, {})
        ends = found.get("intervals") or {}
        cells = [between(found.get(name), ends.get(name)) for name in (*GAP_LABELS, "worst_group_accuracy")]
        rows.append((method_name(run), *cells))
    floors = [by_chance(summary, attribute, gap) for gap in GAP_LABELS]
    if any(floor is not None for floor in floors):
        rows.append(("by chance", *map(share, floors), "-"))
    return Table((attribute, *GAP_LABELS.values(), "worst group's accuracy"), tuple(rows))


def past(summary: Summary) -> Table:
    """One row per group of a scenario with a bias of labels: its share of class 1 as recorded, and in truth."""
    told = summary.get("past") or {"groups": {}}
    rows = [
        (name, count(row["records"]), share(row["recorded"]), share(row["true"]))
        for name, row in told["groups"].items()
    ]
    return Table(("training labels", "records", "as recorded", "in truth"), tuple(rows))


def past_agreement(summary: Summary) -> Table:
    """One row per method of such a scenario: accuracy by true labels, and by labels such as it was trained on."""
    rows = [
        (method_name(run), share(run["utility"]["accuracy"]), share(run["past"]["accuracy_by_the_past"]))
        for run in runs_of(summary)
        if run.get("past")
    ]
    return Table(("method", "accuracy by true labels", "by labels as the past recorded them"), tuple(rows))


def pictures(summary: Summary) -> Table:
    """One row for each side, where the auditors' pictures come from another data set than the developer's."""
    rows = []
    for name, held in (summary.get("pictures") or {}).items():
        colours = (" ".join(f"{value:.3f}" for value in held[key]) for key in ("mean", "deviation"))
        rows.append((name, str(held["dataset"]), str(held["records"]), *colours))
    return Table(("pictures of", "data set", "records", "mean of red, green, blue", "deviation"), tuple(rows))


def path(summary: Summary) -> Table:
    """One row per strength that one release tells of: gaps of its mean predictions, its accuracy, if it was taken."""
    steps = summary.get("path") or []
    names = list(steps[0]["gaps"]) if steps else []
    rows = [
        (
            f"{step['strength']:g}",
            *(share(step["gaps"][name]) for name in names),
            share(step["accuracy"]),
            "taken" if step["taken"] else "",
        )
        for step in steps
    ]
    of = steps[0].get("accuracy_of", "training") if steps else ""
    return Table(("strength", *(f"told gap by {name}" for name in names), f"accuracy ({of})", ""), tuple(rows))


def intersections(summary: Summary) -> Table:
    """One row per method and intersection: its gap, what it would be by chance, and the two groups it is between."""
    rows = []
    for run in runs_of(summary):
        for name in run.get("intersections") or {}:
            worst = worst_gap(fairness_of(run), (name,))
            if worst is None:
                continue
            ends = [worst.get(end) for end in ("highest", "lowest")]
            cells = [f"{end['group']} {share(end['selection_rate'])}" if end else "-" for end in ends]
            gaps = (worst["demographic_parity_difference"], by_chance(run, name, "demographic_parity_difference"))
            rows.append((method_name(run), name, *map(share, gaps), *cells))
    return Table(("method", "intersection", "DPD", "by chance", "selected most", "selected least"), tuple(rows))


def method_name(run: Summary) -> str:
    """A method with its release, for instance ``parity (moments)``."""
    return f"{run['method']} ({run['release']})" if run.get("release") else str(run["method"])


def task_of(run: Summary) -> str:
    """The task in words; of a run that does not say it, its scenario."""
    task = run.get("task")
    return f"{task['target']} ({task['dataset']})" if task else str(run["scenario"])


def spent(run: Summary, attribute: str) -> str:
    """The epsilon that releases of an attribute have spent in a run; a dash where it was not asked for."""
    account = run.get("privacy", {}).get("attributes", {}).get(attribute)
    return "-" if account is None else guarantee(account)


def warnings(summary: Summary) -> list[str]:
    """Every warning of every method of the run, the main one's first, none twice."""
    found: list[str] = []
    for run in reversed(runs_of(summary)):
        texts = [*run.get("warnings", []), *run.get("security", {}).get("warnings", [])]
        if run.get("status", "ok") != "ok":
            texts.insert(0, f"the classifier of {method_name(run)} is {run['status']} on the test records")
        found += [text for text in texts if text not in found]
    return found


def openings(summary: Summary) -> Table:
    """One row per method and kind of opening: everything that left the shares or an auditor in this run."""
    rows = (
        (
            method_name(run),
            str(line["operation"]),
            f"{line.get('attribute') or '-'}{' (' + line['of'] + ')' if line.get('of') else ''}",
            str(line.get("auditor") or "-"),
            str(line["receiver"]),
            str(line["releases"]),
            str(line["numbers"]),
            protection(line),
        )
        for run in runs_of(summary)
        for line in run.get("openings", [])
    )
    return Table(
        ("method", "operation", "attribute", "of", "opened to", "releases", "numbers", "protection"), tuple(rows)
    )


def protection(opening: Mapping[str, Any]) -> str:
    """The protection of an opened value; for one of the developer's own, what it is."""
    if opening.get("says"):
        return str(opening["says"])
    if opening["exact"]:
        return "none: exact"
    if opening.get("epsilon") is not None:
        return f"epsilon {opening['epsilon']:.3g}"
    return f"noise, sigma {opening['sigma']:.4g}" if opening.get("sigma") else "noised"


def groups(summary: Summary, attribute: str) -> Table:
    """One row per method and group of an attribute: size and rates, with their intervals where all is exact."""
    rows = []
    for run in runs_of(summary):
        found = fairness_of(run).get(attribute, {})
        for group, values in found.get("groups", {}).items():
            ends = (found.get("group_intervals") or {}).get(group, {})
            cells = [between(values.get(rate), ends.get(rate)) for rate in list(RATES)[1:]]
            rows.append((method_name(run), group, count(values.get("records")), *cells))
    return Table(("method", "group", *RATES.values()), tuple(rows))


def released(summary: Summary) -> Table:
    """The exact gaps beside those computed from released counts, which are all that a deployment has."""
    rows = []
    exact, noised = summary.get("fairness") or {}, summary.get("fairness_released") or {}
    for name in dict.fromkeys((*exact, *noised)):
        for gap, short in GAP_LABELS.items():
            values = (exact.get(name, {}).get(gap), by_chance(summary, name, gap), noised.get(name, {}).get(gap))
            rows.append((name, short, *map(share, values)))
    header = ("attribute", "gap", "exact (simulation only)", "by chance", "released")
    return Table(header, tuple(rows) if noised else ())


def costs(summary: Summary) -> Table:
    """One row per secure operation, as the developer measured it: calls, rounds, traffic with the auditors, with the
    dealer, and time; beside each what was forecast, where something was."""
    rows = []
    expected = summary.get("forecast", {}).get("operations", {})
    for name, cost in summary.get("cost", {}).items():
        if not isinstance(cost, Mapping):
            continue
        online, dealt = (
            cost.get(f"{link}bytes_sent", 0) + cost.get(f"{link}bytes_received", 0) for link in ("", "dealer_")
        )
        facts = (str(cost["rounds"]), size(online), size(dealt), duration(cost["seconds"]))
        rows.append((name, str(cost["calls"]), *(_beside(facts, expected.get(name)) if expected else facts)))
    names = ("rounds", "traffic", "dealer traffic", "time")
    told = tuple(part for name in names for part in (name, "forecast")) if expected else names
    return Table(("operation", "calls", *told), tuple(rows))


def _beside(facts: Sequence[str], line: Mapping[str, Any] | None) -> tuple[str, ...]:
    """Facts with what was forecast of each; dashes where nothing was."""
    forecast = ["-"] * len(facts)
    if line is not None:
        sizes = (size(line["traffic"]), size(line["dealer_traffic"]))
        forecast = [str(line["rounds"]), *sizes, duration(line["seconds"])]
    return tuple(cell for pair in zip(facts, forecast, strict=True) for cell in pair)


def privacy(summary: Summary) -> Table:
    """One row per method and secret: what its releases may say about one person at most; then of all together."""
    rows = []
    runs = runs_of(summary)
    accounts = [(method_name(run), run.get("privacy", {}), [run]) for run in runs]
    accounts.append(("with compared methods", summary.get("privacy", {}).get("with_compared", {}), runs))
    for method, held, told in accounts:
        entries = [(name, entry, _all_gaussian(told, name)) for name, entry in held.get("attributes", {}).items()]
        for auditor, own in held.get("records", {}).items():
            entries += [(f"{auditor}'s own records: {name}", entry, False) for name, entry in own.items()]
        for name, entry, gaussian in entries:
            cells = (guarantee(entry), at_most(entry["delta"]), count(entry.get("releases")))
            rows.append((method, name, *cells, str(entry.get("adjacency", "-")), guesses(entry, gaussian)))
    header = ("method", "secret", "epsilon", "delta", "releases", "adjacency", "a guess is right, at most")
    return Table(header, tuple(rows))


def guesses(entry: Mapping[str, Any], gaussian: bool) -> str:
    """How many of 100 guesses of one fair coin, which of two neighbours it was, are right at most after all releases of
    an account: by Gaussian DP where all of its noise is Gaussian, else by what (epsilon, delta) allows anything."""
    if entry.get("releases") == 0:
        return right_of(0.0)
    if entry.get("exact") or entry.get("epsilon") is None:
        return right_of(1.0)
    # scipy, which those who list scenarios are spared
    from secure_fair.privacy.accounting import gaussian_advantage, gaussian_mu, response_advantage

    epsilon, delta = float(entry["epsilon"]), float(entry["delta"])
    if gaussian and 0 < delta < 1:
        return right_of(gaussian_advantage(gaussian_mu(epsilon, delta)))
    # (e^epsilon - 1 + 2 delta) / (e^epsilon + 1): Kairouz, Oh and Viswanath 2015
    return right_of(min(1.0, response_advantage(epsilon, 2) + delta * (1 - response_advantage(epsilon, 2))))


def right_of(advantage: float) -> str:
    """How many of 100 guesses of a fair coin are right at most."""
    return f"{100 * (1 + advantage) / 2:.1f} of 100"


def _all_gaussian(runs: Sequence[Summary], attribute: str) -> bool:
    """Whether everything that was opened of an attribute in these runs has Gaussian noise, or tells nothing more."""
    lines = [line for run in runs for line in run.get("openings", []) if line.get("attribute") == attribute]
    return not any(line["exact"] or line.get("epsilon") for line in lines)


def guarantee(entry: Mapping[str, Any]) -> str:
    """An epsilon in words where a number would mislead."""
    if entry.get("releases") == 0:
        return "nothing released"
    if entry.get("exact") or entry.get("epsilon") is None:
        return "none: exact releases"
    return f"{entry['epsilon']:.3g}"


def at_most(delta: float) -> str:
    """A delta to three digits, rounded up: nothing is printed as less than it is. A dash where all is exact."""
    return f"{float(Context(prec=3, rounding=ROUND_CEILING).create_decimal(repr(delta))):.3g}" if delta else "-"


def share(value: float | None) -> str:
    """A rate or gap to three places; a dash where there is none."""
    if isinstance(value, list):  # over more than two classes
        return " ".join(share(item) for item in value)
    return "-" if value is None else f"{value:.3f}"


def between(value: float | None, ends: Sequence[float] | None) -> str:
    """A rate or gap with its interval, where it has one."""
    if value is None or ends is None:
        return share(value)
    return f"{share(value)} [{share(ends[0])}, {share(ends[1])}]"


def count(value: float | None) -> str:
    """A number of things, which noise may have made fractional."""
    return "-" if value is None else f"{value:.0f}"


def duration(seconds: float | None) -> str:
    """A duration for people."""
    if seconds is None:
        return "-"
    if seconds < 1:
        return f"{1000 * seconds:.0f} ms"
    if seconds < 60:
        return f"{seconds:.1f} s"
    return f"{int(seconds // 60)} min {int(seconds % 60)} s"


def size(number: float) -> str:
    """An amount of data for people, in powers of 1000."""
    for unit in ("B", "kB", "MB"):
        if number < 1000:
            return f"{number:.3g} {unit}"
        number /= 1000
    return f"{number:.3g} GB"
