"""The card of an exported model: its task, data, method, privacy, results and limits, from what its developer may know.

Rates that an experimenter computes from everybody's attributes have no place in it: a card goes where the model goes.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from secure_fair.report.tables import GAP_LABELS, Summary, Table, method_name, runs_of, share

UNKNOWN = "not known from this folder"


@dataclass(frozen=True)
class Exported:
    """The facts of an export: names of its classes and files, how pictures are prepared (none for a table's rows), the
    backbone in words, and how to use what there is. ``strength``: of the head, where it is not the run's own."""

    classes: tuple[str, ...]
    files: Mapping[str, str]
    uses: Sequence[str]
    preprocessing: Mapping[str, Any] | None = None
    backbone: str = ""
    strength: float | None = None


def card(exported: Exported, summary: Summary, scenario: Mapping[str, Any]) -> str:
    """The card in Markdown. ``summary``: of the run, or of the developer's part of it, which lacks what others know;
    ``scenario``: as far as there is any."""
    data = scenario.get("data", {})
    title = str(scenario.get("name", "model"))
    sections = {
        "Task": _task(exported, data),
        "Data": _data(summary, data),
        "Method": [*_method(summary), *_other_head(exported, summary)],
        "Privacy": _privacy(summary),
        "Results": _results(summary, bool(_step(exported, summary))),
        "Limits": _limits(summary),
        "Files": [f"- `{name}`: {text}" for name, text in exported.files.items()],
        "Use": exported.uses,
    }
    head = ["---", f"library_name: {'peft' if exported.preprocessing else 'numpy'}", "---", "", f"# {title}"]
    parts = [line for name, lines in sections.items() for line in ("", f"## {name}", "", *lines)]
    return "\n".join([*head, *parts, ""])


def _task(exported: Exported, data: Mapping[str, Any]) -> Iterator[str]:
    """The target, its classes, and how pictures are prepared."""
    yield f"Predicts `{data.get('target', UNKNOWN)}`. The classes, in the order of the outputs:"
    yield ""
    yield from (f"- {number}: {name}" for number, name in enumerate(exported.classes))
    if exported.preprocessing is not None:
        how, side = exported.preprocessing, exported.preprocessing["size"]
        mean, std = (", ".join(f"{value:g}" for value in how[key]) for key in ("mean", "std"))
        yield ""
        yield (
            f"Pictures are turned upright (EXIF), their short side is resized to {side} pixels (bilinear), the centre "
            f"is cropped to {side} x {side}; values in [0, 1] less the mean ({mean}) are divided by ({std}). "
            f"Backbone: {exported.backbone}."
        )


def _data(summary: Summary, data: Mapping[str, Any]) -> Iterator[str]:
    """The records, and the attributes that fairness is about."""
    held = summary.get("records")
    records = f"{held['training']} training and {held['test']} test" if held else UNKNOWN
    yield f"Data set `{data.get('dataset', UNKNOWN)}`; {records} records."
    sensitive = ", ".join(f"`{name}`" for name in data.get("sensitive", ())) or UNKNOWN
    yield f"Sensitive attributes: {sensitive}."
    if "label_bias" in data:
        yield "The training labels were made wrong on purpose, for one group (`data.label_bias`)."


def _method(summary: Summary) -> Iterator[str]:
    """The method, and whether attributes were protected while it ran."""
    if "method" not in summary:
        yield f"Method: {UNKNOWN}."
        return
    yield f"`{method_name(summary)}`, seed {summary['seed']}."
    if summary["mode"] == "secure":
        yield "Attributes stayed with their holders; what depends on them was computed on secret shares."
    else:
        yield "**Trained in plain mode: one process saw every attribute, and nothing was protected.**"


def _other_head(exported: Exported, summary: Summary) -> Iterator[str]:
    """The strength of a head from the run's path, and what the releases tell of it."""
    for step in _step(exported, summary):
        gaps = ", ".join(f"{share(gap)} by {name}" for name, gap in step["gaps"].items())
        yield ""
        yield (
            f"**The head is that of strength {exported.strength:g}**, from the path that the same release tells of; "
            f"the run itself took another. Told gap of its mean predictions: {gaps}; accuracy on the "
            f"{step['accuracy_of']} records: {share(step['accuracy'])}. No audit or certificate of the run is of it."
        )


def _step(exported: Exported, summary: Summary) -> list[Mapping[str, Any]]:
    """The step of the path that the head is of; none where it is the run's own."""
    path = summary.get("path") or []
    return [step for step in path if step["strength"] == exported.strength and not step["taken"]]


def _privacy(summary: Summary) -> Iterator[str]:
    """The epsilon spent on each attribute."""
    if "privacy" not in summary:
        yield "What was spent on the attributes is in their holders' ledgers."
        return
    spent = summary["privacy"]["attributes"]
    if not spent:
        yield "Nothing was released."
        return
    rows = tuple(
        (name, "exact: no privacy" if one["epsilon"] is None else f"{one['epsilon']:.3g}", f"{one['delta']:g}")
        for name, one in spent.items()
    )
    yield from Table(("attribute", "epsilon", "delta"), rows).markdown().splitlines()
    together = summary["privacy"].get("with_compared", {}).get("attributes", {})
    for name, one in together.items():
        total = "exact" if one["epsilon"] is None else f"epsilon {one['epsilon']:.3g}"
        yield ""
        yield f"With the methods that were trained for comparison: {name} {total}."


def _results(summary: Summary, another: bool = False) -> Iterator[str]:
    """Utility and released gaps, before and after; ``another``: of the run's own head, which is not this model's."""
    if "utility" not in summary:
        yield f"Accuracy and fairness are {UNKNOWN}."
        return
    runs = runs_of(summary)
    attributes = list(dict.fromkeys(name for run in runs for name in run["fairness_released"]))
    header = (
        "method",
        "accuracy",
        "balanced",
        *(f"{name} {short}" for name in attributes for short in GAP_LABELS.values()),
    )
    rows = []
    for run in runs:
        held = [run["fairness_released"].get(name, {}).get(gap) for name in attributes for gap in GAP_LABELS]
        utility = run["utility"]
        name = method_name(run) if "method" in run else "the run" if another else "this model"
        rows.append((name, *map(share, (utility["accuracy"], utility["balanced_accuracy"], *held))))
    yield from Table(header, tuple(rows)).markdown().splitlines()
    yield ""
    if not attributes:
        yield "No fairness figures were released: only who holds people's attributes can say how fair the model is."
        return
    last = "the run's own head, not this one" if another else "this model"
    yield f"On the test records; the last line is {last}. DPD, EOD: demographic-parity and equalized-odds difference"
    sigma = max((one.get("sigma") or 0.0 for run in runs for one in run["fairness_released"].values()), default=0.0)
    noise = f", with the noise on each of them: sigma {sigma:.3g} records." if sigma else "."
    yield f"between groups, 0 is fair; from released counts{noise}"


def _limits(summary: Summary) -> Iterator[str]:
    """Warnings of what nobody should take from the figures above."""
    if summary.get("status", "ok") != "ok":
        yield f"- **The classifier is {summary['status']}**: no better than chance on the test records."
    spent = summary.get("privacy", {}).get("attributes", {})
    if any(one["epsilon"] is None for one in spent.values()):
        yield "- Releases were exact: the developer could compute people's attributes from them."
    if summary.get("method") == "unl":
        yield "- The adapter has the auditors' own in it, from which a predictor of the attribute can be made."
    yield "- Fairness was asked for, and measured, on these people; on others it can differ. Audit it on yours."
    yield "- Epsilon is about a person's attribute. What shows in a picture can still be read off a picture."
    yield "- Pictures and labels of the training records are not protected: weights may tell of them."
    yield "- A gap of rates says nothing of calibration, nor of groups that nobody measured."
