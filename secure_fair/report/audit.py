"""An audit's answer for people and programs: tables for a terminal, one page without outside parts, a CSV."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from secure_fair.errors import UsageError
from secure_fair.files import write_bytes
from secure_fair.report import tables
from secure_fair.report.figures import INK, MAIN, literal, plain, svg
from secure_fair.report.tables import Table, count, share
from secure_fair.report.templates import template

if TYPE_CHECKING:
    from matplotlib.figure import Figure

Summary = Mapping[str, Any]

ANSWER = "audit.json"
PAGE = "audit.html"
LINES = "audit.csv"
LINES_HEADER = ("attribute", "group", "metric", "value", "low", "high", "low_these_people", "high_these_people", "note")
OWN_COLUMNS = ("group", "records", "share", "included", "reason", "impact ratio", "standard deviations")
LEGEND = (
    "Intervals hold for all groups of an attribute together at 95 %. Those of the tables are for people like these: "
    "they include sampling and noise. Verdicts are about these people: what leaves them open is the noise alone."
)

LEARNED_OF_IDS = {
    "keyed": "the developer's ids under a key that all sides have: whose they are where it can guess the id",
    "matched": "which of its own records all have, how many others the developer has, of nobody else that it has them",
}
REMEMBERED = "Nothing was opened to anybody: every answer was remembered from an earlier audit."


def write_audit(folder: Path) -> list[Path]:
    """Write page and CSV beside the answer in ``folder``; UsageError where there is none."""
    file = folder / ANSWER
    try:
        summary = json.loads(file.read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError) as error:
        raise UsageError(f"{file}: is no audit's answer: {error}") from error
    written = [folder / PAGE, folder / LINES]
    write_bytes(written[0], render(summary).encode())
    write_bytes(written[1], lines(summary).encode())
    return written


def text(summary: Summary) -> str:
    """The tables that end an audit on a terminal."""
    parts = [matching(summary).text(), ""]
    for name, found in shown(summary).items():
        parts += [f"{title(name, found)}:", rates(found).text(), ""]
        for more in (labelled_rates(found), calibrated(found)):
            parts += [more.text(), ""] if more.rows else []
    parts += [verdicts(summary).text(), ""] if summary["verdicts"] else []
    opened = tables.openings(summary)
    parts += ["What was opened to whom:", opened.text(), ""] if opened.rows else [REMEMBERED, ""]
    parts += [learned(summary).text(), ""]
    parts += [f"warning: {line}" for line in summary["warnings"]]
    return "\n".join([*parts, f"({LEGEND})"])


def render(summary: Summary) -> str:
    """The page: no script, nothing from outside."""
    from markupsafe import Markup

    drawn = {
        name: svg(intervals(name, found), f"intervals-{i}") for i, (name, found) in enumerate(shown(summary).items())
    }
    return template("audit.html").render(
        summary=summary,
        legend=LEGEND,
        matching=matching(summary),
        verdicts=verdicts(summary),
        failed=[one for one in summary["verdicts"] if one["verdict"] == "fail"],
        attributes=[
            (
                title(name, found),
                rates(found),
                labelled_rates(found),
                metrics(found),
                calibrated(found),
                Markup(drawn[name]),
            )  # drawn from escaped names
            for name, found in shown(summary).items()
        ],
        hidden=[name for name, found in summary["attributes"].items() if found["answer"] == "verdict"],
        openings=tables.openings(summary),
        remembered=REMEMBERED,
        learned=learned(summary),
        privacy=tables.privacy(summary),
        costs=tables.costs(summary),
        duration=tables.duration(summary["seconds"]),
        policies=summary["policies"],
    )


def audit_of_run(run: Summary) -> dict[str, Any]:
    """The audit with which a training run's released counts end, as far as there is one: tables, and certified
    claims."""
    released = run.get("fairness_released") or {}
    held = {name: {"answer": "counts", **one["audit"]} for name, one in released.items() if "audit" in one}
    asked = (run.get("privacy") or {}).get("asked") or {}
    privacy = {"epsilon": asked.get("evaluation_epsilon")}
    return {"attributes": held, "verdicts": run.get("verdicts") or [], "privacy": privacy}


def shown(summary: Summary) -> dict[str, Any]:
    """The attributes whose tables may be shown."""
    return {name: found for name, found in summary["attributes"].items() if found["answer"] == "counts"}


def title(name: str, found: Summary) -> str:
    """An attribute with what was done to its counts."""
    noise = f"counts with noise, sigma {found['sigma']:.3g}" if found["sigma"] else "exact counts"
    return f"{name} ({noise})"


def matching(summary: Summary) -> Table:
    """Who has how many records, and how many are audited."""
    records = summary["records"]
    rows = [("audited: known to all", count(records["matched"])), ("of the developer's", count(records["developer"]))]
    for auditor, number in records["unknown_to"].items():
        rows.append((f"of the developer's alone, unknown to {auditor}", count(number)))
        rows.append((f"of {auditor} alone", count(records["only_with"][auditor])))
    if records["with_label"] is not None:
        rows.append(("audited, with a label", count(records["with_label"])))
    for auditor, draw in summary["draws"].items():
        rows.append((f"counted, for {auditor} has drawn them", f"{count(draw['drawn'])} of {count(draw['of'])}"))
    return Table(("records", "number"), tuple(rows))


def rate_names(found: Summary) -> list[str]:
    """The rates of an attribute's groups."""
    return [name for name in found["groups"][0] if name not in OWN_COLUMNS]


def rates(found: Summary) -> Table:
    """One row per group: size, selection rate, impact ratio and standard deviations with their intervals."""
    selection = rate_names(found)[0]
    rows = []
    for row in found["groups"]:
        cells = [row["group"], count(row["records"]), share(row["share"])]
        cells += [with_interval(row[name]) for name in (selection, "impact ratio", "standard deviations")]
        rows.append((*cells, row["reason"] or "-"))
    header = ("group", "records", "share", selection, "impact ratio", "standard deviations", "left out")
    return Table(header, tuple(rows))


def labelled_rates(found: Summary) -> Table:
    """One row per group: the rates that need labels; none where there are no labels."""
    names = rate_names(found)[1:]
    rows = tuple((row["group"], *(with_interval(row[name]) for name in names)) for row in found["groups"])
    return Table(("group", *names), rows if names else ())


def metrics(found: Summary) -> Table:
    """One row per metric between the groups."""
    rows = [
        (name, share(one["value"]), ends(one["interval"]), ends(one["these_people"]))
        for name, one in found["metrics"].items()
    ]
    return Table(("metric", "value", "for people like these", "for these people"), tuple(rows))


def calibrated(found: Summary) -> Table:
    """One row per bin of scores: what was observed of each group, marked where it does not fit the scores; none where
    scores were not compared with labels."""
    bins = found.get("calibration", [])
    rows = []
    for one in bins:
        scores = one["scores"]
        cells = [ends((scores["low"], scores["high"])), share(scores["mean"]), count(scores["records"])]
        marks = ("" if group["calibrated"] is not False else " (!)" for group in one["groups"])
        rows.append((*cells, *(with_interval(group) + mark for group, mark in zip(one["groups"], marks, strict=True))))
    groups = (f"observed: {group['group']}" for one in bins[:1] for group in one["groups"])
    return Table(("scores", "mean", "records", *groups), tuple(rows))


def verdicts(summary: Summary) -> Table:
    """One row per claim."""
    rows = tuple((one["claim"], one["auditor"], one["verdict"], deciding(one, summary)) for one in summary["verdicts"])
    return Table(("claim", "auditor", "verdict", "what would decide it"), rows)


def deciding(verdict: Summary, summary: Summary) -> str:
    """The epsilon that would decide what is not decided."""
    if verdict["verdict"] != "not decidable":
        return "-"
    if verdict["deciding_epsilon"] is not None:
        return f"epsilon {verdict['deciding_epsilon']:.2g} in place of {summary['privacy']['epsilon']:g}"
    if summary["privacy"]["epsilon"] is None:
        return "nothing: the metric is undefined here"
    return "no epsilon: too few records, undefined, or on the threshold"


def learned(summary: Summary) -> Table:
    """Who learns what of whom, in words."""
    auditors = ", ".join(summary["policies"])
    theirs = f"{LEARNED_OF_IDS[summary['ids']]}; whether the query was in order; no decision, no label"
    if summary["certified"]:
        theirs += "; what it signs for: the released counts of its groups, less its own noise"
    rows = (
        ("developer", "which of its records each auditor has, how many others, the released counts"),
        (auditors, theirs),
        ("dealer", "sizes"),
    )
    return Table(("party", "learns"), rows)


def with_interval(found: Summary) -> str:
    """A number and its interval."""
    return "-" if found["value"] is None else f"{found['value']:.3f} {ends(found['interval'])}"


def ends(interval: Sequence[float | None]) -> str:
    """An interval's ends."""
    low, high = interval
    return "-" if low is None or high is None else f"[{low:.3f}, {high:.3f}]"


def lines(summary: Summary) -> str:
    """One line per attribute, group and metric, then one per claim."""
    written = io.StringIO(newline="")
    rows = csv.writer(written, lineterminator="\n")
    rows.writerow(LINES_HEADER)
    for name, found in shown(summary).items():
        for row in found["groups"]:
            rows.writerow((name, row["group"], "records", row["records"], "", "", "", "", row["reason"]))
            for metric in (*rate_names(found), "impact ratio", "standard deviations"):
                rows.writerow((name, row["group"], metric, *numbers(row[metric]), row["reason"]))
        for one in found.get("calibration", []):
            name_of_bin = f"observed rate at scores {ends((one['scores']['low'], one['scores']['high']))}"
            for group in one["groups"]:
                note = {True: "", False: "not calibrated", None: "undefined"}[group["calibrated"]]
                rows.writerow((name, group["group"], name_of_bin, *numbers(group), note))
        for metric, one in found["metrics"].items():
            rows.writerow((name, "", metric, *numbers(one), ""))
    for one in summary["verdicts"]:
        rows.writerow(
            (one["attribute"], "", one["claim"], one["verdict"], "", "", "", "", one["deciding_epsilon"] or "")
        )
    return written.getvalue()


def numbers(found: Summary) -> tuple[Any, ...]:
    """Value and ends of a CSV's line."""
    return (found["value"], *found["interval"], *found.get("these_people", ("", "")))


def intervals(name: str, found: Summary) -> Figure:
    """Every group's selection rate with its interval; pale where the group takes no part."""
    from matplotlib.figure import Figure

    rate = rate_names(found)[0]
    groups = [row for row in found["groups"] if row[rate]["value"] is not None]
    figure = Figure(figsize=(6.4, 0.9 + 0.32 * len(groups)), layout="constrained")
    panel = figure.subplots()
    for place, row in enumerate(groups):
        low, high = row[rate]["interval"]
        pale = 1.0 if row["included"] else 0.35
        panel.plot([low, high], [place, place], color=MAIN, linewidth=2, alpha=pale, solid_capstyle="butt")
        panel.plot(row[rate]["value"], place, "o", color=MAIN if row["included"] else INK, markersize=5, alpha=pale)
    panel.set_yticks(range(len(groups)), [row["group"] for row in groups])
    panel.invert_yaxis()
    panel.set_xlim(0, 1)
    panel.set_xlabel(f"{rate} by {name}")
    plain(panel, labelsize=8)
    literal(figure)
    return figure
